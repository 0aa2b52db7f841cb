"""GET /v1/status: what runs."""

import os
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from ingle.server.api.body import answer
from ingle.server.api.parts import PARTS
from ingle.wire.api import ServerStatus
from ingle.wire.version import WIRE_VERSION

try:
    VERSION = version("ingle")
except PackageNotFoundError:
    VERSION = "0"


async def status(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    running = sum(len(c.inputs) for c in parts.containers.running.values())
    nodes = [
        {
            "id": peer.node.id,
            "name": peer.node.name,
            "connected": peer.link is not None,
            "cpu_milli": peer.node.capacity.cpu_milli,
            "memory_mib": peer.node.capacity.memory_mib,
            "free_memory_mib": peer.free_memory_mib,
            "containers": len(parts.containers.on_node(peer.node.id)),
        }
        for peer in parts.nodes.peers.values()
    ]
    return answer(
        ServerStatus(
            version=VERSION,
            wire=WIRE_VERSION,
            pid=os.getpid(),
            nodes=nodes,
            apps=len(parts.apps),
            containers=len(parts.containers.running),
            calls_queued=max(parts.calls.pending - running, 0),
            calls_running=running,
        )
    )
