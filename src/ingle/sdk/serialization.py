"""Values to bytes and back.

Most values go through the C pickler alone. What it cannot do (functions and classes that no container can import) goes
through cloudpickle, loaded when first needed. A program started as `python hello.py` is `__main__` here and `hello` in its
containers: functions and classes of it travel under that name, both ways.
"""

from __future__ import annotations

import io
import sys
from _pickle import Pickler as _CPickler
from _pickle import loads as _c_loads

from ingle.exceptions import ExecutionError, InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 5
_FunctionType = type(lambda: None)

#: Under which name containers import what is `__main__` here; None: they cannot.
_main_name: str | None = None


def name_main(name: str) -> None:
    """Says under which name containers import this program's `__main__`."""
    global _main_name
    _main_name = name
    main = sys.modules.get("__main__")
    if main is not None:
        sys.modules.setdefault(name, main)


class _NeedsCloudpickle(Exception):
    pass


class _Sink:
    """Collects what a pickler writes; large byte strings arrive as they are, uncopied."""

    __slots__ = ("chunks", "write")

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.write = self.chunks.append


class _Pickler(_CPickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (_FunctionType, type)):
            return _by_name(value)
        return NotImplemented


def _by_name(value: Any) -> Any:
    """How a function or class is said by its name."""
    module, qualname = value.__module__, value.__qualname__
    if "<locals>" in qualname or "<lambda>" in qualname:
        raise _NeedsCloudpickle
    if module != "__main__":
        return NotImplemented
    if _main_name is None or _find(sys.modules.get("__main__"), qualname) is not value:
        raise _NeedsCloudpickle
    return import_name, (_main_name, qualname)


def import_name(module: str, qualname: str) -> Any:
    """What has that name in that module; also how classes of the program say their name in a pickle."""
    __import__(module)
    return _find(sys.modules[module], qualname)


def _find(value: Any, qualname: str) -> Any:
    for part in qualname.split("."):
        value = getattr(value, part, None)
    return value


def dumps(value: Any) -> tuple[list[bytes], int]:
    """The pickled value as pieces (large byte strings of the value are pieces of their own, not copied) and their
    total length.

    Raises:
        InvalidError: it cannot be pickled.
    """
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is None or not cloudpickle._PICKLE_BY_VALUE_MODULES:
        sink = _Sink()
        try:
            _Pickler(sink, PROTOCOL).dump(value)
            return _sized(sink.chunks)
        except InvalidError:
            raise
        except Exception:
            pass  # cloudpickle can do more, and if not says why
    return dumps_anything(value)


def dumps_anything(value: Any) -> tuple[list[bytes], int]:
    """The same by cloudpickle.

    Raises:
        InvalidError: it cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        _cloud_pickler()(buffer, PROTOCOL).dump(value)
    except InvalidError:
        raise
    except Exception as error:
        raise InvalidError(f"cannot be sent to a container: {type(error).__name__}: {error}") from error
    return [buffer.getvalue()], buffer.tell()


def dumps_definition(raw: Any, by_value: bool) -> tuple[list[bytes], int]:
    """A function itself. `by_value`: and whatever else of its module it uses.

    Raises:
        InvalidError: it cannot be pickled.
    """
    import cloudpickle

    global _main_name
    module = sys.modules.get(raw.__module__)
    by_value = by_value and module is not None and raw.__module__ not in cloudpickle.list_registry_pickle_by_value()
    main, registered = _main_name, by_value and module is not None and raw.__module__ != "__main__"
    try:
        if registered:
            cloudpickle.register_pickle_by_value(module)
        elif by_value:
            _main_name = None
        return dumps_anything(raw)
    finally:
        _main_name = main
        if registered:
            cloudpickle.unregister_pickle_by_value(module)


def loads(data: Any) -> Any:
    """The value that was pickled.

    Raises:
        ExecutionError: it cannot be built here.
    """
    try:
        return _c_loads(data)
    except Exception as error:
        raise ExecutionError(
            f"the result arrived, but cannot be unpickled here: {type(error).__name__}: {error}"
        ) from error


_cloud_class: Any = None


def _cloud_pickler() -> Any:
    global _cloud_class
    if _cloud_class is None:
        import cloudpickle

        class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
            def reducer_override(self, value: Any) -> Any:
                if isinstance(value, (_FunctionType, type)) and _main_name is not None:
                    try:
                        known = _by_name(value)
                    except _NeedsCloudpickle:
                        known = NotImplemented
                    if known is not NotImplemented:
                        return known
                return super().reducer_override(value)

        _cloud_class = CloudPickler
    return _cloud_class


def _sized(chunks: list[Any]) -> tuple[list[bytes], int]:
    # A bytearray could change before it is sent.
    pieces = [chunk if type(chunk) is bytes else bytes(chunk) for chunk in chunks]
    return pieces, sum(map(len, pieces))
