"""The runner wire: runner (inside a container) to node, over unix sockets.

A message is a list of byte strings: u16 count, u32 length of each, then the strings (all little-endian). No JSON: its
import alone costs 5 ms of a cold start, and a list of strings needs no parser, so a hostile container has none to
attack. The first string names the message; the tables below say what follows. Numbers are decimal digits.

How a runner begins: it connects to the stream socket `node.sock` in IO_DIR, sends HELLO as runner, and waits; a spare
waits long. The node answers with SETUP and two descriptors (SCM_RIGHTS, with the first byte of SETUP), both
SOCK_SEQPACKET, one message a packet. The runner then closes `node.sock`. The two, in this order:

* inbox: INPUT messages, node to runner. The node keeps a duplicate of the runner's end, so that it can take back what
  the runner has not yet read: the kernel hands each packet to exactly one of them.
* control: everything else, both ways. Its end of file means that the node is gone: the runner exits.

The runner answers READY or START_FAILED (and exits) on control, then one OUTPUTS per input, as soon as it has ended.

Cancelling: the node sends CANCEL on control, then the signal CANCEL_SIGNAL to the runner; its handler reads control. (Where
the kernel can, the runner has that signal raised by the socket itself, F_SETSIG; the node's own is then merely a second
one.) A CANCEL for an input that has ended is dropped; one for an input that waits in the inbox makes it fail as it begins.

A client inside the container (user code calling other functions, from any process) connects to `node.sock` as well and
sends HELLO as client; from then on both sides exchange u32 length + frame of the api wire.

Bulk: a part above INLINE_BYTES_MAX is replaced by a file, named by the part that follows the empty one: the node puts
files into IO_DIR/in (read-only inside), the runner into IO_DIR/out (its names begin with RUNNER_FILE); the reader
removes them when it can. A file is complete before its name is said. START_FAILED never needs one: its texts are cut.

Logs: stdout and stderr are pipes. Before the first bytes of another input the runner writes MARK + input id + MARK_END to
that pipe. A mark may stand in the middle of a line (after output without a newline); what follows it belongs to that input.
Bytes before the first mark belong to no input. Output is flushed before OUTPUTS is sent.
"""

import _struct as struct

IO_DIR = "/run/ingle"
SOCKET_NAME = "node.sock"
INLINE_BYTES_MAX = 96 << 10
MESSAGE_BYTES_MAX = 160 << 10
#: A real-time signal, as user code seldom wants those.
CANCEL_SIGNAL = 41
#: Generator items that may be sent before the first CREDIT, and beyond those that the last one counted.
YIELDS_AHEAD_MAX = 64
RUNNER_FILE = "runner-"
MARK = b"\x1eingle "
MARK_END = b"\x1f\n"

# Both ways, on node.sock.
HELLO = b"hello"  # role (b"runner" or b"client"), pid as the runner sees it, Python minor version
# Node to runner.
SETUP = b"setup"  # pairs: see SETUP_KEYS
INPUT = b"input"  # input id, payload, file (b"" or its name; then the payload is empty)
CANCEL = b"cancel"  # input id, reason (b"cancelled" or b"timeout")
CREDIT = b"credit"  # input id, items taken in all (said twice: the highest counts)
# Runner to node.
READY = b"ready"  # pairs of phase name and milliseconds (with decimals: "1.250")
START_FAILED = b"start_failed"  # payload as packed by `pack_raised`
OUTPUTS = (
    b"outputs"  # of each input: input id, outcome (model.call RETURNED or RAISED), run in microseconds, payload, file
)
YIELDED = b"yielded"  # input id, index of the first (from 0), then of each item: pickled payload, file

#: container, app, app_name, function, function_name, module, qualname, definition (file in IO_DIR/in, or empty), generator ("1" or
#: empty), single_use, env (a message of pairs), functions (a message of pairs: name, id)
SETUP_KEYS = (
    b"container", b"app", b"app_name", b"function", b"function_name", b"module", b"qualname", b"definition", b"generator",
    b"single_use", b"env", b"functions",
)  # fmt: skip


_StructError: type[Exception] = struct.error  # type: ignore[attr-defined]


class WireError(ValueError):
    """The bytes are no message."""


def _head(count: int) -> struct.Struct:
    head = _HEADS.get(count)
    if head is None:
        head = struct.Struct(f"<H{count}I")
        if count < _HEADS_MAX:
            _HEADS[count] = head
    return head


_HEADS_MAX = 64
_HEADS: dict[int, struct.Struct] = {}


def pack(*parts: bytes) -> bytes:
    """One message."""
    return _head(len(parts)).pack(len(parts), *map(len, parts)) + b"".join(parts)


def unpack(message: bytes) -> list[bytes]:
    """The parts of a message.

    Raises:
        WireError: lengths and bytes disagree.
    """
    try:
        (count,) = struct.unpack_from("<H", message)
        _, *lengths = _head(count).unpack_from(message)
    except _StructError:
        raise WireError("the message is cut off") from None
    at = 2 + 4 * count
    if at + sum(lengths) != len(message):
        raise WireError(f"lengths add up to {at + sum(lengths)} bytes, the message has {len(message)}")
    parts = []
    for length in lengths:
        parts.append(message[at : at + length])
        at += length
    return parts


def message_length(beginning: bytes) -> int | None:
    """How long the message is that begins like this, on a stream; None: too little of it is there to say."""
    if len(beginning) < 2:
        return None
    (count,) = struct.unpack_from("<H", beginning)
    if len(beginning) < 2 + 4 * count:
        return None
    _, *lengths = _head(count).unpack_from(beginning)
    return 2 + 4 * count + sum(lengths)


def split_input(packet: memoryview) -> tuple[bytes, memoryview, bytes]:
    """Input id, payload (not copied) and file of an INPUT message.

    Raises:
        WireError: it is another message.
    """
    try:
        count, kind, name, payload, file = _INPUT_HEAD.unpack_from(packet)
    except _StructError:
        raise WireError("the message is cut off") from None
    at = _INPUT_HEAD.size + kind
    if count != 4 or at + name + payload + file != len(packet) or packet[_INPUT_HEAD.size : at] != INPUT:
        raise WireError("this is no input")
    end = at + name + payload
    return bytes(packet[at : at + name]), packet[at + name : end], bytes(packet[end:])


_INPUT_HEAD = struct.Struct("<H4I")


def pack_pairs(pairs: dict[bytes, bytes]) -> list[bytes]:
    """A dictionary as parts: key, value, key, value …"""
    return [part for pair in pairs.items() for part in pair]


def unpack_pairs(parts: list[bytes]) -> dict[bytes, bytes]:
    if len(parts) % 2:
        raise WireError("a key has no value")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def pack_raised(
    pickled: bytes, type_name: str, message: str, formatted: str, frames: list[tuple[str, int, str, str]]
) -> bytes:
    """A raised exception as payload: its pickle (empty if it cannot be pickled), its type's full name, its text, the
    formatted remote traceback, and per frame: file, line number, function, source line."""
    parts = [pickled, type_name.encode(), _encode(message), _encode(formatted)]
    for file, line, function, text in frames:
        parts += [_encode(file), str(line).encode(), _encode(function), _encode(text)]
    return pack(*parts)


def unpack_raised(payload: bytes) -> tuple[bytes, str, str, str, list[tuple[str, int, str, str]]]:
    """What `pack_raised` was given.

    Raises:
        WireError: it is no such payload.
    """
    parts = unpack(payload)
    if len(parts) < 4 or len(parts) % 4:
        raise WireError("no exception in this payload")
    pickled, *rest = parts
    texts = [part.decode("utf-8", "replace") for part in rest]
    flat = texts[3:]
    frames = []
    for i in range(0, len(flat), 4):
        file, line, function, text = flat[i : i + 4]
        frames.append((file, int(line) if line.isdigit() else 0, function, text))
    return pickled, texts[0], texts[1], texts[2], frames


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
