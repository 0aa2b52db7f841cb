"""Messages of the runner wire."""

import pytest

from ingle.model import call
from ingle.runner import wire


@pytest.mark.parametrize("parts", [[], [b""], [b"a", b"", b"\x00" * 70_000], [b"x"] * 300])
def test_a_message_comes_back(parts):
    assert wire.unpack(wire.pack(*parts)) == parts


@pytest.mark.parametrize(
    "message", [b"", b"\x01", b"\x02\x00\x01\x00\x00\x00", wire.pack(b"a")[:-1], wire.pack(b"a") + b"b"]
)
def test_what_is_no_message_is_refused(message):
    with pytest.raises(wire.WireError):
        wire.unpack(message)


def test_the_length_of_a_message_is_known_from_its_beginning():
    message = wire.pack(b"abc", b"", b"de")
    assert wire.message_length(message) == wire.message_length(message + b"more") == len(message)
    assert [wire.message_length(message[:count]) for count in (0, 1, 2, 13)] == [None] * 4
    assert wire.message_length(message[:14]) == len(message)


def test_an_input_is_split_without_copying_its_payload():
    packet = memoryview(bytearray(wire.pack(wire.INPUT, b"fc-1:0", b"data", b"file")))
    name, payload, file = wire.split_input(packet)
    assert (name, bytes(payload), file) == (b"fc-1:0", b"data", b"file")
    packet[packet.obj.index(b"data")] = ord("D")
    assert bytes(payload) == b"Data"


@pytest.mark.parametrize(
    "message",
    [wire.pack(wire.INPUT, b"a", b"b"), wire.pack(b"other", b"a", b"b", b"c"), wire.pack(wire.INPUT, b"", b"", b"")[:9],
     wire.pack(wire.INPUT, b"a", b"b", b"c") + b"x"],
)  # fmt: skip
def test_another_message_is_no_input(message):
    with pytest.raises(wire.WireError):
        wire.split_input(memoryview(message))


def test_pairs_come_back():
    pairs = {b"a": b"1", b"b": b""}
    assert wire.unpack_pairs(wire.pack_pairs(pairs)) == pairs
    with pytest.raises(wire.WireError):
        wire.unpack_pairs([b"alone"])


def test_a_raised_exception_comes_back():
    frames = [("/root/a.py", 3, "f", "raise X"), ("b.py", 0, "<module>", "")]
    packed = wire.pack_raised(b"pickle", "a.X", "text \udcff", "formatted", frames)
    assert wire.unpack_raised(packed) == (b"pickle", "a.X", "text \\udcff", "formatted", frames)
    with pytest.raises(wire.WireError):
        wire.unpack_raised(wire.pack(b"too", b"few"))


def test_the_bounds_agree_with_the_model():
    assert wire.YIELDS_AHEAD_MAX == call.YIELDS_AHEAD_MAX
    assert wire.INLINE_BYTES_MAX < wire.MESSAGE_BYTES_MAX <= call.INLINE_BYTES_MAX
