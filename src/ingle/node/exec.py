"""Further processes in a container (`ingle container exec`): their input and output, between runtime and server."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable

from ingle.node.runtime.base import ExecProcess, Runtime, RuntimeFault
from ingle.wire import node as w

logger = logging.getLogger(__name__)

READ_BYTES = 32 << 10
#: For a process that does not read its input.
STDIN_BYTES_MAX = 8 << 20
EXECS_MAX = 64
#: Messages for a process that is just being started.
EARLY_MAX = 64
#: After the exit of the process its output is read for so long.
DRAIN_S = 2.0
CANNOT_RUN = 126
ENV = {"TERM": "xterm-256color"}


class Exec:
    """One process. `say(message, payload)` goes to the server; `resume` and `pause` follow the server's connection."""

    def __init__(self, id: str, process: ExecProcess, say: Callable[[object, bytes], object]):
        self._loop = asyncio.get_running_loop()
        self._id, self._process, self._say = id, process, say
        self._readers = {fd: n for n, fd in ((1, process.stdout), (2, process.stderr)) if fd >= 0}
        self._stdin_shared = process.stdin == process.stdout
        self._stdin = process.stdin
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._eof = False
        self._writing = False
        self._closed: asyncio.Future[None] = self._loop.create_future()
        for fd in self._readers:
            os.set_blocking(fd, False)
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)
        self.resume()

    async def run(self) -> None:
        """Until it has ended and its output is said."""
        try:
            code = await self._process.wait()
            if self._readers:
                await asyncio.wait([self._closed], timeout=DRAIN_S)
            self._say(w.ExecOutput(self._id, 1, code), b"")
        finally:
            self._process.kill()
            for fd in list(self._readers):
                self._end(fd)
            self._close_stdin()

    def kill(self) -> None:
        self._process.kill()

    def resume(self) -> None:
        for fd, stream in self._readers.items():
            self._loop.add_reader(fd, self._read, fd, stream)

    def pause(self) -> None:
        for fd in self._readers:
            self._loop.remove_reader(fd)

    def feed(self, message: w.ExecInput, data: bytes) -> None:
        if message.gone:
            self.kill()
            return
        if message.rows and message.cols:
            self._process.resize(message.rows, message.cols)
        if data and self._stdin >= 0 and self._waiting_bytes + len(data) <= STDIN_BYTES_MAX:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
        self._eof = self._eof or message.eof
        self._write()

    def _read(self, fd: int, stream: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the other side of a terminal is gone
            data = b""
        if data:
            self._say(w.ExecOutput(self._id, stream), data)
        else:
            self._end(fd)

    def _end(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._readers.pop(fd, None)
        if self._stdin_shared:
            self._close_stdin()
        else:
            os.close(fd)
        if not self._readers and not self._closed.done():
            self._closed.set_result(None)

    def _write(self) -> None:
        while self._waiting and self._stdin >= 0:
            try:
                sent = os.write(self._stdin, self._waiting[0])
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._stdin, self._write)
                return
            except OSError:
                self._waiting.clear()
                self._waiting_bytes = 0
                break
            self._waiting_bytes -= sent
            if sent == len(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._waiting[0] = self._waiting[0][sent:]
        self._stop_writing()
        if self._eof and not self._stdin_shared:
            self._close_stdin()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._stdin)

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._stop_writing()
            os.close(self._stdin)
            self._stdin = -1


class Execs:
    """All of a node."""

    def __init__(self, runtime: Runtime, say: Callable[[object, bytes], object]):
        self._runtime, self._say = runtime, say
        self._running: dict[str, Exec] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._early: dict[str, list[tuple[w.ExecInput, bytes]]] = {}

    def start(self, message: w.StartExec, container: str | None) -> None:
        """`container`: as the runtime knows it; None: there is no such container."""
        if message.exec in self._tasks:
            return
        if container is None:
            self._refuse(message.exec, f"container {message.container} does not run on this node")
        elif len(self._tasks) >= EXECS_MAX:
            self._refuse(message.exec, f"this node runs {EXECS_MAX} exec processes already")
        else:
            self._early[message.exec] = []
            task = asyncio.get_running_loop().create_task(self._run(message, container))
            self._tasks[message.exec] = task
            task.add_done_callback(lambda _: self._forget(message.exec))

    def feed(self, message: w.ExecInput, data: bytes) -> None:
        if message.exec in self._running:
            self._running[message.exec].feed(message, data)
        elif message.exec in self._early and (message.gone or len(self._early[message.exec]) < EARLY_MAX):
            self._early[message.exec].append((message, data))

    def set_writable(self, writable: bool) -> None:
        for one in self._running.values():
            if writable:
                one.resume()
            else:
                one.pause()

    def kill_all(self) -> None:
        """Nobody listens any more: what was said meanwhile would be lost, so a process is not kept for later."""
        for early in self._early.values():
            early.append((w.ExecInput("", gone=True), b""))
        for one in self._running.values():
            one.kill()

    async def stop(self) -> None:
        self.kill_all()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, message: w.StartExec, container: str) -> None:
        env = {**ENV} if message.tty else {}
        try:
            process = await self._runtime.exec(container, message.argv, env=env, cwd="/root", tty=message.tty)
        except (RuntimeFault, OSError) as error:
            text = str(error).replace(container, message.container)  # a spare has a name of its own
            self._refuse(message.exec, text)
            return
        one = self._running[message.exec] = Exec(message.exec, process, self._say)
        if message.tty:
            process.resize(message.rows, message.cols)
        for early, data in self._early.pop(message.exec, []):
            one.feed(early, data)
        await one.run()

    def _refuse(self, exec: str, text: str) -> None:
        self._say(w.ExecOutput(exec, 2), f"{text}\n".encode())
        self._say(w.ExecOutput(exec, 2, CANNOT_RUN), b"")

    def _forget(self, exec: str) -> None:
        self._running.pop(exec, None)
        self._early.pop(exec, None)
        self._tasks.pop(exec, None)
