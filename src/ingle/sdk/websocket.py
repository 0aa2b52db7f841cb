"""The client side of a WebSocket (RFC 6455), blocking: one thread reads, any thread sends.

No asyncio: a caller's thread writes to the socket itself, which saves two thread switches a call.
"""

from __future__ import annotations

import _thread
import binascii
import os
import struct

from ingle.sdk.dial import Address, connect, send_parts
from ingle.sdk.http import UNREADY, BrokenAnswer, read_head, refusal
from ingle.wire.codec import FRAME_BYTES_MAX, FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingle.sdk.config import Config

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: Larger messages go out with a mask of zeros, which leaves them as they are: masking protects old HTTP proxies from
#: scripts in browsers, and would cost 3 ms a MiB.
MASKED_BYTES_MAX = 16 << 10
_BUFFER_BYTES = 256 << 10
CLOSE_S_MAX = 1.0
_SHUT_RDWR = 2


class WebSocket:
    """A connected WebSocket.

    Raises (when made):
        OSError: nobody answers, or what answers is no WebSocket.
        AuthError, VersionError, ingle.Error: the server refuses.
    """

    def __init__(self, config: Config, path: str):
        address = Address(config.url)
        self._sock = connect(address)
        try:
            self._buffer = bytearray(_BUFFER_BYTES)
            self._view = memoryview(self._buffer)
            self._start = self._end = 0
            self._shake_hands(config, address, path)
        except BaseException:
            self._sock.close()
            raise
        self._sock.settimeout(None)
        self._lock = _thread.allocate_lock()
        self._pongs: list[bytes] = []

    def _shake_hands(self, config: Config, address: Address, path: str) -> None:
        key = binascii.b2a_base64(os.urandom(16), newline=False)
        head = (
            f"GET {address.path}{path} HTTP/1.1\r\nHost: {address}\r\n{config.headers()}"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\n\r\n"
        )
        self._sock.sendall(head.encode())
        early = bytearray()
        status, fields = read_head(self._sock, early)
        if status != 101:
            length = fields.get("content-length", "0")
            body = early
            chunk = bytearray(4096)
            while length.isdigit() and len(body) < min(int(length), 1 << 20):
                count = self._sock.recv_into(chunk)
                if not count:
                    break
                body += chunk[:count]
            if status < 400 or status in UNREADY:
                raise BrokenAnswer(f"the server answered the request for a WebSocket with status {status}")
            raise refusal(config, status, body)
        from hashlib import sha1

        accept = binascii.b2a_base64(sha1(key + _GUID).digest(), newline=False).decode()
        if fields.get("sec-websocket-accept") != accept:
            raise BrokenAnswer("the answer is not that of a WebSocket server: is the server URL right?")
        self._end = len(early)
        self._buffer[: self._end] = early

    # ---- sending

    def send(self, parts: list[Any]) -> None:
        """Sends one binary message, the parts one after another. Any thread; blocks while the peer does not read.

        Raises:
            OSError: the connection is lost.
        """
        frame = _frame(_BINARY, parts)
        with self._lock:
            send_parts(self._sock, frame)
        if self._pongs:
            self._send_pongs()

    def send_many(self, messages: list[list[Any]]) -> None:
        """Several messages in one go."""
        frames = [part for parts in messages for part in _frame(_BINARY, parts)]
        with self._lock:
            send_parts(self._sock, frames)

    def send_text(self, text: str) -> None:
        """A text message (the size of a terminal, beside the bytes for a program in a container)."""
        with self._lock:
            send_parts(self._sock, _frame(_TEXT, [text.encode()]))

    def _send_pongs(self) -> None:
        # The reading thread must never wait for a sender: then nobody would read. Whoever holds the lock sends later.
        while self._pongs and self._lock.acquire(False):
            try:
                send_parts(self._sock, _frame(_PONG, [self._pongs.pop()]))
            except IndexError:
                pass
            finally:
                self._lock.release()

    # ---- receiving (one thread)

    def recv(self) -> bytes | bytearray:
        """The next binary message.

        Raises:
            FrameError: what arrives is malformed or too long.
            OSError: the connection is lost or closed.
        """
        pieces: list[Any] = []
        size = 0
        while True:
            final, code, length = self._head()
            if code >= 0x8:
                self._control(code, final, length)
                continue
            if (code == _CONTINUATION) != bool(pieces):
                raise FrameError("the server sent pieces of messages in the wrong order")
            if code == _TEXT or code > _BINARY:
                raise FrameError(f"the server sent a WebSocket message of type {code}; only binary ones are expected")
            size += length
            if size > FRAME_BYTES_MAX:
                raise FrameError(f"the server sent a message of more than {FRAME_BYTES_MAX} bytes")
            data = self._take(length)
            if final and not pieces:
                return data
            pieces.append(data)
            if final:
                return b"".join(pieces)

    def _head(self) -> tuple[bool, int, int]:
        buffer = self._buffer
        if self._end - self._start < 2:
            self._fill(2)
        at = self._start
        first, second = buffer[at], buffer[at + 1]
        if first & 0x70:
            raise FrameError("the server used a WebSocket extension that was not agreed on")
        if second & 0x80:
            raise FrameError("the server sent a masked frame")
        length = second
        if length < 126:
            self._start += 2
        elif length == 126:
            self._fill(4)
            (length,) = struct.unpack_from(">H", buffer, self._start + 2)
            self._start += 4
        else:
            self._fill(10)
            (length,) = struct.unpack_from(">Q", buffer, self._start + 2)
            self._start += 10
        return bool(first & 0x80), first & 0x0F, length

    def _control(self, code: int, final: bool, length: int) -> None:
        if not final or length > 125:
            raise FrameError("the server sent a malformed control frame")
        data = self._take(length)
        if code == _PING:
            self._pongs.append(bytes(data))
            del self._pongs[:-4]  # only the last one matters
            self._send_pongs()
        elif code == _CLOSE:
            reason = bytes(data[2:]).decode("utf-8", "replace")
            raise ConnectionResetError(f"the server closed the connection{': ' + reason if reason else ''}")
        elif code != _PONG:
            raise FrameError(f"the server sent a WebSocket frame of unknown type {code}")

    def _fill(self, count: int) -> None:
        """At least so many bytes are in the buffer after this."""
        while self._end - self._start < count:
            if self._start == self._end:
                self._start = self._end = 0
            elif self._start + count > _BUFFER_BYTES:
                left = self._end - self._start
                self._buffer[:left] = self._buffer[self._start : self._end]
                self._start, self._end = 0, left
            got = self._sock.recv_into(self._view[self._end :])
            if not got:
                raise ConnectionResetError("the server closed the connection")
            self._end += got

    def _take(self, length: int) -> bytes | bytearray:
        if length <= _BUFFER_BYTES:
            self._fill(length)
            data = bytes(self._view[self._start : self._start + length])
            self._start += length
            return data
        whole = bytearray(length)
        have = self._end - self._start
        whole[:have] = self._buffer[self._start : self._end]
        self._start = self._end = 0
        view = memoryview(whole)
        while have < length:
            got = self._sock.recv_into(view[have:])
            if not got:
                raise ConnectionResetError("the server closed the connection in the middle of a message")
            have += got
        return whole

    # ---- the end

    def close(self) -> None:
        """Says goodbye and closes; the reading thread wakes with an OSError. Safe to call twice."""
        try:
            self._sock.settimeout(CLOSE_S_MAX)
            if self._lock.acquire(timeout=CLOSE_S_MAX):
                try:
                    send_parts(self._sock, _frame(_CLOSE, [struct.pack(">H", 1000)]))
                finally:
                    self._lock.release()
        except OSError:
            pass
        self.abort()

    def abort(self) -> None:
        """Closes without a word."""
        try:
            self._sock.shutdown(_SHUT_RDWR)  # close() alone does not wake a thread in recv
        except OSError:
            pass

    def forget(self) -> None:
        """Closes this process's descriptor only: after a fork the connection belongs to the parent."""
        self._sock.close()


def _frame(code: int, parts: list[Any]) -> list[Any]:
    length = sum(map(len, parts))
    if length < 126:
        head = struct.pack(">BB", 0x80 | code, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", 0x80 | code, 0x80 | 126, length)
    else:
        head = struct.pack(">BBQ", 0x80 | code, 0x80 | 127, length)
    if length > MASKED_BYTES_MAX:
        return [head + b"\0\0\0\0", *parts]
    mask = os.urandom(4)
    plain = int.from_bytes(b"".join(parts), "little")
    cover = int.from_bytes((mask * (length // 4 + 1))[:length], "little")
    return [head + mask + (plain ^ cover).to_bytes(length, "little")]
