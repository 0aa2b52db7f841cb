"""A runtime without containers: a bundle's process runs as a plain child of this one. For tests, of users as well.

Paths that a container would see are turned into those of the node (`mounts` and `root` of the bundle's config.json), and
the directories that the runner looks for are named in its environment: INGLE_IO_DIR and INGLE_ROOT_DIR. A bundle without
arguments runs the runner. Nothing is isolated, and cgroups are not entered.
"""

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

from ingle.node.kernel import Kernel
from ingle.node.runtime import spec
from ingle.node.runtime.base import Exit, RuntimeFault, Started
from ingle.node.runtime.process import IGNORED_BY_PYTHON, Pipes, Watched
from ingle.runner.wire import IO_DIR

STARTS = ("ok", "slow", "fails", "never")
SLOW_S = 0.2
DELETE_S_MAX = 10.0


class FakeRuntime:
    """Faults are configuration.

    Args:
        start: "ok"; "slow" (after SLOW_S); "fails" (RuntimeFault); "never" (the process runs but is not the runner: it
            says nothing until it is killed).
        exit_code: the process ends at once, with this code.

    Raises:
        ValueError: there is no such `start`.
    """

    name = "fake"
    takes_bpf = False

    def __init__(self, start: str = "ok", exit_code: int | None = None) -> None:
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, not {start!r}")
        self.mode = start
        self.exit_code = exit_code
        self.kernel = Kernel()
        self._known: dict[str, _Child] = {}

    async def start(self, container: str, bundle: Path, *, cgroup_procs: Sequence[Path] = ()) -> Started:
        if container in self._known:
            raise RuntimeFault(f"container {container} runs already")
        if self.mode == "slow":
            await asyncio.sleep(SLOW_S)
        if self.mode == "fails":
            raise RuntimeFault(f"fake could not start {container}: it was told to fail")
        child = _Child.of_bundle(bundle)
        argv = child.argv
        if self.exit_code is not None:
            argv = [sys.executable, "-S", "-c", f"raise SystemExit({self.exit_code})"]
        elif self.mode == "never":
            argv = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
        pipes = Pipes()
        try:
            child.watched = self._spawn(argv, child.env, child.cwd, pipes)
        except OSError as error:
            pipes.close()
            raise RuntimeFault(f"fake could not start {container}: {error}") from None
        pipes.close_far()
        self._known[container] = child
        return Started(child.watched.pid, os.dup(child.watched.pidfd), pipes.stdout, pipes.stderr)

    async def wait(self, container: str) -> Exit:
        child = self._known.get(container)
        if child is None:
            raise RuntimeFault(f"there is no container {container}")
        return Exit(await asyncio.shield(child.watched.exited))

    def kill(self, container: str, signal: int) -> None:
        child = self._known.get(container)
        if child is not None:
            child.watched.kill(signal)

    async def delete(self, container: str) -> None:
        child = self._known.get(container)
        if child is None:
            return
        for watched in [child.watched, *child.execs]:
            _kill_group(watched)
            await asyncio.wait([watched.exited], timeout=DELETE_S_MAX)
            watched.close()
        self._known.pop(container, None)

    async def exec(
        self, container: str, argv: Sequence[str], *, env: dict[str, str], cwd: str, tty: bool
    ) -> "FakeExec":
        child = self._known.get(container)
        if child is None or child.watched.exited.done():
            raise RuntimeFault(f"container {container} does not run")
        own = {**child.env, **env}
        pipes = Pipes(stdin=not tty)
        near, far = pty.openpty() if tty else (-1, -1)
        try:
            actions = [(os.POSIX_SPAWN_DUP2, far, number) for number in (0, 1, 2)] if tty else None
            watched = self._spawn([child.outside(word) for word in argv], own, child.outside(cwd), pipes, actions)
        except OSError as error:
            pipes.close()
            if tty:
                os.close(near)
            raise RuntimeFault(f"cannot run {argv[0]!r} in {container}: {error}") from None
        finally:
            if tty:
                os.close(far)
        child.execs.append(watched)
        if tty:
            pipes.close()
            os.set_blocking(near, False)
            return FakeExec(watched, near, near, -1)
        pipes.close_far()
        return FakeExec(watched, pipes.stdin, pipes.stdout, pipes.stderr)

    def leftovers(self) -> list[str]:
        return []

    def _spawn(
        self, argv: list[str], env: dict[str, str], cwd: str, pipes: Pipes, actions: list[tuple] | None = None
    ) -> Watched:
        """A child in a process group of its own. The shell changes the directory: posix_spawn cannot."""
        script = 'cd "$0" 2>/dev/null; exec "$@"'
        if os.path.basename(argv[0]) == argv[0] or not os.access(argv[0], os.X_OK):
            found = next(
                (p for d in env.get("PATH", spec.PATH).split(":") if os.access(p := f"{d}/{argv[0]}", os.X_OK)), None
            )
            if found is None:
                raise OSError(f"no such program: {argv[0]}")
            argv = [found, *argv[1:]]
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", script, cwd, *argv],
            env,
            file_actions=actions or pipes.actions(),
            setpgroup=0,
            setsigdef=IGNORED_BY_PYTHON,
        )
        return Watched(self.kernel, pid)


class FakeExec:
    """An `ExecProcess`."""

    def __init__(self, watched: Watched, stdin: int, stdout: int, stderr: int) -> None:
        self._watched = watched
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr

    async def wait(self) -> int:
        return await asyncio.shield(self._watched.exited)

    def kill(self) -> None:
        _kill_group(self._watched)

    def resize(self, rows: int, cols: int) -> None:
        if self.stderr == -1:
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


class _Child:
    """What a bundle says, in paths of the node."""

    watched: Watched

    def __init__(self, config: dict, bundle: Path) -> None:
        process = config["process"]
        self._seen = {
            mount["destination"]: mount["source"] for mount in config.get("mounts", ()) if mount.get("type") == "bind"
        }
        rootfs = config.get("root", {}).get("path", "")
        self._rootfs = str(bundle / rootfs) if rootfs else ""
        self.env = dict(pair.partition("=")[::2] for pair in process.get("env", ()))
        if IO_DIR in self._seen:
            self.env.setdefault("INGLE_IO_DIR", self._seen[IO_DIR])
        if self._rootfs:
            self.env.setdefault("INGLE_ROOT_DIR", f"{self._rootfs}{spec.ROOT_DIR}")
        self.env.setdefault("PATH", spec.PATH)
        self.argv = [self.outside(word) for word in process["args"]] or [sys.executable, _runner()]
        if os.path.basename(self.argv[0]).startswith("python"):
            self.argv[0] = sys.executable
        self.cwd = self.env.get("INGLE_ROOT_DIR", str(bundle))
        self.execs: list[Watched] = []

    @classmethod
    def of_bundle(cls, bundle: Path) -> "_Child":
        try:
            return cls(json.loads((bundle / "config.json").read_text()), bundle)
        except (OSError, ValueError, KeyError) as error:
            raise RuntimeFault(f"the bundle {bundle} cannot be read: {error!r}") from None

    def outside(self, path: str) -> str:
        """A path in the container as one of the node; what is not there stays as it is."""
        for target, source in self._seen.items():
            if path == target or path.startswith(f"{target}/"):
                return source + path[len(target) :]
        if self._rootfs and path.startswith("/") and os.path.exists(self._rootfs + path):
            return self._rootfs + path
        return path


def _runner() -> str:
    from ingle.runner import wire

    return str(Path(wire.__file__).with_name("__main__.py"))


def _kill_group(watched: Watched) -> None:
    """A container's end takes all its processes; here the process group has to do."""
    if not watched.exited.done():
        try:
            os.killpg(watched.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    watched.kill(signal.SIGKILL)
