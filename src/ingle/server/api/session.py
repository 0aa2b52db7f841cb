"""GET /v1/session: the WebSocket of a client."""

import logging

from aiohttp import web

from ingle.exceptions import Error
from ingle.server import session as session_limits
from ingle.server.api.parts import PARTS
from ingle.server.api.websocket import WebSocketLink
from ingle.wire.api import CODEC, Refused
from ingle.wire.codec import FrameError
from ingle.wire.errors import failure_of

log = logging.getLogger(__name__)


async def session(request: web.Request) -> web.StreamResponse:
    parts = request.app[PARTS]
    clients = parts.clients
    link = WebSocketLink(request, parts.tasks)
    socket = await link.open()
    known = None
    try:
        known = clients.hello(link, await link.first())
        receive = clients.receive
        async for frame in link.frames():
            receive(known, frame)
            if known.held.bytes > session_limits.HELD_BYTES_MAX:
                await known.room(link.connected)
    except (FrameError, Error) as error:
        failure = failure_of(error) if isinstance(error, Error) else None
        link.send(CODEC.encode(Refused(failure.code if failure else "invalid", str(error))))
        log.info("a session was closed: %s", error)
        await link.closed(str(error))
    finally:
        if known is not None:
            clients.disconnected(known, link)
    return socket
