"""The server of this machine: found by the files in its state directory, started when nobody answers."""

from __future__ import annotations

import os
import sys

from ingle.exceptions import AuthError, ConnectionError, SetupError
from ingle.sdk.config import Config, check_token

SYSTEM_STATE_DIR = "/var/lib/ingle"
USER_STATE_DIR = "~/.local/share/ingle"
#: `ingle up --detach` returns when server and node are ready; it is given up after so long.
START_S_MAX = 120
STDERR_BYTES_MAX = 64 << 10


def state_dirs() -> list[str]:
    """Where a server of this machine may have left its files, the likeliest first."""
    own = os.environ.get("INGLE_STATE_DIR")
    if own:
        return [own]
    if os.geteuid() == 0:
        return [SYSTEM_STATE_DIR]
    return [os.path.expanduser(USER_STATE_DIR), SYSTEM_STATE_DIR]


def find() -> Config | None:
    """The server that said it is ready here; None where there is none. It may have died since.

    Raises:
        AuthError: there is one, but its token belongs to somebody else.
    """
    import json

    for state in state_dirs():
        try:
            with open(os.path.join(state, "server.json")) as file:
                url = json.load(file)["url"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not isinstance(url, str):
            continue
        path = os.path.join(state, "token")
        try:
            with open(path) as file:
                token = file.read(4096)
        except FileNotFoundError:
            continue
        except PermissionError:
            raise AuthError(
                f"the server at {url} was started by another user: {path} cannot be read. "
                f"Set INGLE_SERVER_URL and INGLE_TOKEN, or start one of your own"
            ) from None
        return Config(url, check_token(token, path), path, local=True)
    return None


def start() -> Config:
    """Starts server and node in the background and returns when they are ready.

    Raises:
        SetupError: this machine lacks something; the message names the command that mends it.
        ConnectionError: they did not become ready.
    """
    import subprocess

    from ingle.sdk import output

    output.show_notice("server", "local server", "starting a server on this machine")
    own = os.environ.get("INGLE_STATE_DIR")
    command = [sys.executable, "-m", "ingle", "up", "--detach"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=START_S_MAX,
            cwd="/",  # `python -m` would import a program's own json.py or ingle.py from here
            env={**os.environ, **({"INGLE_STATE_DIR": os.path.abspath(state_dirs()[0])} if own else {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConnectionError(
            f"the server of this machine was not ready after {START_S_MAX} s: see `ingle doctor`, "
            f"and the logs in {os.path.join(state_dirs()[0], 'log')}"
        ) from None
    output.show_notice("server", "local server", "server ready", done=True)
    said = done.stderr[-STDERR_BYTES_MAX:].decode(errors="replace").strip()
    if done.returncode != 0:
        said = said.removeprefix("Error:").strip() or f"`ingle up --detach` ended with code {done.returncode}"
        if "ingle setup" in said or "ingle doctor" in said:
            raise SetupError(said)
        raise ConnectionError(f"no server could be started on this machine: {said}")
    config = find()
    if config is None:
        raise ConnectionError(
            f"`ingle up --detach` ended well, but left no server.json in {state_dirs()[0]}: see `ingle status`"
        )
    return config
