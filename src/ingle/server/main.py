"""The server, put together: `Server(config)`, `start`, `stop`."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from ingle.model import ids
from ingle.server.api.parts import Parts
from ingle.server.api.routes import application
from ingle.server.app import Apps
from ingle.server.background import Background
from ingle.server.call import Calls
from ingle.server.client import Clients
from ingle.server.config import ServerConfig
from ingle.server.container import Containers
from ingle.server.events import Events
from ingle.server.exec import Execs
from ingle.server.function import Functions
from ingle.server.image import Images
from ingle.server.log import LogBook
from ingle.server.loop import Loop
from ingle.server.node import Nodes
from ingle.server.session import Sessions
from ingle.server.source import Sources
from ingle.server.spawn import Spawned
from ingle.server.tasks import Tasks
from ingle.storage.app import AppRows
from ingle.storage.blobs import Blobs
from ingle.storage.call import CallRows, EndedInput
from ingle.storage.database import Database
from ingle.storage.logs import Logs
from ingle.wire.api import Welcome
from ingle.wire.errors import Failure

__all__ = ["Server", "ServerConfig"]

log = logging.getLogger(__name__)

#: For requests that are under way when the server stops.
SHUTDOWN_S = 1.0
#: Of a body, read at once.
READ_BYTES = 1 << 20
_PROBE = ".probe-"


class Server:
    """One server in the running event loop. `scheduler` makes the scheduler (for tests)."""

    def __init__(self, config: ServerConfig, scheduler: Callable[[], Any] | None = None):
        self.config = config
        self.id = ids.new_id("sv")
        self.url = ""
        self._make_scheduler = scheduler or _scheduler
        self._tasks = Tasks()
        self._runner: web.AppRunner | None = None
        self._temporary: tempfile.TemporaryDirectory | None = None

    async def start(self) -> None:
        """Returns when it answers.

        Raises:
            SetupError: its database is damaged or cannot be written.
            OSError: the port is taken.
        """
        folder = self._folder()
        self._database = Database(folder / "ingle.db" if self.config.state is not None else None)
        await self._database.open()
        self._logs = Logs(folder / "logs", self.config.app_log_bytes_max)
        self._blobs = Blobs.local(folder / "blobs")
        self._write_probe(folder / "blobs")
        self._build(folder / "blobs")
        await self._load()
        try:
            await self._listen()
        except BaseException:
            await self._close()
            raise
        for work in (
            self.background.tick_for_ever(),
            self.background.look_after_living_for_ever(),
            self.background.look_after_stored_for_ever(),
        ):
            self._tasks.start(work)

    async def stop(self) -> None:
        """Everything that was promised is on disk when this returns."""
        if self._runner is not None:
            for peer in list(self.parts.nodes.peers.values()):
                if peer.link is not None:
                    peer.link.close("the server stops")
            for session in self.sessions:
                if session.link is not None:
                    session.link.close("the server stops")
            await self._runner.cleanup()
            self._runner = None
        await self._close()

    async def _close(self) -> None:
        await self._tasks.close()
        await self._database.close()
        self._logs.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _folder(self) -> Path:
        if self.config.state is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ingle-server-")
            return Path(self._temporary.name)
        folder = self.config.state / "server"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _write_probe(self, folder: Path) -> None:
        """A file by which a node sees that it has the same disk."""
        for old in folder.glob(f"{_PROBE}*"):
            old.unlink(missing_ok=True)
        (folder / f"{_PROBE}{self.id}").write_text(self.id)

    def _build(self, blobs_path: Path) -> None:
        config, tasks = self.config, self._tasks
        events, sessions, functions, containers = Events(), Sessions(), Functions(), Containers()
        self._call_rows = CallRows(self._database)
        logs = LogBook(self._logs, sessions)
        images = Images(sessions)
        sources = Sources(self._blobs)
        spawned = Spawned(self._call_rows, self._blobs, functions, tasks)
        calls = Calls(events, functions, spawned, self._blobs, tasks)
        apps = Apps(
            AppRows(self._database),
            events,
            functions,
            calls,
            sessions,
            images,
            sources,
            self._blobs,
            config.session_grace_s,
        )
        disk = (str(blobs_path.resolve()), f"{_PROBE}{self.id}")
        nodes = Nodes(self.id, events, functions, containers, calls, self._call_rows, images, logs, sessions, *disk)
        clients = Clients(Welcome(self.id, *disk), sessions, calls, spawned, apps, nodes, tasks)
        execs = Execs(containers, nodes)
        self.sessions = sessions
        self.loop = Loop(self._make_scheduler(), events, functions, containers, calls, apps, nodes, sessions)
        self.parts = Parts(
            config, events, calls, apps, containers, nodes, clients, execs, logs, sources, self._blobs, tasks
        )
        self.background = Background(
            config,
            events,
            apps,
            calls,
            clients,
            containers,
            nodes,
            sessions,
            sources,
            self._call_rows,
            self._blobs,
            self._logs,
        )

    async def _load(self) -> None:
        """What was promised before this start."""
        await self.parts.apps.load(self.config.restart_grace_s)
        pending = await self._call_rows.pending()
        # The server was killed between noting that an app stops and ending its calls.
        cut_off = [row for row in pending if row.app_stopped]
        if cut_off:
            payload = Failure("cancelled", "the app was stopped").pack()
            await self._call_rows.end([EndedInput(r.call_id, r.number, "failed", payload, False) for r in cut_off], 0.0)
        self.parts.calls.load([row for row in pending if not row.app_stopped])

    async def _listen(self) -> None:
        self._runner = web.AppRunner(
            application(self.parts), access_log=None, shutdown_timeout=SHUTDOWN_S, read_bufsize=READ_BYTES
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.config.host, self.config.port)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            self._runner = None
            raise
        port = self._runner.addresses[0][1]
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self.url = f"http://{host}:{port}"
        log.info("server %s answers at %s", self.id, self.url)


def _scheduler() -> Any:
    from ingle.scheduler.machine import Scheduler

    return Scheduler(prefix=ids.new_id(ids.CONTAINER)[3:13])
