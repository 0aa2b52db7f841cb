"""The node's connection to the server: dials for ever, says frames, hands over what arrives."""

import asyncio
import logging
import random
from collections.abc import Callable

import picows

from ingle.wire.codec import FRAME_BYTES_MAX
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION

logger = logging.getLogger(__name__)

PING_S = 5.0
HANDSHAKE_S = 10.0
#: Between two lines about the same trouble.
COMPLAIN_S = 30.0


class Link:
    """`on_frame(bytes)`, `on_connected()`, `on_lost()`, `on_writable(bool)` are called in the loop's thread.

    Frames go out in the order in which they are said; `say` while not connected drops the frame and answers False
    (whoever must not lose it keeps it and says it again).
    """

    def __init__(
        self, url: str, token: str, *, first_s: float, max_s: float,
        on_connected: Callable[[], None], on_frame: Callable[[bytes], None],
        on_lost: Callable[[], None], on_writable: Callable[[bool], None],
    ):  # fmt: skip
        self._url = url.replace("http", "ws", 1).rstrip("/") + "/v1/node"
        self._headers = {"Authorization": f"Bearer {token}", VERSION_HEADER: str(WIRE_VERSION)}
        self._first_s, self._max_s = first_s, max_s
        self.on_connected, self.on_frame, self.on_lost, self.on_writable = on_connected, on_frame, on_lost, on_writable
        self._transport: picows.WSTransport | None = None
        self._task: asyncio.Task[None] | None = None
        self._complained: tuple[str, float] = ("", 0.0)
        self.writable = True

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="link")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.drop()

    def say(self, frame: bytes) -> bool:
        transport = self._transport
        if transport is None:
            return False
        transport.send(picows.WSMsgType.BINARY, frame)
        return True

    def drop(self) -> None:
        """End this connection; another is dialled."""
        if self._transport is not None:
            self._transport.disconnect(False)

    async def _run(self) -> None:
        delay_s = self._first_s
        while True:
            try:
                transport, _ = await picows.ws_connect(
                    lambda: _Listener(self), self._url, extra_headers=self._headers,
                    max_frame_size=FRAME_BYTES_MAX + 64, websocket_handshake_timeout=HANDSHAKE_S,
                    enable_auto_ping=True, auto_ping_idle_timeout=PING_S, auto_ping_reply_timeout=PING_S,
                    logger_name=logger, max_redirects=0,
                )  # fmt: skip
                delay_s = self._first_s
                await transport.wait_disconnected()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._complain(_explain(error, self._url))
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, self._max_s)

    def _complain(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._complained[0] != text or now - self._complained[1] > COMPLAIN_S:
            logger.error("%s", text)
            self._complained = (text, now)

    # ---- said by the listener

    def _up(self, transport: picows.WSTransport) -> None:
        self._transport, self.writable = transport, True
        self._complained = ("", 0.0)
        self.on_connected()

    def _down(self, transport: picows.WSTransport) -> None:
        if self._transport is transport:
            self._transport = None
            self.on_lost()

    def _set_writable(self, writable: bool) -> None:
        self.writable = writable
        self.on_writable(writable)


class _Listener(picows.WSListener):  # type: ignore[misc]
    def __init__(self, link: Link):
        self._link = link
        self._pieces: list[bytes] = []
        self._size = 0

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._link._up(transport)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._link._down(transport)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind is picows.WSMsgType.CLOSE:
            transport.disconnect()
            return
        if kind not in (picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION):
            return
        payload = frame.get_payload_as_bytes()
        if frame.fin and not self._pieces:
            self._link.on_frame(payload)
            return
        self._pieces.append(payload)
        self._size += len(payload)
        if self._size > FRAME_BYTES_MAX:
            logger.error("the server's message is longer than %d bytes", FRAME_BYTES_MAX)
            transport.disconnect(False)
        elif frame.fin:
            whole = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            self._link.on_frame(whole)

    def pause_writing(self) -> None:
        self._link._set_writable(False)

    def resume_writing(self) -> None:
        self._link._set_writable(True)


def _explain(error: Exception, url: str) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status", None)
    status = getattr(status, "value", status)
    if status in (401, 403):
        return f"the server at {url} refused this node's token ({status}); the node needs the server's S/node_token"
    if status == 426:
        return f"the server at {url} speaks another version of the wire than {WIRE_VERSION}; install the same Ingle on both"
    if status is not None:
        return f"the server at {url} refused the connection ({status})"
    return f"cannot reach the server at {url}: {error or type(error).__name__}; trying again"
