"""One WebSocket as a link: whole frames out at once, frames in one by one.

Frames are written straight to the transport: aiohttp's own writer is a coroutine per frame, and what is sent here is sent from the middle of
a batch that may not wait.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from ingle.server.tasks import Tasks
from ingle.wire.codec import FRAME_BYTES_MAX, FrameError

#: From the connection to its first frame.
HELLO_S_MAX = 10.0
#: For the peer to agree to a close.
CLOSE_S_MAX = 2.0
#: A peer that has not read so much is cut off.
BACKLOG_BYTES_MAX = 2 << 30
REASON_BYTES_MAX = 120
#: A peer whose machine or cable is gone is noticed after half a minute; the kernel asks, so a busy or stopped program is not.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000))

_BINARY = 0x82
_SHORT = struct.Struct("!BB").pack
_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack


class WebSocketLink:
    def __init__(self, request: web.Request, tasks: Tasks):
        self._request = request
        self._tasks = tasks
        self._socket = web.WebSocketResponse(
            timeout=CLOSE_S_MAX, compress=False, max_msg_size=FRAME_BYTES_MAX + (1 << 20), autoping=True
        )
        self._transport: asyncio.Transport | None = None

    async def open(self) -> web.WebSocketResponse:
        await self._socket.prepare(self._request)
        self._transport = self._request.transport  # type: ignore[assignment]
        if self._transport is not None:
            _keep_alive(self._transport.get_extra_info("socket"))
        return self._socket

    def send(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._socket.closed:
            return
        size = len(frame)
        if size < 126:
            transport.write(_SHORT(_BINARY, size) + frame)
        elif size < 1 << 16:
            transport.write(_MEDIUM(_BINARY, 126, size) + frame)
        else:
            transport.write(_LONG(_BINARY, 127, size))
            transport.write(frame)
            if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
                transport.abort()

    def backlog(self) -> int:
        transport = self._transport
        return transport.get_write_buffer_size() if transport is not None and not transport.is_closing() else 0

    def connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self, reason: str) -> None:
        self._tasks.start(self.closed(reason))

    async def closed(self, reason: str, code: int = 1008) -> None:
        said = reason.encode()[:REASON_BYTES_MAX].decode("utf-8", "ignore").encode()
        await self._socket.close(code=code, message=said)
        if self._transport is not None:
            self._transport.abort()

    async def first(self) -> bytes:
        """The first frame.

        Raises:
            FrameError: it is not binary, or does not come in time.
        """
        try:
            message = await self._socket.receive(timeout=HELLO_S_MAX)
        except asyncio.TimeoutError:
            raise FrameError(f"no first message within {HELLO_S_MAX:.0f} s") from None
        if message.type is not WSMsgType.BINARY:
            raise FrameError("the first message has to be a binary frame")
        return message.data

    async def frames(self) -> AsyncIterator[bytes]:
        """Frames until the peer leaves.

        Raises:
            FrameError: one is not binary.
        """
        receive = self._socket.receive
        while True:
            message = await receive()
            if message.type is WSMsgType.BINARY:
                yield message.data
            elif message.type is WSMsgType.TEXT:
                raise FrameError("frames are binary")
            elif message.type is WSMsgType.ERROR:
                raise FrameError(f"the connection broke: {message.data}")
            else:
                return


def _keep_alive(connection: socket.socket | None) -> None:
    if connection is None or connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
