"""A user's traceback: their frames and the remote ones, without ours."""

import os
import sys
import traceback
from types import TracebackType

import ingle

_OURS = os.path.dirname(os.path.abspath(ingle.__file__)) + os.sep
#: Our files as a container sees them.
_OURS_INSIDE = "/ingle/lib/"
#: What runs the user's file for us.
_CARRIERS = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


def is_ours(filename: str) -> bool:
    if filename in _CARRIERS:
        return True
    return filename.startswith((_OURS, _OURS_INSIDE)) or os.path.abspath(filename).startswith(_OURS)


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of our own files; what stands at the start to run the program goes too."""
    kept = []
    started = False
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        ours = is_ours(name)
        if not ours and not started:
            # asyncio.run, runpy and the like that carry the user's first frame
            ours = _is_carrier(name)
            started = not ours
        if not ours:
            kept.append(trace)
        trace = trace.tb_next
    rebuilt: TracebackType | None = None
    for one in reversed(kept):
        rebuilt = TracebackType(rebuilt, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return rebuilt


def _is_carrier(filename: str) -> bool:
    library = os.path.dirname(os.__file__) + os.sep
    return filename.startswith((library + "asyncio" + os.sep, library + "importlib" + os.sep)) or filename in (
        library + "contextlib.py",
        library + "runpy.py",
    )


def clean(error: BaseException, seen: set[int] | None = None) -> BaseException:
    """The same exception, with our frames left out of its traceback and of those of its causes."""
    seen = set() if seen is None else seen
    if id(error) in seen:
        return error
    seen.add(id(error))
    error.__traceback__ = without_ours(error.__traceback__)
    inner = [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
    for one in inner:
        if isinstance(one, BaseException):
            clean(one, seen)
    return error


def show(error: BaseException) -> None:
    """Print the user's traceback to stderr."""
    clean(error)
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
