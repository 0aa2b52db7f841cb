"""Messages to frames and back.

A frame is a little-endian u32 with the length of the header, the header, then raw payload bytes. The header is JSON:
`["TypeName", {fields}]`. Payloads of several inputs stand one after another; `sizes` in the message says where each ends.
msgspec does the work where it is installed; the standard library does the same, slower, where it is not (in containers).
"""

import json
import struct
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

try:
    import msgspec
except ImportError:  # in a container
    msgspec = None  # type: ignore[assignment]

_LENGTH = struct.Struct("<I")
HEADER_BYTES_MAX = 16 << 20
#: One WebSocket message; a batch stays far below.
FRAME_BYTES_MAX = 64 << 20


class FrameError(ValueError):
    """The frame is malformed, too long or of an unknown type; the message says which."""


def split(payload: memoryview | bytes, sizes: list[int]) -> list[bytes]:
    """The payload cut into pieces of the given sizes, in bytes.

    Raises:
        FrameError: the sizes do not add up to the payload.
    """
    pieces, at = [], 0
    for size in sizes:
        if size < 0:
            raise FrameError("a size is negative")
        pieces.append(bytes(payload[at : at + size]))
        at += size
    if at != len(payload):
        raise FrameError(f"sizes add up to {at} bytes, the payload has {len(payload)}")
    return pieces


class Codec:
    """Encodes and decodes the messages of one wire, given as a list of frozen dataclasses."""

    def __init__(self, *types: type):
        self._types = {t.__name__: t for t in types}
        self._decoders = {name: _decoder(t) for name, t in self._types.items()}

    def encode(self, message: Any, payload: bytes | memoryview | list = b"") -> bytes:
        """One frame. A list of payloads is joined."""
        name = type(message).__name__
        if msgspec is not None:
            header = _encode_fast((name, message))
        else:
            header = json.dumps([name, _plain(message)], separators=(",", ":")).encode()
        if isinstance(payload, list):
            return b"".join([_LENGTH.pack(len(header)), header, *payload])
        return b"".join((_LENGTH.pack(len(header)), header, payload))

    def decode(self, frame: bytes | bytearray | memoryview) -> tuple[Any, memoryview]:
        """The message and its payload (a view into the frame).

        Raises:
            FrameError: it is malformed, or no message of this wire.
        """
        view = memoryview(frame)
        if len(view) < 4:
            raise FrameError("the frame is shorter than its length field")
        (length,) = _LENGTH.unpack_from(view)
        if length > HEADER_BYTES_MAX or 4 + length > len(view):
            raise FrameError(f"the frame says its header has {length} bytes; it has {len(view) - 4} in all")
        header = view[4 : 4 + length]
        try:
            name, body = _open_header(header)
            decode = self._decoders.get(name)
        except Exception as error:
            raise FrameError(f"the header cannot be read: {error}") from None
        if decode is None:
            raise FrameError(f"unknown message {str(name)[:60]!r}")
        try:
            return decode(body), view[4 + length :]
        except Exception as error:
            raise FrameError(f"{name}: {error}") from None


if msgspec is not None:
    _encode_fast = msgspec.json.Encoder().encode
    _open_header = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode

    def _decoder(t: type):
        return msgspec.json.Decoder(t).decode

else:

    def _open_header(header):
        name, body = json.loads(bytes(header))
        return name, body

    def _decoder(t: type):
        # Type hints are resolved at the first message, as `typing` is slow to start.
        known: list = []

        def decode(body):
            if not known:
                known.append(get_type_hints(t))
            return _build(t, body, known[0])

        return decode


def dump(value: Any) -> bytes:
    """A dataclass, or a list or dict of some, as JSON: for HTTP bodies."""
    if msgspec is not None:
        return _encode_fast(value)
    return json.dumps(_plain(value), separators=(",", ":")).encode()


def load(t: type, body: bytes) -> Any:
    """A dataclass of that type from JSON.

    Raises:
        FrameError: it is malformed, or not of that type.
    """
    try:
        if msgspec is not None:
            return msgspec.json.decode(body, type=t)
        return _build(t, json.loads(body), get_type_hints(t))
    except Exception as error:
        raise FrameError(f"{t.__name__}: {error}") from None


def _plain(value):
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _build(t: type, body: Any, hints: dict[str, Any]):
    if not isinstance(body, dict):
        raise ValueError("expected an object")
    given = {}
    for f in fields(t):
        if f.name in body:
            given[f.name] = _check(hints[f.name], body[f.name], f.name)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"`{f.name}` is missing")
    return t(**given)


def _check(hint, value, name):
    """The value as the hint wants it, or a ValueError. The hints of messages are few: scalars, lists, dicts, unions, dataclasses."""
    if hint is Any:
        return value
    if is_dataclass(hint):
        return _build(hint, value, get_type_hints(hint))
    origin, args = get_origin(hint), get_args(hint)
    if origin is list:
        if isinstance(value, list):
            return [_check(args[0], v, name) for v in value] if args[0] not in (int, str) else value
    elif origin is dict:
        if isinstance(value, dict):
            return {k: _check(args[1], v, name) for k, v in value.items()}
    elif origin is Union or type(hint).__name__ == "UnionType":
        for option in args:
            try:
                return _check(option, value, name)
            except ValueError:
                continue
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif hint is type(None):
        if value is None:
            return None
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ValueError(f"`{name}` is not a {getattr(hint, '__name__', hint)}")
