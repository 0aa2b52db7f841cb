"""A raised exception as payload: its pickle, its traceback without our frames, its text. Loaded when something fails.

The pickle is an ordinary one of the exception itself. Its causes go along as attributes that BaseException's own
`__setstate__` sets, so whoever unpickles it needs nothing of ours. It is unpickled here before it is sent: where the
ordinary way fails or changes it (an `__init__` that wants other arguments than it hands on), it is rebuilt without its
`__init__`; and what cannot be rebuilt at all must not break the client.
"""

import _pickle
import builtins
import copyreg
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

from ingle.runner import payload, wire

#: Of a traceback, so many frames at most: the first half and the last.
FRAMES_MAX = 200
#: Of a formatted traceback, so many characters at most: the first half and the last.
TEXT_CHARS_MAX = 100_000
_SOURCE_CHARS_MAX = 1000
#: Causes of causes that are sent along.
_CHAIN_MAX = 20

_OURS = __file__.rpartition("/runner/")[0] + "/"


def pack(error: BaseException, hint: str = "") -> bytes:
    """The payload for an exception, whatever it is. `hint` is added as a note."""
    try:
        if hint:
            _add_note(error, hint)
        return _pack(error, hint if sys.version_info < (3, 11) else "")
    except BaseException as fault:  # MemoryError, or an exception that fails whatever is done with it
        text = f"{_type_name(error)}: (its traceback cannot be shown: {type(fault).__name__})"
        return wire.pack_raised(b"", _type_name(error), text, text, [])


def cut(raised: bytes, bytes_max: int) -> bytes:
    """The same in at most so many bytes: without the pickle, with shorter texts."""
    if len(raised) <= bytes_max:
        return raised
    _, name, message, formatted, frames = wire.unpack_raised(raised)
    chars = bytes_max // 16
    return wire.pack_raised(
        b"", name[:200], _middle_out(message, chars), _middle_out(formatted, 2 * chars), frames[-8:]
    )


def unpicklable_result(function: str, value: object, error: BaseException) -> TypeError:
    kind = _type_name(value)
    told = TypeError(
        f"the result of `{function}` cannot be pickled, so it cannot be sent back: {kind} ({_text(error)}); "
        f"return plain data (numbers, strings, bytes, lists, dicts, dataclasses, arrays …) made from it"
    )
    told.__cause__ = error
    return told


def arguments_hint(function: str, error: BaseException) -> str:
    """What to do when arguments cannot be rebuilt."""
    start = f"the arguments of `{function}` could not be rebuilt in its container"
    if isinstance(error, ImportError) and error.name:
        return f"{start}: the module `{error.name}` is not there; add it to the function's image, or pass plain data"
    return f"{start}: classes that they use must be importable there, in the same version"


def _pack(error: BaseException, hint: str) -> bytes:
    told = traceback.TracebackException(type(error), error, _without_runner(error.__traceback__), compact=True)
    for part in _chain(told):
        part.stack[:] = _without_ours(part.stack)
    formatted = "".join(told.format())
    if hint:
        formatted += hint + "\n"
    frames = []
    for frame in _bounded(list(told.stack)):
        frames.append((frame.filename, frame.lineno or 0, frame.name, (frame.line or "")[:_SOURCE_CHARS_MAX]))
    return wire.pack_raised(
        pickled(error),
        _type_name(error),
        _middle_out(_text(error), TEXT_CHARS_MAX),
        _middle_out(formatted, TEXT_CHARS_MAX),
        frames,
    )


def _without_runner(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace


def _without_ours(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [frame for frame in stack if not frame.filename.startswith(_OURS)]


def _chain(told: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    todo, seen = [told], set()
    while todo:
        part = todo.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        todo += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]


def _bounded(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    if len(frames) <= FRAMES_MAX:
        return frames
    return frames[: FRAMES_MAX // 2] + frames[-FRAMES_MAX // 2 :]


def _middle_out(text: str, chars_max: int) -> str:
    if len(text) <= chars_max:
        return text
    half = chars_max // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(its text cannot be shown)"


def _add_note(error: BaseException, note: str) -> None:
    if sys.version_info >= (3, 11):
        error.add_note(note)
    else:
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]


# ---- the pickle


def pickled(error: BaseException) -> bytes:
    """A pickle that is known to rebuild an exception of this type, with these arguments; b"" if there is none."""
    for chain, state in ((_CHAIN_MAX, True), (_CHAIN_MAX, False), (0, True), (0, False)):
        for as_new in (False, True):
            for by_value in (False, True):
                try:
                    data = _dump(error, chain, state, by_value, as_new)
                    if _is_same(_pickle.loads(data), error, chain):
                        return data
                except BaseException:
                    continue
    return b""


def _is_same(built: BaseException, error: BaseException, chain: int) -> bool:
    """Is it of the same type, with the same arguments, as far as those are plain; and are the exceptions in it?"""
    if type(built).__qualname__ != type(error).__qualname__ or len(built.args) != len(error.args):
        return False
    for one, other in zip(built.args, error.args, strict=True):
        if isinstance(other, (str, int, bytes)) and (type(one) is not type(other) or one != other):
            return False
    pairs = list(zip(getattr(built, "exceptions", ()), getattr(error, "exceptions", ()), strict=False))
    if chain:
        pairs += [(built.__cause__, error.__cause__), (built.__context__, error.__context__)]
    return all(_is_same(one, other, max(0, chain - 1)) for one, other in pairs if one is not None and other is not None)


def _dump(error: BaseException, chain: int, whole_state: bool, by_value: bool, as_new: bool) -> bytes:
    from io import BytesIO

    if by_value:
        import cloudpickle  # type: ignore[import-untyped]

        base = cloudpickle.Pickler
    else:
        base = _pickle.Pickler
    left = chain

    class Pickler(base):  # type: ignore[misc, valid-type]
        def reducer_override(self, value: object) -> object:
            nonlocal left
            if isinstance(value, BaseException):
                left -= 1
                return _reduced(value, left >= 0, whole_state, as_new)
            if by_value:
                return super().reducer_override(value)
            return NotImplemented

    target = BytesIO()
    Pickler(target, payload.PROTOCOL).dump(error)
    return target.getvalue()


def _reduced(error: BaseException, with_chain: bool, whole_state: bool, as_new: bool) -> object:
    """What `error.__reduce_ex__` says, with its causes in the state; and with less state if not `whole_state`."""
    reduced = _as_new(error) if as_new else error.__reduce_ex__(payload.PROTOCOL)
    if not isinstance(reduced, tuple) or len(reduced) not in (2, 3):
        return reduced
    state = reduced[2] if len(reduced) == 3 else None
    if state is not None and type(state) is not dict:
        return reduced
    if type(error).__setstate__ is not BaseException.__setstate__:
        return reduced
    state = dict(state or {})
    if not whole_state:
        state = {key: part for key, part in state.items() if _can_be_pickled(part)}
    if with_chain:
        if error.__cause__ is not None:
            state["__cause__"] = error.__cause__
        if error.__context__ is not None:
            state["__context__"] = error.__context__
        if error.__suppress_context__:
            state["__suppress_context__"] = True
    return (reduced[0], reduced[1], state) if state else reduced[:2]


def _as_new(error: BaseException) -> object:
    """Rebuilds it without its `__init__`, which may want other arguments than it handed on, or change them once more:
    by `__new__`, and by setting what it holds. A type that says itself how it is rebuilt is left to that."""
    kind = type(error)
    if not isinstance(kind.__reduce__, _CMethod) or kind.__reduce_ex__ is not object.__reduce_ex__:
        return error.__reduce_ex__(payload.PROTOCOL)
    state = dict(error.__dict__)
    if not isinstance(error, _Group):  # a group's own fields are set by its __new__, and by nothing else
        for base in kind.__mro__:
            for name, field in vars(base).items():
                if isinstance(field, _Field) and getattr(error, name, None) is not None:
                    state[name] = getattr(error, name)
    state["args"] = error.args
    return copyreg.__newobj__, (kind, *error.args), state  # type: ignore[attr-defined]


_CMethod = type(BaseException.__reduce__)
#: Fields that are no part of `__dict__`: SystemExit.code, OSError.errno, `__slots__`.
_Field = type(SystemExit.code)
_Group = getattr(builtins, "BaseExceptionGroup", type(None))  # Python ≥ 3.11


def _can_be_pickled(value: object) -> bool:
    try:
        _pickle.loads(payload.dump_by_value(value))
    except BaseException:
        return False
    return True
