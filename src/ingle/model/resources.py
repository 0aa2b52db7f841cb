"""What a container needs and what a node has."""

from dataclasses import dataclass

CPU_MILLI_DEFAULT = 125
MEMORY_MIB_DEFAULT = 128


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount: what a container is promised, what a node has."""

    cpu_milli: int = 0  #: thousandths of a core
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the kernel stops a container; None: only the node's own limit."""

    cpu_milli: int | None = None
    memory_mib: int | None = None
    pids: int = 4096
