"""Remote exceptions, raised here as themselves, with a traceback that goes on into the remote frames."""

from __future__ import annotations

import sys
from types import TracebackType

from ingle.exceptions import RemoteError
from ingle.runner import wire
from ingle.sdk.serialization import _c_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FRAMES_MAX = 200
_LINE_MAX = 1 << 20


def rebuild(payload: Any) -> BaseException:
    """The exception in a payload of `pack_raised`, with its remote traceback; RemoteError if it cannot be built here."""
    try:
        pickled, type_name, message, formatted, frames = wire.unpack_raised(bytes(payload))
    except wire.WireError as unreadable:
        return RemoteError(f"a remote exception that this client cannot read: {unreadable}")
    error, reason = _unpickle(pickled)
    if error is None:
        error = RemoteError(
            f"{type_name}: {message}\n\nIt cannot be rebuilt here ({reason}). Remote traceback:\n\n{formatted}"
        )
    return error.with_traceback(remote_traceback(frames))


def _unpickle(pickled: bytes) -> tuple[BaseException | None, str]:
    if not pickled:
        return None, "its type or its arguments could not be pickled"
    try:
        value = _c_loads(pickled)
    except BaseException as error:  # whatever its __setstate__ or __init__ does
        if isinstance(error, KeyboardInterrupt):
            raise
        return None, f"{type(error).__name__}: {error}"
    if not isinstance(value, BaseException):
        return None, f"it is a {type(value).__name__}"
    return value, ""


def remote_traceback(frames: list[tuple[str, int, str, str]]) -> TracebackType | None:
    """A traceback with these frames (file, line number, function, source line), outermost first."""
    result: TracebackType | None = None
    for file, line, function, text in reversed(frames[-FRAMES_MAX:]):
        line = min(max(line, 1), _LINE_MAX)
        frame = _frame(file, line, function)
        if frame is not None:
            result = TracebackType(result, frame.tb_frame, frame.tb_lasti, line)
            _remember_source(file, line, text)
    return result


def _frame(file: str, line: int, function: str) -> TracebackType | None:
    """A traceback entry whose frame looks like a remote one."""
    code = compile("raise LookupError", file, "exec")
    changes: dict[str, Any] = {"co_name": function, "co_firstlineno": line}
    if sys.version_info >= (3, 11):
        changes["co_qualname"] = function
        changes["co_linetable"] = _one_line(len(code.co_code) // 2)
    try:
        exec(code.replace(**changes), {"__name__": "remote", "__file__": file})
    except LookupError as error:
        here = error.__traceback__
        return here.tb_next if here is not None else None
    return None


def _one_line(units: int) -> bytes:
    """A line table (Python ≥ 3.11) that puts all code on the first line, without columns: those would be wrong."""
    table = bytearray()
    while units > 0:
        count = min(units, 8)
        table += bytes((0x80 | 13 << 3 | count - 1, 0))
        units -= count
    return bytes(table)


#: Source lines of remote files, as far as tracebacks have shown them.
_sources: dict[str, dict[int, str]] = {}
_SOURCES_MAX = 1000


def _remember_source(file: str, line: int, text: str) -> None:
    """Lets `traceback` show the line, though the file is not here or is another one."""
    if not text:
        return
    import linecache

    if linecache.getline(file, line).strip() == text.strip():
        return
    if len(_sources) > _SOURCES_MAX:
        _sources.clear()
    known = _sources.setdefault(file, {})
    known[line] = text
    lines = ["\n"] * max(known)
    for number, source in known.items():
        lines[number - 1] = source.rstrip("\n") + "\n"
    linecache.cache[file] = (1, None, lines, file)  # no modification time: never checked against the disk
