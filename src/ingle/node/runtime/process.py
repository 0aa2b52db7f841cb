"""A child process as runtimes hold it: pipes for its stdio, a pidfd, and its exit."""

import asyncio
import os
import signal

from ingle.node.kernel import Kernel

REAP_S_MAX = 2.0
REAP_PAUSE_S = 0.002
MESSAGE_BYTES_MAX = 4096
#: Python ignores these; a program that we start should not inherit that.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

#: Children that somebody waits for.
watched_pids: set[int] = set()


class Watched:
    """A child, or an orphan about to become one; `exited` gets its exit code."""

    def __init__(self, kernel: Kernel, pid: int) -> None:
        self._kernel = kernel
        self._loop = asyncio.get_running_loop()
        self._reap_until_s = 0.0
        self.pid = pid
        self.pidfd = kernel.pidfd_open(pid)
        watched_pids.add(pid)
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self.pidfd, self._dead)

    def kill(self, number: int) -> None:
        if not self.exited.done() and self.pidfd >= 0:
            self._kernel.pidfd_kill(self.pidfd, number)

    def close(self) -> None:
        if self.pidfd >= 0:
            self._loop.remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    def _dead(self) -> None:
        self._loop.remove_reader(self.pidfd)
        self._reap_until_s = self._loop.time() + REAP_S_MAX
        self._reap()

    def _reap(self) -> None:
        if self.exited.done():
            return
        try:
            found, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            found, status = 0, 0
        if found:
            self._end(os.waitstatus_to_exitcode(status))
        elif self._loop.time() < self._reap_until_s:
            self._loop.call_later(REAP_PAUSE_S, self._reap)
        else:  # somebody else has reaped it; how it ended is not to be known any more
            self._end(-signal.SIGKILL)

    def _end(self, code: int) -> None:
        watched_pids.discard(self.pid)
        self.exited.set_result(code)
        self.close()


class Pipes:
    """Anonymous pipes for a child's stdio. `to`: everything there instead."""

    def __init__(self, *, stdin: bool = False, to: int = -1) -> None:
        self._to = to
        self.stdin = self.stdout = self.stderr = -1
        self._far: list[int] = []
        if to >= 0:
            return
        near_in = os.pipe2(os.O_CLOEXEC) if stdin else None
        self.stdout, far_out = os.pipe2(os.O_CLOEXEC)
        self.stderr, far_err = os.pipe2(os.O_CLOEXEC)
        if near_in:
            self.stdin = near_in[1]
        self._far = [near_in[0] if near_in else -1, far_out, far_err]
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)

    def actions(self) -> list[tuple]:
        """For posix_spawn. The far ends lie above 2, so that no copy overwrites another's source."""
        if self._to >= 0:
            return [(os.POSIX_SPAWN_DUP2, self._to, number) for number in (0, 1, 2)]
        far_in, far_out, far_err = self._far
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        first = (os.POSIX_SPAWN_DUP2, far_in, 0) if far_in >= 0 else null
        return [first, (os.POSIX_SPAWN_DUP2, far_out, 1), (os.POSIX_SPAWN_DUP2, far_err, 2)]

    def drain(self) -> str:
        """The end of what came over stderr so far."""
        said = b""
        while self.stderr >= 0:
            try:
                more = os.read(self.stderr, 1 << 16)
            except BlockingIOError:
                break
            if not more:
                break
            said = (said + more)[-MESSAGE_BYTES_MAX:]
        return said.decode(errors="replace").strip()

    def close_far(self) -> None:
        for fd in self._far:
            if fd >= 0:
                os.close(fd)
        self._far = []

    def close(self) -> None:
        self.close_far()
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = -1
