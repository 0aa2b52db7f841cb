"""Which processes belong to a state directory, found in the process table: true even after kill -9 of everything."""

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

SUPERVISOR, SERVER, NODE = "supervisor", "server", "node"
#: From asking a process to end until it is killed.
TERM_S, KILL_S = 10.0, 5.0


@dataclass(frozen=True, slots=True)
class Found:
    role: str  #: SUPERVISOR, SERVER or NODE
    pid: int


def role_of(argv: list[str], state: Path) -> str | None:
    """What a command line is to this state directory: a role, or None for a stranger."""
    if "--state" not in argv[:-1] or argv[argv.index("--state") + 1] != str(state):
        return None
    if any(arg.endswith("launch/supervisor.py") for arg in argv[:6]):
        return SUPERVISOR
    if "-m" in argv and (at := argv.index("-m")) + 2 < len(argv) and argv[at + 1] == "ingle":
        return argv[at + 2] if argv[at + 2] in (SERVER, NODE) else None
    return None


def find(state: Path) -> list[Found]:
    """The living processes of this state directory, the supervisor first."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            raw = Path("/proc", entry, "cmdline").read_bytes()
        except OSError:
            continue
        role = role_of([arg.decode(errors="replace") for arg in raw.split(b"\0")], state) if raw else None
        if role:
            found.append(Found(role, int(entry)))
    return sorted(found, key=lambda f: (SUPERVISOR, NODE, SERVER).index(f.role))


def wait_gone(pid: int, bound_s: float) -> bool:
    """Whether the process is gone within so many seconds. It need not be a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(bound_s * 1000))
    finally:
        os.close(descriptor)


def end(pid: int, bound_s: float = TERM_S) -> None:
    """SIGTERM, and SIGKILL when it is still there after `bound_s`. A process that is gone is fine."""
    try:
        os.kill(pid, signal.SIGTERM)
        if not wait_gone(pid, bound_s):
            os.kill(pid, signal.SIGKILL)
            wait_gone(pid, KILL_S)
    except ProcessLookupError:
        pass


def end_strays(state: Path) -> int:
    """End servers and nodes whose supervisor is gone; returns how many there were."""
    strays = [f for f in find(state) if f.role != SUPERVISOR]
    deadline = time.monotonic() + TERM_S
    for stray in strays:
        end(stray.pid, max(0.1, deadline - time.monotonic()))
    return len(strays)
