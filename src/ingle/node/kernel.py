"""Every system call of the node that is more than plain file IO, in one object, with a twin that only records.

The node lives in a mount namespace of its own (`unshare_mounts`, called once, before any thread is started): overlay
mounts and the files that hold network namespaces exist only there, so whatever kills the node, they go with it.
"""

import ctypes
import errno
import os
import resource
import signal
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
#: mount(2) takes one page of options.
OPTIONS_BYTES_MAX = 4095

_PR_SET_CHILD_SUBREAPER = 36
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT, _SYS_MOVE_MOUNT = 430, 431, 432, 429
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE, _MOVE_MOUNT_F_EMPTY_PATH, _AT_FDCWD = 1, 6, 4, -100


class Kernel:
    """The real one. Methods raise OSError with the path or the mount they were about."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long
        self._libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]

    # ---- mounts

    def unshare_mounts(self) -> None:
        """Give this process a private mount namespace, without the cgroup v2 hierarchy if the machine is hybrid.

        crun refuses to start where a v2 hierarchy lies beside v1 ones; in our own namespace we may take it away.
        """
        self._check(self._libc.unshare(CLONE_NEWNS), "unshare mounts")
        self.mount("none", "/", "", MS_REC | MS_PRIVATE)
        for mount_point in hybrid_unified(self.read("/proc/self/mountinfo")):
            self.umount(mount_point)

    def mount(self, source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
        done = self._libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
        self._check(done, f"mount {kind or source} on {target}")

    def mount_overlay(self, target: str, lower: list[str], upper: str, work: str, extra: str = "") -> None:
        """An overlay; `lower` is top first. `extra`: further options, such as "volatile"."""
        options = f"lowerdir={':'.join(map(_escape, lower))},upperdir={_escape(upper)},workdir={_escape(work)}"
        options += f",{extra}" if extra else ""
        if len(options.encode()) <= OPTIONS_BYTES_MAX:
            self.mount("overlay", target, "overlay", 0, options)
            return
        pairs = [("lowerdir+", path) for path in lower] + [("upperdir", upper), ("workdir", work)]
        self._mount_by_steps("overlay", target, pairs, extra)

    def umount(self, target: str) -> None:
        """Take a mount away, at once for the eye even where something still uses it. Quiet if there is none."""
        if self._libc.umount2(target.encode(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
            code = ctypes.get_errno()
            if code not in (errno.EINVAL, errno.ENOENT):
                raise OSError(code, f"umount {target}: {os.strerror(code)}")

    def sync_disk(self, path: str) -> None:
        """Everything written to the file system of `path` is on disk when this returns."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._check(self._libc.syncfs(fd), f"syncfs {path}")
        finally:
            os.close(fd)

    # ---- namespaces and processes

    def unshare_network(self) -> None:
        """The calling thread enters a fresh network namespace."""
        self._check(self._libc.unshare(CLONE_NEWNET), "unshare network")

    def setns(self, fd: int, kind: int) -> None:
        self._check(self._libc.setns(fd, kind), "setns")

    def become_subreaper(self) -> None:
        """Orphans below this process become its children, so that it can wait for what a runtime left behind."""
        self._check(self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl subreaper")

    def pidfd_open(self, pid: int) -> int:
        return os.pidfd_open(pid)

    def kill(self, pid: int, number: int) -> None:
        """Quiet for a process that is gone."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def pidfd_kill(self, pidfd: int, number: int) -> None:
        """Quiet for a process that is gone."""
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass

    def raise_open_files_limit(self) -> int:
        """As many descriptors as the machine allows this process; says how many."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard

    # ---- files of the kernel (cgroups, sysctls)

    def read(self, path: str | Path) -> str:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def write(self, path: str | Path, text: str) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def exists(self, path: str | Path) -> bool:
        return os.path.exists(path)

    def mkdir(self, path: str | Path) -> None:
        """Quiet if it is there."""
        try:
            os.mkdir(path)
        except FileExistsError:
            pass

    def rmdir(self, path: str | Path) -> None:
        """Quiet if it is gone."""
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass

    def directories(self, path: str | Path) -> list[str]:
        """Names of the directories in `path`; none if it is not there."""
        try:
            with os.scandir(path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    # ---- inside

    def _mount_by_steps(self, kind: str, target: str, pairs: list[tuple[str, str]], extra: str) -> None:
        """The mount calls of Linux 5.2, which have no limit on the length of all options together."""
        fs = self._check(self._libc.syscall(_SYS_FSOPEN, kind.encode(), 1), f"fsopen {kind}")
        try:
            for key, value in [*pairs, *(option.partition("=")[::2] for option in extra.split(",") if option)]:
                command = _FSCONFIG_SET_STRING if value else 0  # 0: a flag
                done = self._libc.syscall(
                    _SYS_FSCONFIG, fs, command, key.encode(), value.encode() if value else None, 0
                )
                self._check(done, f"{kind} option {key}={value}")
            self._check(self._libc.syscall(_SYS_FSCONFIG, fs, _FSCONFIG_CMD_CREATE, None, None, 0), f"make {kind}")
            mount = self._check(self._libc.syscall(_SYS_FSMOUNT, fs, 1, 0), f"fsmount {kind}")
            try:
                done = self._libc.syscall(
                    _SYS_MOVE_MOUNT, mount, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH
                )
                self._check(done, f"mount {kind} on {target}")
            finally:
                os.close(mount)
        finally:
            os.close(fs)

    def _check(self, result: int, what: str) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"{what}: {os.strerror(code)}")
        return result


class RecordingKernel(Kernel):
    """Does nothing and remembers what it was told: `said`. `files` stands for the kernel's files."""

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self.said: list[str] = []
        self.files = dict(files or {})
        #: What `mount` raises, once for each.
        self.faults: list[OSError] = []

    def unshare_mounts(self) -> None:
        self.said.append("unshare mounts")

    def mount(self, source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
        self.said.append(f"mount {kind or source} {target}" + (f" {options}" if options else ""))
        if self.faults:
            raise self.faults.pop(0)

    def umount(self, target: str) -> None:
        self.said.append(f"umount {target}")

    def sync_disk(self, path: str) -> None:
        self.said.append(f"sync {path}")

    def unshare_network(self) -> None:
        self.said.append("unshare network")

    def setns(self, fd: int, kind: int) -> None:
        self.said.append("setns")

    def become_subreaper(self) -> None:
        self.said.append("subreaper")

    def kill(self, pid: int, number: int) -> None:
        self.said.append(f"kill {pid} {number}")

    def raise_open_files_limit(self) -> int:
        return 1024

    def read(self, path: str | Path) -> str:
        try:
            return self.files[str(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from None

    def write(self, path: str | Path, text: str) -> None:
        self.said.append(f"write {path} {text}")
        self.files[str(path)] = text

    def exists(self, path: str | Path) -> bool:
        return str(path) in self.files or any(name.startswith(f"{path}/") for name in self.files)

    def mkdir(self, path: str | Path) -> None:
        self.said.append(f"mkdir {path}")

    def rmdir(self, path: str | Path) -> None:
        self.said.append(f"rmdir {path}")

    def directories(self, path: str | Path) -> list[str]:
        inside = [name[len(str(path)) + 1 :] for name in self.files if name.startswith(f"{path}/")]
        return sorted({name.split("/")[0] for name in inside if "/" in name})

    def _mount_by_steps(self, kind: str, target: str, pairs: list[tuple[str, str]], extra: str) -> None:
        self.said.append(f"mount {kind} {target} by steps: {len(pairs)} paths")


def mounts_of_cgroups(mountinfo: str) -> list[tuple[str, str, set[str]]]:
    """(mount point, "cgroup" or "cgroup2", its options) of every cgroup hierarchy in a /proc/…/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if separator and len(fields) > 4 and len(tail) > 2 and tail[0] in ("cgroup", "cgroup2"):
            found.append((fields[4], tail[0], set(tail[2].split(","))))
    return found


def hybrid_unified(mountinfo: str) -> list[str]:
    """Where the v2 hierarchy is mounted, if v1 hierarchies with controllers are mounted as well."""
    mounts = mounts_of_cgroups(mountinfo)
    if not any(kind == "cgroup" and "memory" in options for _, kind, options in mounts):
        return []
    return [point for point, kind, _ in mounts if kind == "cgroup2"]


def _escape(path: str) -> str:
    """Colons and commas separate overlay's options."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
