"""Log lines of containers: stored, and passed on to who watches."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import islice

from ingle.server.session import Sessions
from ingle.storage.logs import Logs
from ingle.wire.api import LogLine
from ingle.wire.codec import dump

log = logging.getLogger(__name__)

Match = Callable[[dict], bool]

#: Lines that wait for a slow follower; then some are skipped.
FOLLOW_LINES_MAX = 10_000
#: Lines read from disk at once.
PAGE = 1000
#: How often a follower looks whether there is more to come.
LOOK_S = 1.0
#: How often a disk that refuses is complained about.
COMPLAIN_S = 10.0


class LogBook:
    def __init__(self, store: Logs, sessions: Sessions):
        self._store = store
        self._sessions = sessions
        self._followers: dict[str, set[asyncio.Queue[bytes]]] = {}
        self._complained_s = 0.0

    def arrived(self, app_id: str, lines: list[LogLine]) -> None:
        """Stores the lines and passes them on. A full disk costs the stored ones, never the container."""
        encoded = [dump(line) for line in lines]
        try:
            self._store.append(app_id, encoded)
        except OSError as error:
            if time.monotonic() - self._complained_s > COMPLAIN_S:
                self._complained_s = time.monotonic()
                log.error("log lines of %s cannot be stored: %s", app_id, error)
        self._sessions.tell_logs(app_id, lines)
        for follower in self._followers.get(app_id, ()):
            for line in encoded:
                if follower.qsize() < FOLLOW_LINES_MAX:
                    follower.put_nowait(line)

    def system(self, app_id: str, container: str, function: str, text: str) -> None:
        """A line of our own."""
        self.arrived(app_id, [LogLine(time.time(), container, "", function, "system", text)])

    async def read(
        self, app_id: str, container: str, call: str, tail: int | None, follow: bool, ended: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """Lines as JSON: the stored ones, then (`follow`) those that come, until `ended()`."""
        match = partial(_matches, container, call) if container or call else None
        follower: asyncio.Queue[bytes] = asyncio.Queue()
        until = self._store.end(app_id)
        if follow:
            self._followers.setdefault(app_id, set()).add(follower)
        try:
            async for line in self._stored(app_id, match, tail, until):
                yield line
            while follow:
                try:
                    line = await asyncio.wait_for(follower.get(), LOOK_S)
                except asyncio.TimeoutError:
                    if ended():
                        return
                    continue
                if match is None or match(json.loads(line)):
                    yield line
        finally:
            followers = self._followers.get(app_id, set())
            followers.discard(follower)
            if not followers:
                self._followers.pop(app_id, None)

    async def _stored(
        self, app_id: str, match: Match | None, tail: int | None, until: tuple[int, int]
    ) -> AsyncIterator[bytes]:
        lines = await asyncio.to_thread(self._store.read, app_id, match, tail, until)
        while True:
            page = await asyncio.to_thread(lambda: list(islice(lines, PAGE)))
            for line in page:
                yield line
            if len(page) < PAGE:
                return


def _matches(container: str, call: str, fields: dict) -> bool:
    if container and fields.get("container") != container:
        return False
    return not call or str(fields.get("input", "")).partition(":")[0] == call
