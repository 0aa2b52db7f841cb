"""What a container needs and what a node has."""

from dataclasses import dataclass

CPU_MILLI_DEFAULT = 125
MEMORY_MIB_DEFAULT = 128


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount that placement adds and subtracts."""

    cpu_milli: int = 0  #: thousandths of a core
    memory_mib: int = 0

    def plus(self, other: "Resources") -> "Resources":
        return Resources(self.cpu_milli + other.cpu_milli, self.memory_mib + other.memory_mib)

    def minus(self, other: "Resources") -> "Resources":
        return Resources(self.cpu_milli - other.cpu_milli, self.memory_mib - other.memory_mib)

    def fits_in(self, room: "Resources") -> bool:
        return self.cpu_milli <= room.cpu_milli and self.memory_mib <= room.memory_mib


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the kernel stops a container; None: only the node's own limit."""

    cpu_milli: int | None = None
    memory_mib: int | None = None
    pids: int = 4096
