"""What the node needs of an OCI runtime, and nothing more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Started:
    """A running container's first process, as the host sees it."""

    pid: int
    pidfd: int  #: readable when it has exited; the holder closes it
    stdout: int  #: read ends of pipes, non-blocking; the holder closes them
    stderr: int


@dataclass(frozen=True, slots=True)
class Exit:
    code: int  #: as `waitpid` decodes it: negative for a signal


class RuntimeFault(RuntimeError):
    """The runtime refused or broke; the message carries the end of what it printed."""


class Runtime(Protocol):
    """Starts and ends containers whose bundle (config.json, rootfs) others have made.

    Contract, tested for every implementation by one suite:

    * `start` returns when the process runs, or raises RuntimeFault and leaves nothing behind.
    * `kill` and `delete` of a container that is dead or never was return quietly; both may be called twice.
    * `wait` returns once the process is gone, with its exit; called twice it says the same.
    * `leftovers` lists what an earlier life of the node left; `delete` removes each.
    """

    name: str

    async def start(self, container: str, bundle: Path, *, cgroup_procs: Sequence[Path] = ()) -> Started:
        """`cgroup_procs`: files into which the container's first process is written before it runs anything."""
        ...

    async def wait(self, container: str) -> Exit: ...

    def kill(self, container: str, signal: int) -> None: ...

    async def delete(self, container: str) -> None: ...

    async def exec(
        self, container: str, argv: Sequence[str], *, env: dict[str, str], cwd: str, tty: bool
    ) -> "ExecProcess":
        """A further process in the container.

        Raises:
            RuntimeFault: there is no such container, or no such program in it.
        """
        ...

    def leftovers(self) -> list[str]: ...


class ExecProcess(Protocol):
    """A process that `Runtime.exec` started. With a tty, `stdin` and `stdout` are one descriptor and `stderr` is -1."""

    stdin: int
    stdout: int
    stderr: int

    async def wait(self) -> int: ...

    def kill(self) -> None: ...

    def resize(self, rows: int, cols: int) -> None: ...
