"""A client's session: what it watches and owns, kept over its reconnects.

States: connected (it has a link), away (its link is gone; it has a grace to come back), over. The same class serves programs on
laptops (a WebSocket) and programs inside containers (relayed by the node); it knows nothing of either.
"""

import asyncio
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ingle.exceptions import InvalidError
from ingle.wire.api import CODEC, LogLine, Logs

#: Payloads of a session that wait or run, in bytes: above it, its socket is not read.
HELD_BYTES_MAX = 128 << 20
#: Bytes on their way to a client: above it, log lines are skipped.
LOG_BACKLOG_MAX = 1 << 20
#: Above it, stored results are not read on.
BACKLOG_MAX = 16 << 20
#: Of the programs inside one container, those that have left a while ago included.
SESSIONS_INSIDE_MAX = 1000
#: How often somebody who waits for a slow client looks again.
LOOK_S = 0.05


class Link(Protocol):
    """One connection to a client or a node. All methods return at once and do not raise."""

    def send(self, frame: bytes) -> None: ...
    def backlog(self) -> int: ...  # bytes not yet sent
    def close(self, reason: str) -> None: ...


class Held:
    """What a client has under way, spawned inputs aside. All clients inside one container share one."""

    __slots__ = ("__weakref__", "bytes", "inputs")

    def __init__(self) -> None:
        self.bytes = 0  #: payloads of inputs that have not ended
        self.inputs = 0  #: inputs whose outputs have not been acknowledged


@dataclass(eq=False, slots=True)
class Session:
    id: str
    app: str = ""  #: of a client inside a container: the only app it may use
    container: str = ""
    link: Link | None = None
    away_s: float = 0.0  #: since when it has no link, monotonic
    watches: dict[str, bool] = field(default_factory=dict)  #: apps; True: with logs
    calls: set = field(default_factory=set)  #: its remote, map and generator calls
    held: Held = field(default_factory=Held)
    outputs: list = field(default_factory=list)  #: ended inputs for the next frame
    skipped: dict[str, int] = field(default_factory=dict)  #: log lines by app that it was too slow for
    over: bool = False

    def send(self, message: object, payload: bytes | list = b"") -> None:
        if self.link is not None:
            self.link.send(CODEC.encode(message, payload))

    async def drain(self) -> bool:
        """Waits until little is on its way; False: the client is away."""
        while self.link is not None and self.link.backlog() > BACKLOG_MAX:
            await asyncio.sleep(LOOK_S)
        return self.link is not None

    async def room(self, connected: Callable[[], bool]) -> None:
        """Waits until it may hold more payloads, or its connection is gone."""
        while self.held.bytes > HELD_BYTES_MAX and connected():
            await asyncio.sleep(LOOK_S)


class Sessions:
    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._watchers: dict[str, set[Session]] = {}
        self._held: weakref.WeakValueDictionary[str, Held] = weakref.WeakValueDictionary()  # by container

    def connected(self, session_id: str, link: Link, app: str = "", container: str = "") -> Session:
        """The session behind a new link; a link that it had before is closed.

        Raises:
            InvalidError: too many programs of this container have sessions.
        """
        key = f"{container}/{session_id}"
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._new(session_id, app, container)
        elif session.link is not None and session.link is not link:
            session.link.close("the same session has connected again")
        session.link = link
        return session

    def _new(self, session_id: str, app: str, container: str) -> Session:
        session = Session(session_id, app, container)
        if container:
            if len(self.inside(container)) >= SESSIONS_INSIDE_MAX:
                raise InvalidError(
                    f"{SESSIONS_INSIDE_MAX} programs of this container have called functions lately already"
                )
            session.held = self._held.setdefault(container, session.held)
        return session

    def disconnected(self, session: Session, link: Link) -> None:
        if session.link is link:
            session.link = None
            session.away_s = time.monotonic()

    def forget(self, session: Session) -> None:
        """It is over: whoever calls this has ended what it owned."""
        session.over = True
        session.link = None
        self._sessions.pop(f"{session.container}/{session.id}", None)
        for app in list(session.watches):
            self.unwatch(session, app)

    def watch(self, session: Session, app: str, logs: bool) -> None:
        session.watches[app] = logs
        self._watchers.setdefault(app, set()).add(session)

    def unwatch(self, session: Session, app: str) -> None:
        session.watches.pop(app, None)
        watchers = self._watchers.get(app)
        if watchers is not None:
            watchers.discard(session)
            if not watchers:
                del self._watchers[app]

    def watched(self, app: str) -> bool:
        return app in self._watchers

    def tell(self, app: str, message: object) -> None:
        """A notice to everybody who watches the app."""
        watchers = self._watchers.get(app)
        if watchers:
            frame = CODEC.encode(message)
            for session in watchers:
                if session.link is not None:
                    session.link.send(frame)

    def tell_logs(self, app: str, lines: list[LogLine]) -> None:
        """Lines to everybody who wants them; who is too slow for them gets their number later."""
        frame = None
        for session in self._watchers.get(app, ()):
            if not session.watches[app] or session.link is None:
                continue
            if session.link.backlog() > LOG_BACKLOG_MAX:
                session.skipped[app] = session.skipped.get(app, 0) + len(lines)
                continue
            self._tell_skipped(session)
            if frame is None:
                frame = CODEC.encode(Logs(app, lines))
            session.link.send(frame)

    def catch_up(self) -> None:
        """Tells slow clients that have room again how many lines they miss."""
        for session in self._sessions.values():
            if session.skipped and session.link is not None and session.link.backlog() <= LOG_BACKLOG_MAX:
                self._tell_skipped(session)

    def away(self, grace_s: float) -> list[Session]:
        """Sessions that have been without a link for longer."""
        before = time.monotonic() - grace_s
        return [s for s in self._sessions.values() if s.link is None and s.away_s <= before]

    def inside(self, container: str) -> list[Session]:
        return [s for s in self._sessions.values() if s.container == container]

    def __iter__(self):
        return iter(list(self._sessions.values()))

    def _tell_skipped(self, session: Session) -> None:
        while session.skipped:
            app, count = session.skipped.popitem()
            text = f"… {count} lines skipped (the connection is too slow); `ingle app logs {app}` has them"
            session.send(Logs(app, [LogLine(time.time(), "", "", "", "system", text)]))
