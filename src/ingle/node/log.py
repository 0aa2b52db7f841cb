"""Reads the stdout and stderr of one container and turns them into lines, each under the input that printed it.

The runner writes a marker line (MARK, input id, MARK_END) into a stream when another input begins to print there; it is
taken out. Batches go to the server one at a time: until one is acknowledged the pipes are not read, so a program that
prints without end soon blocks in its own write. Only `drain`, before an output is sent, reads regardless, so that
a caller sees a call's lines before its result; that is bounded by UNACKNOWLEDGED_BYTES_MAX.
"""

import asyncio
import os
import select
import time
from collections import deque
from collections.abc import Callable

from ingle.runner import wire
from ingle.wire.api import LogLine

MARK, MARK_END = wire.MARK, wire.MARK_END.rstrip(b"\n")
MARK_BYTES_MAX = 120
LINE_BYTES_MAX = 64 << 10
READ_BYTES = 64 << 10
#: Reads of one pipe in one turn of the loop.
READS_MAX = 4
#: Reads of one pipe in one `drain`: a pipe that is never empty must not hold back the output for ever.
DRAIN_READS_MAX = 32
UNACKNOWLEDGED_BYTES_MAX = 1 << 20
#: A line without its end is sent after this time.
PARTIAL_S = 0.5
#: What a line costs besides its text, for the bounds.
LINE_OVERHEAD_BYTES = 100
TAIL_LINES_MAX = 20


class _Stream:
    __slots__ = ("fd", "input", "name", "partial", "watched")

    def __init__(self, name: str, fd: int):
        self.name, self.fd = name, fd
        self.partial = b""
        self.input = ""
        self.watched = False


class LogReader:
    """Owns the two descriptors. `say(lines)` sends a batch; `acknowledged` follows for each. `accepts(input)`: the
    container was given it."""

    def __init__(
        self, stdout: int, stderr: int, *, container: str, function: str,
        say: Callable[[list[LogLine]], None], accepts: Callable[[str], bool],
    ):  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._container, self._function, self._say, self._accepts = container, function, say, accepts
        self._streams = [_Stream("stdout", stdout), _Stream("stderr", stderr)]
        self._poll = select.poll()
        for stream in self._streams:
            self._poll.register(stream.fd, select.POLLIN)
        self._lines: list[LogLine] = []
        self._bytes = 0
        self._unacknowledged: deque[tuple[list[LogLine], int]] = deque()
        self._unacknowledged_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES_MAX)
        self._watch()

    @property
    def tail(self) -> str:
        """The last lines of stderr."""
        return "\n".join(self._tail)

    def unacknowledged(self) -> list[list[LogLine]]:
        """The batches to say again on a new connection."""
        return [lines for lines, _ in self._unacknowledged]

    def acknowledged(self) -> None:
        if self._unacknowledged:
            self._unacknowledged_bytes -= self._unacknowledged.popleft()[1]
        if not self._unacknowledged:
            self._flush()
            self._watch()

    def note(self, text: str) -> None:
        """A line of our own, in the stream `system`."""
        self._add("system", "", text)
        self._flush()

    def drain(self) -> None:
        """Read what is there and send it, unfinished lines included: an input has ended."""
        if self._unacknowledged_bytes > UNACKNOWLEDGED_BYTES_MAX:
            return
        if self._poll.poll(0):
            for stream in self._streams:
                self._read(stream, DRAIN_READS_MAX)
        self._end_partial_lines()
        if self._lines:
            self._send()

    def finish(self) -> bool:
        """The process is gone: read and send everything. False while a pipe is not at its end yet."""
        for stream in self._streams:
            self._read(stream, DRAIN_READS_MAX, to_the_end=True)
        open_ones = any(stream.fd >= 0 for stream in self._streams)
        if not open_ones:
            self._end_partial_lines()
        if self._lines:
            self._send()
        return not open_ones

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for stream in self._streams:
            self._end(stream)

    # ---- reading

    def _watch(self) -> None:
        for stream in self._streams:
            if stream.fd >= 0 and not stream.watched:
                stream.watched = True
                self._loop.add_reader(stream.fd, self._on_readable, stream)

    def _unwatch(self) -> None:
        for stream in self._streams:
            if stream.watched:
                stream.watched = False
                self._loop.remove_reader(stream.fd)

    def _on_readable(self, stream: _Stream) -> None:
        self._read(stream, READS_MAX)
        self._flush()
        if self._unacknowledged:
            self._unwatch()

    def _read(self, stream: _Stream, reads: int, *, to_the_end: bool = False) -> None:
        for _ in range(reads):
            if stream.fd < 0:
                return
            try:
                data = os.read(stream.fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._end(stream)
                return
            self._take(stream, data)
            if len(data) < READ_BYTES and not to_the_end:
                return  # empty now; if not, the loop says so

    def _end(self, stream: _Stream) -> None:
        if stream.fd < 0:
            return
        if stream.watched:
            stream.watched = False
            self._loop.remove_reader(stream.fd)
        self._poll.unregister(stream.fd)
        os.close(stream.fd)
        stream.fd = -1

    # ---- lines

    def _take(self, stream: _Stream, data: bytes) -> None:
        *lines, partial = (stream.partial + data).split(b"\n")
        stream.partial = partial
        for line in lines:
            self._line(stream, line)
        if len(stream.partial) > LINE_BYTES_MAX:
            self._end_partial_line(stream)
        if stream.partial and self._timer is None:
            self._timer = self._loop.call_later(PARTIAL_S, self._on_partial)

    def _line(self, stream: _Stream, line: bytes) -> None:
        if MARK in line and line.endswith(MARK_END):
            line, _, input = line[:-1].rpartition(MARK)
            if line:
                self._text(stream, line)
            name = input.decode("utf-8", "replace")
            if self._accepts(name):
                stream.input = name
            return
        self._text(stream, line)

    def _text(self, stream: _Stream, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if b"\r" in line:  # a progress bar: what a terminal would show in the end
            line = line.rpartition(b"\r")[2]
        for at in range(0, len(line) or 1, LINE_BYTES_MAX):
            self._add(stream.name, stream.input, line[at : at + LINE_BYTES_MAX].decode("utf-8", "replace"))

    def _add(self, stream: str, input: str, text: str) -> None:
        self._lines.append(LogLine(time.time(), self._container, input, self._function, stream, text))
        self._bytes += len(text) + LINE_OVERHEAD_BYTES
        if stream == "stderr":
            self._tail.append(text[:2000])

    def _on_partial(self) -> None:
        self._timer = None
        self._end_partial_lines()
        self._flush()

    def _end_partial_lines(self) -> None:
        for stream in self._streams:
            if stream.partial:
                self._end_partial_line(stream)

    def _end_partial_line(self, stream: _Stream) -> None:
        """What is there counts as a line; but a marker that has not quite arrived waits for its end."""
        text, rest = stream.partial, b""
        at = text.rfind(MARK[:1], -MARK_BYTES_MAX)
        if at >= 0 and (MARK.startswith(text[at : at + len(MARK)]) or text.startswith(MARK, at)) and stream.fd >= 0:
            text, rest = text[:at], text[at:]
        stream.partial = rest
        if text:
            self._text(stream, text)

    # ---- sending

    def _flush(self) -> None:
        if self._lines and not self._unacknowledged:
            self._send()

    def _send(self) -> None:
        lines, size = self._lines, self._bytes
        self._lines, self._bytes = [], 0
        self._unacknowledged.append((lines, size))
        self._unacknowledged_bytes += size
        self._say(lines)
