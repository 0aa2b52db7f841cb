"""A platform for the bench: `ingle up` as a user starts it, in a state directory of its own that is gone afterwards."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from worker import plain_env

TOP = Path(__file__).parents[1]
INGLE = TOP / ".venv" / "bin" / "ingle"
START_S = 120.0
STOP_S = 60.0


@dataclass
class Pids:
    supervisor: int
    server: int
    node: int


class LocalPlatform:
    """`with LocalPlatform(spares=False) as p:`; `p.env` makes a client find it. The image cache is the machine's own."""

    def __init__(self, spares: bool):
        self.state = Path(tempfile.mkdtemp(prefix="ingle-bench-"))
        layers = Path(os.environ.get("INGLE_LAYERS_DIR") or _default_state() / "node" / "layers")
        layers.mkdir(parents=True, exist_ok=True)
        self.layers = layers
        self.env = plain_env(INGLE_STATE_DIR=str(self.state), INGLE_LAYERS_DIR=str(layers))
        self._spares = spares

    def __enter__(self) -> "LocalPlatform":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        argv = [str(INGLE), "up", "--detach", "--port", str(port)] + ([] if self._spares else ["--no-spares"])
        subprocess.run(argv, env=self.env, check=True, timeout=START_S)
        said = json.loads((self.state / "server.json").read_text())
        self.pids = Pids(said["supervisor_pid"], said["pid"], said["node_pid"])
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([str(INGLE), "down"], env=self.env, timeout=STOP_S, check=False)
        shutil.rmtree(self.state, ignore_errors=True)

    def ingle(self, *argv: str, cwd: str = "/") -> str:
        done = subprocess.run([str(INGLE), *argv], env=self.env, cwd=cwd, check=True, capture_output=True, text=True, timeout=300)
        return done.stdout

    def wait_quiet(self, bound_s: float = 20.0) -> None:
        """Until no container of any app is there: what one measurement leaves is not the next one's load."""
        deadline = time.monotonic() + bound_s
        while json.loads(self.ingle("container", "list", "--json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.3)

    def rootfs(self) -> list[str]:
        """The layers of the base image, top first, as directories."""
        return [str(path) for path in sorted(self.layers.glob("*/rootfs")) or sorted(self.layers.glob("*/fs"))]


def memory_mib(pids: list[int], private: bool = False) -> float:
    """Resident memory of these processes; `private`: shared pages are counted in proportion (PSS)."""
    total = 0
    for pid in pids:
        info = psutil.Process(pid).memory_full_info()
        total += info.pss if private else info.rss
    return total / (1 << 20)


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that these processes have used so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(t.user + t.system for t in times)


def below(pid: int) -> list[int]:
    """All processes that this one started, and those started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _default_state() -> Path:
    return Path("/var/lib/ingle") if os.geteuid() == 0 else Path.home() / ".local" / "share" / "ingle"
