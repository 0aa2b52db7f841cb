"""Control groups: what a container may use, and who is in it, on v1, v2 and hybrid machines.

Everything of one node lies below one parent group, `ingle-<mark>`, bounded to the machine's memory less a reserve. On v1
the parent exists once per hierarchy (memory, cpu, pids); on v2 there is one. A hybrid machine has its controllers on
v1, so it is treated as v1.
"""

import errno
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ingle.model.resources import Limits
from ingle.node.kernel import Kernel, mounts_of_cgroups

CONTROLLERS = ("memory", "cpu", "pids")
PERIOD_US = 100_000
#: Kept for the machine itself: so many MiB, or so large a part of its memory, whichever is more.
RESERVE_MIB = 256
RESERVE_PART = 0.05
#: How often and how far apart a group whose last process is just dying is tried again.
DELETE_TRIES, DELETE_PAUSE_S = 50, 0.004
KILL_ROUNDS_MAX = 20

_UNLIMITED_V1 = "-1"
_UNLIMITED_V2 = "max"


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where controllers are mounted. v2: each of the three names the same directory."""

    version: int  #: 1 or 2
    roots: dict[str, str]
    hybrid: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in CONTROLLERS if name not in self.roots]


def find(kernel: Kernel) -> Hierarchies:
    """What this machine has, from /proc/self/mountinfo."""
    mounts = mounts_of_cgroups(kernel.read("/proc/self/mountinfo"))
    v1 = {name: point for point, kind, options in mounts if kind == "cgroup" for name in CONTROLLERS if name in options}
    v2 = [point for point, kind, _ in mounts if kind == "cgroup2"]
    if v1 or not v2:
        return Hierarchies(1, v1, hybrid=bool(v2))
    try:
        offered = kernel.read(f"{v2[0]}/cgroup.controllers").split()
    except OSError:
        offered = []
    return Hierarchies(2, {name: v2[0] for name in CONTROLLERS if name in offered})


class Cgroups:
    """The node's groups. `mark` tells them from those of another node on this machine (see mark.py)."""

    def __init__(self, kernel: Kernel, mark: str = "node") -> None:
        self.kernel = kernel
        self.parent = f"ingle-{mark}"
        self.hierarchies = find(kernel)

    def prepare(self) -> None:
        """Make the parent group. Twice is fine.

        Raises:
            OSError: this process may not make groups here.
        """
        if self.hierarchies.version == 2:
            self._enable_v2(self.hierarchies.roots["memory"] if self.hierarchies.roots else "/sys/fs/cgroup")
        for directory in self._directories(self.parent):
            self.kernel.mkdir(directory)
        if self.hierarchies.version == 2:
            for directory in self._directories(self.parent):
                self._enable_v2(directory)
        limit = memory_for_containers_mib(self.kernel)
        self._open(self.parent).limit_memory(limit << 20)

    def sweep(self) -> None:
        """Kill and remove what an earlier life of this node left below the parent."""
        names = {name for directory in self._directories(self.parent) for name in self.kernel.directories(directory)}
        for name in sorted(names):
            group = self._open(f"{self.parent}/{name}")
            group.kill()
            group.delete()
        for directory in self._elsewhere():
            for name in self.kernel.directories(directory):
                self._remove_empty(f"{directory}/{name}")

    def remove(self) -> None:
        """Remove everything, the parent too."""
        self.sweep()
        self._open(self.parent).delete()
        for directory in self._elsewhere():
            self._remove_empty(directory)

    def _elsewhere(self) -> list[str]:
        """The parent in v1 hierarchies that we do not use: runc makes groups of the same name in all that there are."""
        if self.hierarchies.version == 2:
            return []
        points = [
            point for point, kind, _ in mounts_of_cgroups(self.kernel.read("/proc/self/mountinfo")) if kind == "cgroup"
        ]
        return [f"{point}/{self.parent}" for point in points if point not in self.hierarchies.roots.values()]

    def _remove_empty(self, directory: str) -> None:
        try:
            self.kernel.rmdir(directory)
        except OSError:
            pass  # in use, by processes that are in our own groups as well: the next sweep has them

    def create(self, name: str, cpu_milli: int, limits: Limits) -> "Cgroup":
        """A group for one container.

        Args:
            cpu_milli: the request, in thousandths of a core: its weight when the machine is busy.
            limits: where the kernel stops it.

        Raises:
            OSError: the kernel refused; nothing is left.
        """
        group = self._open(f"{self.parent}/{name}")
        try:
            for directory in group.directories:
                self.kernel.mkdir(directory)
            group.update(cpu_milli, limits)
        except OSError:
            group.delete()
            raise
        return group

    def _open(self, path: str) -> "Cgroup":
        kind = CgroupV2 if self.hierarchies.version == 2 else CgroupV1
        return kind(self.kernel, {name: f"{root}/{path}" for name, root in self.hierarchies.roots.items()})

    def _directories(self, path: str) -> list[str]:
        return sorted({f"{root}/{path}" for root in self.hierarchies.roots.values()})

    def _enable_v2(self, directory: str) -> None:
        """Hand the controllers on to the groups below `directory`."""
        on = self.kernel.read(f"{directory}/cgroup.subtree_control").split()
        wanted = " ".join(f"+{name}" for name in CONTROLLERS if name not in on)
        if wanted:
            self.kernel.write(f"{directory}/cgroup.subtree_control", wanted)


class Cgroup:
    """One group; the versions differ in the names and units of their files."""

    def __init__(self, kernel: Kernel, paths: dict[str, str]) -> None:
        self.kernel = kernel
        self.paths = paths  #: controller to directory
        self.directories = sorted(set(paths.values()))

    @property
    def procs(self) -> list[Path]:
        """Write a process id into each of these to put that process into the group."""
        return [Path(directory, "cgroup.procs") for directory in self.directories]

    def update(self, cpu_milli: int, limits: Limits) -> None:
        """Set request and limits, also of a group in use.

        Raises:
            OSError: the kernel refused, such as a memory limit below what is in use.
        """
        raise NotImplementedError

    def limit_memory(self, limit: int | None) -> None:
        """`limit` in bytes, swap included; None: no limit of its own."""
        raise NotImplementedError

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for want of memory."""
        raise NotImplementedError

    def memory_bytes(self) -> int:
        """What the group uses now; 0 once it is gone."""
        raise NotImplementedError

    def pids(self) -> list[int]:
        """Every process in it, of groups below as well."""
        found: set[int] = set()
        for directory in self.directories:
            try:
                found.update(map(int, self.kernel.read(f"{directory}/cgroup.procs").split()))
            except OSError:
                pass
        return sorted(found)

    def kill(self) -> None:
        """SIGKILL to everything inside. Twice is fine, and so is a group that is gone."""
        # Nothing new may appear between reading the list and killing what it names.
        self._try_write("pids", "pids.max", "0")
        self._kill_each()

    def delete(self) -> None:
        """Remove the group; what is still inside is killed first. Twice is fine.

        Raises:
            OSError: something inside would not die.
        """
        for directory in self.directories:
            for attempt in range(DELETE_TRIES):
                try:
                    self.kernel.rmdir(directory)
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or attempt == DELETE_TRIES - 1:
                        raise
                    self.kill()
                    time.sleep(DELETE_PAUSE_S)

    def _kill_each(self) -> None:
        for _ in range(KILL_ROUNDS_MAX):
            alive = self.pids()
            for pid in alive:
                self.kernel.kill(pid, signal.SIGKILL)
            if not alive or "pids" in self.paths:
                return

    def _write(self, controller: str, file: str, text: str) -> None:
        if controller in self.paths:
            self.kernel.write(f"{self.paths[controller]}/{file}", text)

    def _try_write(self, controller: str, file: str, text: str) -> None:
        try:
            self._write(controller, file, text)
        except OSError:
            pass

    def _numbers(self, controller: str, file: str) -> dict[str, int]:
        """A file of `name number` lines; nothing once the group is gone."""
        try:
            lines = self.kernel.read(f"{self.paths[controller]}/{file}").splitlines()
            return {name: int(number) for name, number in (line.split() for line in lines)}
        except (OSError, KeyError, ValueError):
            return {}

    def _number(self, controller: str, file: str) -> int:
        try:
            return int(self.kernel.read(f"{self.paths[controller]}/{file}"))
        except (OSError, KeyError, ValueError):
            return 0


class CgroupV1(Cgroup):
    """A group in each of the v1 hierarchies."""

    def update(self, cpu_milli: int, limits: Limits) -> None:
        self.limit_memory(None if limits.memory_mib is None else limits.memory_mib << 20)
        self._write("cpu", "cpu.shares", str(shares(cpu_milli)))
        quota = "-1" if limits.cpu_milli is None else str(quota_us(limits.cpu_milli))
        self._write("cpu", "cpu.cfs_quota_us", quota)
        self._write("pids", "pids.max", str(limits.pids))

    def limit_memory(self, limit: int | None) -> None:
        text = _UNLIMITED_V1 if limit is None else str(limit)
        swap = "memory.memsw.limit_in_bytes"  # memory and swap together; there only where swap is accounted
        if limit is None:
            self._try_write("memory", swap, text)
        try:
            self._write("memory", "memory.limit_in_bytes", text)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The old total is lower than the new limit: raise that first.
            self._try_write("memory", swap, text)
            self._write("memory", "memory.limit_in_bytes", text)
        if limit is not None:
            self._try_write("memory", swap, text)
            self._try_write("memory", "memory.swappiness", "0")

    def oom_kills(self) -> int:
        return self._numbers("memory", "memory.oom_control").get("oom_kill", 0)

    def memory_bytes(self) -> int:
        return self._number("memory", "memory.usage_in_bytes")


class CgroupV2(Cgroup):
    """A group in the one hierarchy of v2."""

    def update(self, cpu_milli: int, limits: Limits) -> None:
        self.limit_memory(None if limits.memory_mib is None else limits.memory_mib << 20)
        self._write("cpu", "cpu.weight", str(weight(cpu_milli)))
        quota = _UNLIMITED_V2 if limits.cpu_milli is None else str(quota_us(limits.cpu_milli))
        self._write("cpu", "cpu.max", f"{quota} {PERIOD_US}")
        self._write("pids", "pids.max", str(limits.pids))

    def limit_memory(self, limit: int | None) -> None:
        self._write("memory", "memory.max", _UNLIMITED_V2 if limit is None else str(limit))
        self._try_write("memory", "memory.swap.max", _UNLIMITED_V2 if limit is None else "0")

    def oom_kills(self) -> int:
        return self._numbers("memory", "memory.events").get("oom_kill", 0)

    def memory_bytes(self) -> int:
        return self._number("memory", "memory.current")

    def kill(self) -> None:
        try:
            self.kernel.write(f"{self.directories[0]}/cgroup.kill", "1")  # Linux 5.14
        except (OSError, IndexError):
            super().kill()


def shares(cpu_milli: int) -> int:
    """v1's weight: 1024 for a whole core."""
    return min(262144, max(2, cpu_milli * 1024 // 1000))


def weight(cpu_milli: int) -> int:
    """v2's weight, 1 to 10 000, by the formula that OCI runtimes use for shares."""
    return 1 + (shares(cpu_milli) - 2) * 9999 // 262142


def quota_us(cpu_milli: int) -> int:
    """Microseconds in each period; the kernel takes no less than 1000."""
    return max(1000, cpu_milli * PERIOD_US // 1000)


def memory_for_containers_mib(kernel: Kernel) -> int:
    """The machine's memory less the reserve."""
    for line in kernel.read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            total = int(rest.split()[0]) >> 10
            return max(64, total - max(RESERVE_MIB, int(total * RESERVE_PART)))
    raise OSError("/proc/meminfo does not say how much memory there is")
