"""A platform for the bench: `ingle up` as a user starts it, in a state directory of its own that is gone afterwards."""

import asyncio
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from ingle.testing import Processes, wait_until

TOP = Path(__file__).parents[1]
INGLE = TOP / ".venv" / "bin" / "ingle"
#: What one measurement leaves is not the next one's load.
QUIET_S = 0.3


@dataclass
class Pids:
    supervisor: int
    server: int
    node: int


class LocalPlatform(Processes):
    """`with LocalPlatform(spares=False) as p:`. The image cache is the machine's own."""

    def __init__(self, spares: bool):
        super().__init__(spares=spares)
        self.layers.mkdir(parents=True, exist_ok=True)

    @property
    def pids(self) -> Pids:
        return Pids(*(self.pid(role) or 0 for role in ("supervisor", "server", "node")))

    def command(self, *argv: str) -> str:
        done = self.ingle(*argv, timeout_s=300)
        if done.returncode:
            raise RuntimeError(f"ingle {' '.join(argv)}: {done.stderr}\n{self.log('node')[-2000:]}")
        return done.stdout

    def wait_quiet(self) -> None:
        """Until no container of any app is there."""
        wait_until(lambda: not json.loads(self.command("container", "list", "--json")), "all containers end")
        time.sleep(QUIET_S)

    def rootfs(self) -> tuple[list[str], str]:
        """The layers of the base image, top first, as directories, and the Python in it."""
        from ingle.model.image import ImageSpec
        from ingle.node.image import Images
        from ingle.node.kernel import Kernel

        images = Images(Kernel(), self.layers)
        spec = ImageSpec(".".join(platform.python_version_tuple()[:2]))
        layers = asyncio.run(images.ensure(spec, print))
        return [str(layer) for layer in layers], images.python(spec)


def memory_mb(pids: list[int], shared: bool = True) -> float:
    """Resident memory of these processes, in 10^6 bytes; `shared=False`: shared pages are counted in proportion (PSS)."""
    total = 0
    for pid in pids:
        info = psutil.Process(pid).memory_full_info()
        total += info.rss if shared else info.pss
    return total / 1e6


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that these processes have used so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(t.user + t.system for t in times)


def below(pid: int) -> list[int]:
    """All processes that this one started, and those started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
