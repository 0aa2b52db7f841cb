"""`ingle up` as real processes, in a state directory of the test's own, with a handle to kill each."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from ingle.launch import local, processes
from ingle.launch.state import State
from ingle.testing.leftovers import find_leftovers
from ingle.testing.waiting import wait_until

UP_S = 120.0
DOWN_S = 90.0


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """`with Processes() as p:` runs a supervisor, a server and a node; `p.env()` makes clients find them.

    Args:
        state: an absolute directory, kept afterwards; default: a temporary one, removed when the test passes.
        runtime: auto, crun, runc or fake.
        spares: whether started containers are kept in reserve.
        layers: a directory of image layers to share, so that no image is built twice; default: the machine's own.
        check: assert at the end that nothing is left on the machine.

    Raises:
        SetupError: it cannot start; the message says why.
    """

    def __init__(
        self,
        state: Path | None = None,
        *,
        runtime: str = "auto",
        spares: bool = True,
        layers: Path | None = None,
        check: bool = True,
    ):
        self._kept = state is not None
        self.state = state or Path(tempfile.mkdtemp(prefix="ingle-test-"))
        self.port = free_port()
        self.runtime, self.spares, self.check = runtime, spares, check
        self.layers = layers or Path(os.environ.get("INGLE_LAYERS_DIR") or "/var/lib/ingle/node/layers")

    # ---- life

    def __enter__(self) -> "Processes":
        try:
            self.up()
        except BaseException:
            local.stop(self.state)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.down()
        left = find_leftovers(self.state) if self.check else []
        if kind is not None or left:
            print(f"the state directory is kept: {self.state}", file=sys.stderr)
        elif not self._kept:
            shutil.rmtree(self.state, ignore_errors=True)
        if kind is None:
            assert not left, "left behind:\n" + "\n".join(left)

    def up(self) -> None:
        """Start, and return when server and node are ready. Fine when it runs already."""
        argv = ["up", "--detach", "--port", str(self.port), "--runtime", self.runtime]
        done = self.ingle(*argv, *([] if self.spares else ["--no-spares"]), timeout_s=UP_S)
        assert done.returncode == 0, f"ingle up: {done.stderr}\n{self.log('up')}"

    def down(self) -> None:
        """Stop it all. Fine when nothing runs."""
        done = self.ingle("down", timeout_s=DOWN_S)
        assert done.returncode == 0, f"ingle down: {done.stderr}"

    # ---- clients

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return State(self.state).token()

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a client: what this process has, and where the platform is."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("INGLE_")}
        ours = {"INGLE_STATE_DIR": str(self.state), "INGLE_PORT": str(self.port)}
        if self.layers.is_dir() or os.geteuid() == 0:
            ours["INGLE_LAYERS_DIR"] = str(self.layers)
        return {**kept, **ours, **more}

    def ingle(
        self, *argv: str, timeout_s: float = 120.0, cwd: Path | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `ingle`; returns it with its output."""
        return subprocess.run(
            [sys.executable, "-m", "ingle", *argv],
            env=self.env(),
            cwd=cwd or "/",
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def popen(self, *argv: str, cwd: Path | None = None, **options: object) -> subprocess.Popen[bytes]:
        """Start a command of `ingle`."""
        return subprocess.Popen([sys.executable, "-m", "ingle", *argv], env=self.env(), cwd=cwd or "/", **options)  # type: ignore[call-overload, no-any-return]

    # ---- trouble

    def pid(self, role: str) -> int | None:
        """The process of "supervisor", "server" or "node", if it lives."""
        return next((f.pid for f in processes.find(self.state) if f.role == role), None)

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one of them and, if it is SIGKILL, wait until it is gone; returns what its id was.

        Raises:
            NeverHappened: it does not live.
        """
        pid = wait_until(lambda: self.pid(role), f"the {role} lives")
        assert pid is not None
        os.kill(pid, number)
        if number == signal.SIGKILL:
            processes.wait_gone(pid, 10.0)
        return pid

    def kill_all(self) -> None:
        """kill -9 of everything, the supervisor first, so that nothing is started again."""
        for found in processes.find(self.state):
            try:
                os.kill(found.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            processes.wait_gone(found.pid, 10.0)

    def wait_ready(self, deadline_s: float = 30.0) -> None:
        """Until server and node run and server.json knows them (after a kill)."""

        def ready() -> bool:
            said = State(self.state).read_server() or {}
            return (
                said.get("pid") is not None
                and said.get("pid") == self.pid("server")
                and said.get("node_pid") == self.pid("node")
            )

        wait_until(ready, f"server and node are back\n{self.log('up')}", deadline_s)

    def log(self, name: str) -> str:
        """The log of "up", "server" or "node"."""
        try:
            return (self.state / "log" / f"{name}.log").read_text(errors="replace")
        except OSError:
            return ""

    def containers(self) -> list[int]:
        """Process ids inside containers of this platform, spares included."""
        from ingle.node import mark

        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    groups = Path("/proc", entry, "cgroup").read_text()
                except OSError:
                    continue
                if f"/ingle-{mark.of(self.state)}/" in groups:
                    found.append(int(entry))
        return found
