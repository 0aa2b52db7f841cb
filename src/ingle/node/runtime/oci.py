"""crun and runc behind one class: starting, waiting for and ending containers with as little as possible in between.

How a start goes: a tiny shell writes its own process id into the container's cgroups and becomes the runtime
(`run --detach`), so that whatever the runtime forks is bounded from its first instruction. The runtime exits when the
container's first process runs; that process is then an orphan, and as the node is a *subreaper* it becomes the node's
own child: the node waits for it through a pidfd, and no runtime process stays behind.

Between the runtime's exit and the moment the kernel has handed the orphan over, waiting for it finds no child; so
reaping tries again, for REAP_S_MAX at most.

A runtime that fails may leave an orphan that we never heard of: dead, but not waited for, and as long as it is not, the
first process of its pid namespace cannot end either; and crun leaves one dead process at each start. `_reap_strays` is
for those.
"""

import asyncio
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import psutil

from ingle.node.kernel import Kernel
from ingle.node.runtime import spec
from ingle.node.runtime.base import Exit, RuntimeFault, Started
from ingle.node.runtime.process import IGNORED_BY_PYTHON, REAP_S_MAX, Pipes, Watched, watched_pids
from ingle.node.runtime.seccomp import BPF_ANNOTATION

START_S_MAX = 30.0
DELETE_S_MAX = 10.0
STRAYS_AGAIN_S = 0.1
CGROUP_MANAGER_DISABLED = "--cgroup-manager=disabled"

_ENVIRONMENT = {"PATH": spec.PATH}


class OciRuntime:
    """A `Runtime` by an OCI command.

    Args:
        binary: "crun" or "runc", or a path that ends so.
        root: where the runtime keeps its state, of this node alone.
        kernel: for system calls; this process becomes a subreaper.

    Raises:
        RuntimeFault: there is no such program.
    """

    def __init__(self, binary: str, root: Path, kernel: Kernel | None = None) -> None:
        path = shutil.which(binary, path=f"{os.environ.get('PATH', '')}:{spec.PATH}")
        if path is None:
            raise RuntimeFault(f"{binary} is not installed; run `ingle setup`")
        self.name = Path(path).name
        self.binary = path
        self.root = root
        self.kernel = kernel or Kernel()
        self.kernel.become_subreaper()
        #: Whether it takes the finished seccomp filter. Asked of the binary: an older one would start without any filter.
        self.takes_bpf = BPF_ANNOTATION.encode() in Path(path).read_bytes()
        self._crun = self.name.startswith("crun")
        self._command = [path, *([CGROUP_MANAGER_DISABLED] if self._crun else []), f"--root={root}"]
        self._known: dict[str, _Container] = {}
        self._numbers = count(1)
        self._strays_timer: asyncio.TimerHandle | None = None
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def start(self, container: str, bundle: Path, *, cgroup_procs: Sequence[Path] = ()) -> Started:
        if container in self._known:
            raise RuntimeFault(f"container {container} runs already")
        pid_file = bundle / "pid"
        try:
            if not self._crun:
                _name_cgroup(bundle, container, cgroup_procs)
            pid_file.unlink(missing_ok=True)
        except (OSError, ValueError, KeyError) as error:
            raise RuntimeFault(f"{self.name} could not start {container}: its bundle cannot be read: {error}") from None
        argv = [*self._command, "run", "--detach", f"--pid-file={pid_file}", f"--bundle={bundle}", container]
        pipes = Pipes()
        try:
            await self._run(argv, cgroup_procs if self._crun else (), pipes, START_S_MAX)
            pid = int(pid_file.read_text())
            watched = Watched(self.kernel, pid)
        except BaseException as error:
            message = pipes.drain()
            pipes.close()
            await self._force_delete(container)
            if isinstance(error, (RuntimeFault, OSError, ValueError)):
                raise RuntimeFault(f"{self.name} could not start {container}: {message or error}") from None
            raise
        self._known[container] = _Container(watched, tuple(cgroup_procs))
        pipes.close_far()
        return Started(pid, os.dup(watched.pidfd), pipes.stdout, pipes.stderr)

    async def wait(self, container: str) -> Exit:
        known = self._known.get(container)
        if known is None:
            raise RuntimeFault(f"there is no container {container}")
        return Exit(await asyncio.shield(known.watched.exited))

    def kill(self, container: str, signal: int) -> None:
        known = self._known.get(container)
        if known is not None:
            known.watched.kill(signal)

    async def delete(self, container: str) -> None:
        known = self._known.get(container)
        if known is not None:
            known.watched.kill(signal.SIGKILL)
            await asyncio.wait([known.watched.exited], timeout=DELETE_S_MAX)
            self._known.pop(container, None)
            known.watched.close()
            if self._crun:
                # All that is left of a dead container without cgroups is its directory here: no process needed.
                shutil.rmtree(self.root / container, ignore_errors=True)
                return
        if (self.root / container).exists():
            await self._force_delete(container)

    async def exec(self, container: str, argv: Sequence[str], *, env: dict[str, str], cwd: str, tty: bool) -> "OciExec":
        known = self._known.get(container)
        if known is None or known.watched.exited.done():
            raise RuntimeFault(f"container {container} does not run")
        base = self.root / f"exec-{container}-{next(self._numbers)}"
        process_file, pid_file = base.with_suffix(".json"), base.with_suffix(".pid")
        process_file.write_text(
            json.dumps(spec.process(argv, {**_environment(known.watched.pid), **env}, cwd, tty=tty))
        )
        command = [*self._command, "exec", "--detach", f"--process={process_file}", f"--pid-file={pid_file}"]
        pipes = Pipes(stdin=not tty)
        console = _Console(tty)
        try:
            if console.path:
                command.append(f"--console-socket={console.path}")
            procs = known.cgroup_procs if self._crun else ()
            await self._run([*command, container], procs, pipes, START_S_MAX)
            watched = Watched(self.kernel, int(pid_file.read_text()))
            if tty:
                pipes.close()
                master = console.receive()
                return OciExec(watched, master, master, -1)
            pipes.close_far()
            return OciExec(watched, pipes.stdin, pipes.stdout, pipes.stderr)
        except (RuntimeFault, OSError, ValueError) as error:
            message = pipes.drain()
            pipes.close()
            raise RuntimeFault(f"cannot run {argv[0]!r} in {container}: {message or error}") from None
        finally:
            console.close()
            process_file.unlink(missing_ok=True)
            pid_file.unlink(missing_ok=True)

    def leftovers(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and entry.name not in self._known)

    async def _run(self, argv: list[str], cgroup_procs: Sequence[Path], pipes: Pipes, bound_s: float) -> None:
        """Run a command of the runtime to its end, inside the cgroups; raise RuntimeFault if it fails."""
        if cgroup_procs:
            places = "".join(f"echo $$ >{shlex.quote(str(path))} && " for path in cgroup_procs)
            argv = ["/bin/sh", "-c", f'{places}exec "$@"', "sh", *argv]
        # Blocks until the child has begun, 0.2 ms.
        pid = os.posix_spawn(  # noqa: ASYNC221
            argv[0], argv, _ENVIRONMENT, file_actions=pipes.actions(), setpgroup=0, setsigdef=IGNORED_BY_PYTHON
        )
        watched = Watched(self.kernel, pid)
        try:
            code = await asyncio.wait_for(asyncio.shield(watched.exited), bound_s)
        except (TimeoutError, asyncio.TimeoutError):
            raise RuntimeFault(f"{self.name} did not answer within {bound_s:g} s") from None
        finally:
            if not watched.exited.done():
                watched.kill(signal.SIGKILL)
                await asyncio.wait([watched.exited], timeout=REAP_S_MAX)
            watched.close()
            self._reap_strays_soon()
        if code != 0:
            self._reap_strays(of_containers=True)
            asyncio.get_running_loop().call_later(STRAYS_AGAIN_S, self._reap_strays, True)
            raise RuntimeFault(f"{self.name} ended with {code}")

    def _reap_strays_soon(self) -> None:
        if self._strays_timer is None:
            self._strays_timer = asyncio.get_running_loop().call_later(STRAYS_AGAIN_S, self._reap_strays)

    def _reap_strays(self, of_containers: bool = False) -> None:
        """Wait for dead children that nobody watches: the runtime's own (crun forks once more on its way into a pid namespace, and does
        not wait for it) and, after a failed start, those of a container's pid namespace."""
        if not of_containers:
            self._strays_timer = None
        for child in psutil.Process().children():
            if child.pid in watched_pids:
                continue
            try:
                status = self.kernel.read(f"/proc/{child.pid}/status")
                depth = next(len(line.split()) - 1 for line in status.splitlines() if line.startswith("NSpid:"))
                ours = depth == 1 and f"Name:\t{self.name[:15]}\n" in status
                if ours or (of_containers and depth > 1):
                    os.waitpid(child.pid, os.WNOHANG)
            except (OSError, StopIteration):
                continue

    async def _force_delete(self, container: str) -> None:
        """The runtime's own way, for what we do not know: kill it, remove all it made."""
        with open(os.devnull, "r+b") as null:
            pipes = Pipes(to=null.fileno())
            try:
                await self._run([*self._command, "delete", "--force", container], (), pipes, DELETE_S_MAX)
            except RuntimeFault:
                pass
        shutil.rmtree(self.root / container, ignore_errors=True)


class OciExec:
    """An `ExecProcess`."""

    def __init__(self, watched: Watched, stdin: int, stdout: int, stderr: int) -> None:
        self._watched = watched
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr

    async def wait(self) -> int:
        return await asyncio.shield(self._watched.exited)

    def kill(self) -> None:
        self._watched.kill(signal.SIGKILL)

    def resize(self, rows: int, cols: int) -> None:
        if self.stderr == -1:
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


class _Container:
    __slots__ = ("cgroup_procs", "watched")

    def __init__(self, watched: Watched, cgroup_procs: tuple[Path, ...]) -> None:
        self.watched = watched
        self.cgroup_procs = cgroup_procs


class _Console:
    """The socket over which a runtime hands out the terminal that it made."""

    def __init__(self, wanted: bool) -> None:
        self.path = ""
        if wanted:
            self._dir = tempfile.mkdtemp(
                prefix="ingle-tty-"
            )  # a socket's path is short, the state directory may be deep
            self.path = f"{self._dir}/console"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(self.path)
            self._socket.listen(1)
            self._socket.settimeout(REAP_S_MAX)

    def receive(self) -> int:
        """The terminal's descriptor, non-blocking; the runtime has sent it before it exits."""
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(REAP_S_MAX)
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        if not fds:
            raise RuntimeFault("the runtime sent no terminal")
        os.set_blocking(fds[0], False)
        os.set_inheritable(fds[0], False)
        return fds[0]

    def close(self) -> None:
        if self.path:
            self._socket.close()
            shutil.rmtree(self._dir, ignore_errors=True)


def _environment(pid: int) -> dict[str, str]:
    """What a container's first process was started with; nothing when it is gone."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs if pair)}


def _name_cgroup(bundle: Path, container: str, cgroup_procs: Sequence[Path]) -> None:
    """runc cannot be kept from cgroups: have it use those that we made (and make its own for other controllers there)."""
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["cgroupsPath"] = cgroup_path(cgroup_procs) or f"/ingle-{container}"
    path.write_text(json.dumps(config))


def cgroup_path(cgroup_procs: Sequence[Path], read: Callable[[str], str] | None = None) -> str:
    """A group's path below its hierarchy's mount point, which is its name without the root of the hierarchy."""
    if not cgroup_procs:
        return ""
    directory = cgroup_procs[0].parent
    for line in (read or (lambda name: Path(name).read_text()))("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if "cgroup" in line and len(fields) > 4 and directory.is_relative_to(fields[4]) and fields[4] != "/":
            inside = directory.relative_to(fields[4])
            if " - cgroup" in line:
                return f"/{inside}"
    return f"/{directory.name}"


def fault(binary: str) -> str:
    """Why this runtime cannot run a container here, or "". Runs one, of the machine's own /bin/true (10 ms)."""
    path = shutil.which(binary, path=f"{os.environ.get('PATH', '')}:{spec.PATH}")
    if path is None:
        return f"{binary} is not installed"
    with tempfile.TemporaryDirectory(prefix="ingle-probe-") as place:
        _write_probe(Path(place))
        name = f"ingle-probe-{os.getpid()}"
        disabled = CGROUP_MANAGER_DISABLED if Path(path).name.startswith("crun") else ""
        # In a mount namespace of its own, as the node does it: see Kernel.unshare_mounts.
        script = (
            f'[ -d /sys/fs/cgroup/memory ] && umount /sys/fs/cgroup/unified 2>/dev/null; exec {path} {disabled} "$@"'
        )
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        argv += [f"--root={place}/state", "run", f"--bundle={place}", name]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=START_S_MAX, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{binary} cannot be run: {error}"
    return "" if done.returncode == 0 else (done.stderr.strip() or f"{binary} ended with {done.returncode}")


def _write_probe(place: Path) -> None:
    """A bundle whose root is the machine's own programs, read-only."""
    (place / "rootfs").mkdir()
    binds = []
    for name in ("usr", "bin", "sbin", "lib", "lib64", "lib32"):
        host = Path("/", name)
        if host.is_symlink():
            (place / "rootfs" / name).symlink_to(os.readlink(host))
        elif host.is_dir():
            (place / "rootfs" / name).mkdir()
            binds.append(spec.Bind(str(host), str(host)))
    config = spec.oci_config(
        spec.ContainerSpec(str(place / "rootfs"), ["/bin/true"], "probe", None, binds=binds, cwd="/")
    )
    (place / "config.json").write_text(json.dumps(config))
