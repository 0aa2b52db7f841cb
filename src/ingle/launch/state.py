"""The state directory: where everything of one platform lies, and its tokens."""

import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Where the server listens when nobody says otherwise.
PORT_DEFAULT = 7090
HOST_DEFAULT = "127.0.0.1"


def default_directory() -> Path:
    """`INGLE_STATE_DIR`, else `/var/lib/ingle` as root, else `~/.local/share/ingle`."""
    if given := os.environ.get("INGLE_STATE_DIR"):
        return Path(given).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/ingle")
    return Path.home() / ".local/share/ingle"


def write_whole(path: Path, text: str, mode: int) -> None:
    """Replace a file at once: a reader sees the old text or the new one."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.chmod(draft, mode)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


@dataclass(frozen=True, slots=True)
class State:
    """One state directory."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def server_json(self) -> Path:
        return self.root / "server.json"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    def read_server(self) -> dict[str, Any] | None:
        """What server.json says, or None when there is none that can be read."""
        try:
            value = json.loads(self.server_json.read_text())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def token(self) -> str:
        return (self.root / "token").read_text().strip()

    def node_token(self) -> str:
        return (self.root / "node_token").read_text().strip()

    def prepare(self) -> None:
        """Make the directories and the tokens that are missing.

        The client's token belongs to the user who called sudo, so that their own `ingle run` can read it.

        Raises:
            OSError: the directory cannot be made or written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o755)  # the user behind sudo must reach server.json and the token
        self.logs.mkdir(exist_ok=True)
        _make_token(self.root / "node_token")
        _make_token(self.root / "token")
        if os.geteuid() == 0 and (uid := os.environ.get("SUDO_UID", "")).isdigit():
            os.chown(self.root / "token", int(uid), -1)


def _make_token(path: Path) -> None:
    try:
        if path.read_text().strip():
            os.chmod(path, 0o600)
            return
    except FileNotFoundError:
        pass
    write_whole(path, secrets.token_urlsafe(32) + "\n", 0o600)
