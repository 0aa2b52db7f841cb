"""GET /v1/node: the WebSocket of a node."""

import logging

from aiohttp import web

from ingle.exceptions import Error
from ingle.server.api.parts import PARTS
from ingle.server.api.websocket import WebSocketLink
from ingle.wire.codec import FrameError

log = logging.getLogger(__name__)


async def node(request: web.Request) -> web.StreamResponse:
    parts = request.app[PARTS]
    link = WebSocketLink(request, parts.tasks)
    socket = await link.open()
    peer = None
    try:
        peer = await parts.nodes.joined(link, await link.first())
        receive = parts.nodes.receive
        async for frame in link.frames():
            receive(peer, frame)
    except (FrameError, Error) as error:
        log.warning("a node was sent away: %s", error)
        await link.closed(str(error))
    except Exception:
        log.exception("a node's message could not be handled")
        await link.closed("the server failed; its log says why", code=1011)
    finally:
        if peer is not None:
            parts.nodes.left(peer, link)
    return socket
