"""What the routes need, in one value."""

from dataclasses import dataclass

from aiohttp import web

from ingle.server.app import Apps
from ingle.server.call import Calls
from ingle.server.client import Clients
from ingle.server.config import ServerConfig
from ingle.server.container import Containers
from ingle.server.events import Events
from ingle.server.exec import Execs
from ingle.server.log import LogBook
from ingle.server.node import Nodes
from ingle.server.source import Sources
from ingle.server.tasks import Tasks
from ingle.storage.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Parts:
    config: ServerConfig
    events: Events
    calls: Calls
    apps: Apps
    containers: Containers
    nodes: Nodes
    clients: Clients
    execs: Execs
    logs: LogBook
    sources: Sources
    blobs: Blobs
    tasks: Tasks


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
