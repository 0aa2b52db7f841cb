"""The platform of this machine: start it in the foreground or the background, stop it, say what runs."""

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ingle import exceptions as ex
from ingle.launch import processes
from ingle.launch.state import HOST_DEFAULT, PORT_DEFAULT, State

#: From the start of the supervisor until server and node are ready.
START_S = 90.0
#: From SIGTERM for the supervisor until it is killed; above its own bounds for its children.
STOP_S = 45.0
LOCK_S = 10.0


class AlreadyRunning(Exception):
    """Another supervisor holds the state directory."""


@dataclass(frozen=True, slots=True)
class Up:
    """What `ingle up` is asked for."""

    state: Path
    host: str = HOST_DEFAULT
    port: int = PORT_DEFAULT  #: 0: any free one
    node: bool = True
    runtime: str = "auto"
    spares: bool = True


@dataclass(frozen=True, slots=True)
class Status:
    """What runs under a state directory. Process ids are None for what does not run."""

    state: Path
    url: str | None
    version: str | None
    supervisor_pid: int | None
    server_pid: int | None
    node_pid: int | None

    @property
    def running(self) -> bool:
        return self.supervisor_pid is not None and self.server_pid is not None and self.url is not None


def status(state: Path) -> Status:
    found = {f.role: f.pid for f in processes.find(state)}
    said = State(state).read_server() or {}
    alive = processes.SERVER in found
    return Status(
        state,
        said.get("url") if alive else None,
        said.get("version") if alive else None,
        found.get(processes.SUPERVISOR),
        found.get(processes.SERVER),
        found.get(processes.NODE),
    )


def start_in_background(up: Up) -> Status:
    """Returns when server and node are ready; at once when they run already.

    Raises:
        SetupError: it cannot start; the message says why and what to do.
    """
    _check_rights(up)
    deadline = time.monotonic() + START_S
    while True:
        try:
            lock = _take_lock(up.state)
            break
        except AlreadyRunning:
            # It runs, or starts just now, or ends.
            if (now := status(up.state)).running:
                return now
            if time.monotonic() > deadline:
                raise ex.SetupError(
                    f"another `ingle up` holds {up.state}, but its server does not become ready; see "
                    f"{State(up.state).logs / 'up.log'}, or stop it: ingle down"
                ) from None
            time.sleep(0.05)
    heard, report = os.pipe()
    try:
        os.set_inheritable(lock, True)
        with open(State(up.state).logs / "up.log", "ab") as log:
            process = subprocess.Popen(
                _supervisor_argv(up, lock=lock, report=report, foreground=False),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock, report),
                start_new_session=True,
                cwd="/",
            )
    finally:
        os.close(report)
        os.close(lock)
    try:
        _wait_for_report(process, heard, State(up.state))
    finally:
        os.close(heard)
    return status(up.state)


def run_in_foreground(up: Up) -> NoReturn:
    """This process becomes the supervisor.

    Raises:
        SetupError: it cannot start.
        AlreadyRunning: another one runs.
    """
    _check_rights(up)
    lock = _take_lock(up.state)
    os.set_inheritable(lock, True)
    argv = _supervisor_argv(up, lock=lock, report=None, foreground=True)
    # Not the user's directory: `python -m` would look for modules in it.
    os.chdir("/")
    os.execv(argv[0], argv)


def stop(state: Path) -> bool:
    """Stop the platform and clear what it left; returns whether anything ran."""
    if not state.is_dir():
        return False
    ran = False
    for found in processes.find(state):
        ran = True
        processes.end(found.pid, STOP_S if found.role == processes.SUPERVISOR else processes.TERM_S)
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            lock = _take_lock(state)
            break
        except AlreadyRunning:
            if time.monotonic() > deadline:
                raise ex.SetupError(f"another `ingle up` has started under {state} meanwhile") from None
            time.sleep(0.05)
    try:
        if os.geteuid() == 0:
            from ingle.launch.sweep import sweep

            sweep(state)
        State(state).server_json.unlink(missing_ok=True)
    finally:
        os.close(lock)
    return ran


def _check_rights(up: Up) -> None:
    if not up.node or up.runtime == "fake" or os.geteuid() == 0:
        return
    raise ex.SetupError(
        "containers need root on this machine (containers without root come with a later version). Start the "
        f"platform once with: sudo {Path(sys.executable).parent / 'ingle'} up --detach ; then `ingle run` works "
        "as yourself. To use a server elsewhere, put server_url and token into ~/.ingle.toml."
    )


def _take_lock(state: Path) -> int:
    """The descriptor that holds the directory, with nothing of an earlier life running.

    Raises:
        AlreadyRunning: another supervisor has it.
        SetupError: the directory cannot be written.
    """
    place = State(state)
    try:
        place.prepare()
        lock = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ex.SetupError(
            f"the state directory {state} cannot be used: {error}; choose another with INGLE_STATE_DIR"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AlreadyRunning(str(state)) from None
    processes.end_strays(state)
    return lock


def _supervisor_argv(up: Up, *, lock: int, report: int | None, foreground: bool) -> list[str]:
    from ingle.launch import supervisor

    state = str(up.state)
    ours = [sys.executable, "-m", "ingle"]
    config = {
        "state": state,
        "lock_fd": lock,
        "report_fd": report,
        "foreground": foreground,
        "server_argv": [*ours, "server", "--state", state, "--host", up.host, "--port", str(up.port)],
        "node_argv": [*ours, "node", "--state", state, "--runtime", up.runtime, "--url", "{url}"]
        + ([] if up.spares else ["--no-spares"])
        if up.node
        else None,
    }
    return [sys.executable, "-S", "-E", str(Path(supervisor.__file__)), "--state", state, json.dumps(config)]


def _wait_for_report(process: subprocess.Popen, heard: int, place: State) -> None:
    """Until the supervisor says that all is ready.

    Raises:
        SetupError: it says that it failed, or says nothing.
    """
    deadline = time.monotonic() + START_S
    said = b""
    poll = select.poll()
    poll.register(heard, select.POLLIN)
    while b"\n" not in said:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            process.terminate()
            raise ex.SetupError(f"the platform did not become ready within {START_S:.0f} s; see {place.logs}")
        data = os.read(heard, 65536)
        if not data:
            raise ex.SetupError(f"the platform ended while it started; see {place.logs / 'up.log'}")
        said += data
    message = json.loads(said.split(b"\n")[0])
    if "error" in message:
        process.wait()
        raise ex.SetupError(message["error"])
