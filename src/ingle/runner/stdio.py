"""Standard output and error: ordinary text streams that mark, in the pipe, to which input the bytes belong.

The mark is written by the raw layer, which Python calls once per flushed line and not per write, and only before the
first bytes of another input. A process that user code starts writes to the pipe directly; an audit hook sees that it
is about to start, and marks both pipes before.
"""

import posix
import sys
from _io import BufferedWriter, FileIO, TextIOWrapper

from ingle.runner import context, wire

_SPAWNS = frozenset(
    ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system", "os.exec", "os.spawn", "pty.spawn")
)
#: Has user code started a process since somebody last looked?
spawned = False


class MarkingFile(FileIO):
    """The raw layer: a descriptor, and the input to which its last bytes belonged."""

    _marked = b""

    def write(self, data):  # type: ignore[no-untyped-def, override]
        if context.input_id != self._marked:
            self.mark()
        return FileIO.write(self, data)

    def mark(self) -> None:
        # Between inputs nothing is marked: what a thread left behind prints counts for the last one.
        current = context.input_id
        if current and current != self._marked:
            try:
                posix.write(self.fileno(), wire.MARK + current + wire.MARK_END)
            except (OSError, ValueError):
                return  # the write that follows meets, and reports, the same
            self._marked = current


def _stream(fd: int, name: str, like: object) -> tuple[MarkingFile, TextIOWrapper]:
    raw = MarkingFile(fd, "w", closefd=False)
    raw.name = name
    errors = getattr(like, "errors", None) or ("strict" if fd == 1 else "backslashreplace")
    text = TextIOWrapper(
        BufferedWriter(raw), getattr(like, "encoding", None) or "utf-8", errors, newline="\n", line_buffering=True
    )
    text.mode = "w"  # type: ignore[misc]
    return raw, text


def install() -> None:
    """Puts marking streams in the place of `sys.stdout` and `sys.stderr`."""
    out_raw, out = _stream(1, "<stdout>", sys.stdout)
    err_raw, err = _stream(2, "<stderr>", sys.stderr)
    sys.stdout = sys.__stdout__ = out  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = err  # type: ignore[misc]

    def audit(event: str, args: tuple[object, ...]) -> None:
        if event in _SPAWNS:
            global spawned
            spawned = True
            out_raw.mark()
            err_raw.mark()

    sys.addaudithook(audit)
    import faulthandler

    faulthandler.enable(2)  # a crash in native code shows where
