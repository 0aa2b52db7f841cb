"""What has to become true by itself: passes that look at what is, and act. Each may run at any time, any number of times."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ingle.exceptions import Error
from ingle.model.container import READY
from ingle.server.app import Apps
from ingle.server.call import Calls
from ingle.server.client import Clients
from ingle.server.config import ServerConfig
from ingle.server.container import Containers
from ingle.server.events import Events
from ingle.server.node import Nodes
from ingle.server.session import Sessions
from ingle.server.source import Sources
from ingle.storage.blobs import Blobs
from ingle.storage.call import CallRows
from ingle.storage.logs import Logs
from ingle.wire.node import LOST_S

log = logging.getLogger(__name__)

#: Between two ticks of the scheduler, while something is under way, and while nothing is.
BUSY_S = 0.05
IDLE_S = 1.0
#: Between two passes over sessions, nodes and apps; over what is stored.
LIVING_S = 0.5
STORED_S = 3600.0
#: The first pass over what is stored, after the start.
STORED_FIRST_S = 60.0


@dataclass(frozen=True, slots=True)
class Background:
    config: ServerConfig
    events: Events
    apps: Apps
    calls: Calls
    clients: Clients
    containers: Containers
    nodes: Nodes
    sessions: Sessions
    sources: Sources
    rows: CallRows
    blobs: Blobs
    logs: Logs

    async def tick_for_ever(self) -> None:
        """Tells the scheduler the time, often while something is under way."""
        while True:
            self.events.post()
            if not self._busy():
                await self.events.quiet(IDLE_S)
            await asyncio.sleep(BUSY_S)

    def _busy(self) -> bool:
        return bool(self.calls.pending) or any(c.seen != READY or c.stopping for c in self.containers.running.values())

    async def look_after_living_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LIVING_S)
            await guarded(self.end_sessions)
            await guarded(self.end_apps)
            await guarded(self.give_up_nodes)

    async def look_after_stored_for_ever(self) -> None:
        await asyncio.sleep(STORED_FIRST_S)
        while True:
            for pass_ in (self.expire_results, self.collect_blobs, self.collect_logs):
                await guarded(pass_)
            await asyncio.sleep(STORED_S)

    async def end_sessions(self) -> None:
        """Sessions whose client did not come back, and what they own."""
        self.sessions.catch_up()
        for session in self.sessions.away(self.config.session_grace_s):
            await self.clients.over(session, "its program is gone")

    async def end_apps(self) -> None:
        """Ephemeral apps that nobody owns; and notes about stopped ones that the disk refused."""
        for app in self.apps.abandoned():
            await self.apps.stop(app, "its program is gone")
        await self.apps.save_stops()

    async def give_up_nodes(self) -> None:
        self.nodes.give_up(self.config.node_grace_s, LOST_S)
        self.calls.drop_strangers(self.config.stranger_s)

    async def expire_results(self) -> None:
        """Results of spawned calls that are older than promised."""
        while await self.rows.expire(time.time() - self.config.results_kept_s, self.config.results_kept_s):
            await asyncio.sleep(0)

    async def collect_blobs(self) -> None:
        """Blobs that nothing names and nobody has touched for long."""
        old = await self.blobs.list_old(self.config.blobs_kept_s)
        if not old:
            return
        named = await self.rows.blobs() | self.calls.blobs() | await self._blobs_of_apps()
        before = time.time() - self.config.sources_kept_s
        for blob in old:
            of_source = blob.id.startswith("so-") or len(blob.id) == 67
            if blob.id not in named and not (of_source and blob.at_s > before):
                await self.blobs.delete(blob.id)

    async def _blobs_of_apps(self) -> set[str]:
        named = set()
        for spec in self.apps.specs():
            if spec.definition:
                named.add(spec.definition)
            if spec.source and spec.source not in named:
                named.add(spec.source)
                named.update(f"bl-{f.sha256}" for f in await self.sources.files(spec.source))
        return named

    async def collect_logs(self) -> None:
        """Logs of apps that have stopped long ago."""
        for app in await asyncio.to_thread(self.logs.old, self.config.logs_kept_s):
            if self.apps.app(app) is None:
                self.logs.forget(app)


async def guarded(work: Callable[[], Awaitable[None]]) -> None:
    """A pass that fails is tried again next time."""
    try:
        await work()
    except Error as error:
        log.error("%s", error)
    except Exception:
        log.exception("a background pass failed")
