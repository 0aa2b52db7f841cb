"""The way out of a container: the runner's socket, with frames of the api wire behind a u32 length."""

from __future__ import annotations

import _socket
import _thread
import os
import struct
import sys

from ingle.runner import context, wire
from ingle.sdk.dial import send_parts
from ingle.wire.codec import FRAME_BYTES_MAX, FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LENGTH = struct.Struct("<I")
_BUFFER_BYTES = 64 << 10


class Stream:
    """A connection of this process to its node; the same methods as a `WebSocket`.

    Raises (when made):
        OSError: the node is not there.
    """

    def __init__(self) -> None:
        self._sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._sock.connect(os.path.join(context.io_dir, wire.SOCKET_NAME))
            minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
            self._sock.sendall(wire.pack(wire.HELLO, b"client", str(os.getpid()).encode(), minor.encode()))
        except BaseException:
            self._sock.close()
            raise
        self._lock = _thread.allocate_lock()
        self._chunk = bytearray(_BUFFER_BYTES)
        self._pending = bytearray()

    def send(self, parts: list[Any]) -> None:
        """Sends one frame. Any thread; blocks while the node does not read.

        Raises:
            OSError: the connection is lost.
        """
        self.send_many([parts])

    def send_many(self, messages: list[list[Any]]) -> None:
        """Several frames in one go."""
        flat = []
        for parts in messages:
            flat.append(_LENGTH.pack(sum(map(len, parts))))
            flat += parts
        if sum(map(len, flat)) < _BUFFER_BYTES:
            flat = [b"".join(flat)]
        with self._lock:
            send_parts(self._sock, flat)

    def recv(self) -> bytes | bytearray:
        """The next frame.

        Raises:
            FrameError: it is too long.
            OSError: the connection is lost or closed.
        """
        pending = self._pending
        while len(pending) < 4:
            self._more()
        (length,) = _LENGTH.unpack_from(pending)
        if length > FRAME_BYTES_MAX:
            raise FrameError(f"the node sent a frame of {length} bytes; at most {FRAME_BYTES_MAX} are possible")
        while len(pending) < 4 + length:
            self._more()
        frame = bytes(memoryview(pending)[4 : 4 + length])
        del pending[: 4 + length]
        return frame

    def _more(self) -> None:
        got = self._sock.recv_into(self._chunk)
        if not got:
            raise ConnectionResetError("the node closed the connection")
        self._pending += memoryview(self._chunk)[:got]

    def close(self) -> None:
        """Safe to call twice; the reading thread wakes with an OSError."""
        self.abort()

    def abort(self) -> None:
        try:
            self._sock.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass

    def forget(self) -> None:
        """Closes this process's descriptor only: after a fork the connection belongs to the parent."""
        self._sock.close()
