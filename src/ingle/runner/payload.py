"""Arguments and results as bytes: inline when they are small, files in the io directory when they are not."""

import sys

from ingle.runner import context, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if "functools" in sys.modules:
    import _pickle
else:
    # The C module wants `functools` for nothing but `partial`, and that import alone costs 2 ms of a cold start.
    import _functools  # type: ignore[import-not-found]

    class _Functools:
        partial = _functools.partial

    sys.modules["functools"] = _Functools  # type: ignore[assignment]
    try:
        import _pickle
    finally:
        del sys.modules["functools"]

loads = _pickle.loads
PROTOCOL = 5  # of Python 3.8: every client and container reads it
_READ_AHEAD_BYTES = 1 << 20
#: A container of more parts is not looked through to guess its size.
_LOOK_AT_MAX = 16

_files_written = 0


def load(payload: memoryview, file: bytes) -> "Any":
    """The value in a payload. Raises whatever unpickling raises."""
    if not file:
        return loads(payload)
    # The unpickler reads large parts straight into their place: no copy of the whole in between.
    with open(f"{context.io_dir}/in/{file.decode()}", "rb", _READ_AHEAD_BYTES) as source:
        return _pickle.Unpickler(source).load()


def dump(value: object) -> tuple[bytes, bytes]:
    """Payload and file of a value. Raises whatever pickling it raises, or OSError."""
    if _is_large(value):
        return b"", _to_file(value)
    try:
        data = _pickle.dumps(value, PROTOCOL)
    except Exception:
        data = dump_by_value(value)
    return store(data)


def dump_by_value(value: object) -> bytes:
    """For what plain pickle cannot do: lambdas, and all that was defined where no import finds it."""
    import cloudpickle

    data: bytes = cloudpickle.dumps(value, PROTOCOL)
    return data


def store(data: bytes) -> tuple[bytes, bytes]:
    """Payload and file for bytes that are ready."""
    if len(data) <= wire.INLINE_BYTES_MAX:
        return data, b""
    path, name = _new_file()
    with _Removing(path), open(path, "xb") as target:
        target.write(data)
    return b"", name


def _to_file(value: object) -> bytes:
    path, name = _new_file()
    with _Removing(path), open(path, "xb") as target:
        try:
            _pickle.Pickler(target, PROTOCOL).dump(value)
        except OSError:
            raise
        except Exception:
            import cloudpickle

            target.seek(0)
            target.truncate()
            cloudpickle.Pickler(target, PROTOCOL).dump(value)
    return name


def _new_file() -> tuple[str, bytes]:
    global _files_written
    _files_written += 1
    name = f"{wire.RUNNER_FILE}{_files_written}"
    return f"{context.io_dir}/out/{name}", name.encode()


class _Removing:
    """No half-written file is left behind."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None:
            import os

            try:
                os.unlink(self._path)
            except OSError:
                pass


def _is_large(value: object, depth: int = 2) -> bool:
    """Will its pickle surely be larger than what goes inline? A guess from outside, and cheap: if it says no wrongly,
    a large result is copied once more."""
    kind = type(value)
    if kind in _SIZED:
        return len(value) > wire.INLINE_BYTES_MAX  # type: ignore[arg-type]
    if kind in _SCALARS:
        return False
    if kind is tuple or kind is list or kind is dict:
        if not depth or len(value) > _LOOK_AT_MAX:  # type: ignore[arg-type]
            return False
        parts = value.values() if kind is dict else value  # type: ignore[attr-defined]
        return any(_is_large(part, depth - 1) for part in parts)  # type: ignore[union-attr]
    if not hasattr(kind, "nbytes"):  # numpy's arrays and their like have it
        return False
    try:
        return value.nbytes > wire.INLINE_BYTES_MAX  # type: ignore[attr-defined, no-any-return]
    except Exception:
        return False


_SIZED = frozenset((bytes, bytearray, str))
_SCALARS = frozenset((int, float, bool, type(None)))
