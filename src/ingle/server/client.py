"""What a client says, carried to the rules; the same for laptops and for programs inside containers."""

import logging
from collections.abc import Callable
from typing import Any

from ingle.exceptions import Error, InvalidError, VersionError
from ingle.model.ids import new_id
from ingle.server.app import Apps
from ingle.server.call import Calls
from ingle.server.node import Nodes
from ingle.server.session import Link, Session, Sessions
from ingle.server.spawn import Spawned
from ingle.server.tasks import Tasks
from ingle.wire import api
from ingle.wire.codec import FrameError
from ingle.wire.errors import failure_of
from ingle.wire.version import WIRE_VERSION

log = logging.getLogger(__name__)

SESSION_ID_CHARACTERS_MAX = 64
INDEXES_MAX = 100_000


class Clients:
    def __init__(
        self,
        welcome: api.Welcome,
        sessions: Sessions,
        calls: Calls,
        spawned: Spawned,
        apps: Apps,
        nodes: Nodes,
        tasks: Tasks,
    ):
        self._welcome = welcome
        self._sessions = sessions
        self._calls = calls
        self._spawned = spawned
        self._apps = apps
        self._nodes = nodes
        self._tasks = tasks
        self._takes: dict[type, Callable[[Session, Any, memoryview], None]] = {
            api.PutInputs: calls.put,
            api.AckOutputs: lambda session, m, _: calls.acknowledge(session, m.inputs),
            api.Attach: lambda session, m, _: apps.attach(session, m),
            api.WatchCall: self._watch,
            api.UnwatchCall: lambda session, m, _: spawned.unwatch(session, m.call),
            api.CancelCall: lambda session, m, _: calls.cancel(session, m.call),
            api.CloseCall: lambda session, m, _: calls.close_said(session, m.call),
            api.Credit: self._credit,
        }
        nodes.clients = self

    def hello(self, link: Link, frame: bytes | memoryview, app: str = "", container: str = "") -> Session:
        """The first frame of a client. `app`, `container`: where it is, if inside a container.

        Raises:
            FrameError: it is no Hello.
            VersionError: the client speaks another wire.
            InvalidError: the session's id is none.
        """
        message, _ = api.CODEC.decode(frame)
        if not isinstance(message, api.Hello):
            raise FrameError("the first message has to be Hello")
        if message.version != WIRE_VERSION:
            raise VersionError(
                f"the server speaks wire version {WIRE_VERSION}, the client {message.version}: install the same version of Ingle on both"
            )
        if not 8 <= len(message.session) <= SESSION_ID_CHARACTERS_MAX or not message.session.isascii():
            raise InvalidError(f"a session's id has 8 to {SESSION_ID_CHARACTERS_MAX} characters")
        session = self._sessions.connected(message.session, link, app, container)
        session.send(api.Welcome(self._welcome.server) if container else self._welcome)
        return session

    def receive(self, session: Session, frame: bytes | memoryview) -> None:
        """One frame. What cannot be taken is refused.

        Raises:
            FrameError: it is malformed: the connection has to end.
        """
        message, payload = api.CODEC.decode(frame)
        take = self._takes.get(type(message))
        if take is None:
            raise FrameError(f"a client may not say {type(message).__name__}")
        try:
            take(session, message, payload)
        except Error as error:
            failure = failure_of(error)
            session.send(api.Refused(failure.code, failure.message, getattr(message, "call", "")))
        except FrameError:
            raise
        except Exception:
            self._failed(session, message)

    def disconnected(self, session: Session, link: Link) -> None:
        self._sessions.disconnected(session, link)
        if session.link is None:
            self._spawned.forget(session)

    async def over(self, session: Session, reason: str) -> None:
        """The session does not come back: what it owns ends."""
        if session.over:
            return
        self._sessions.forget(session)
        self._calls.session_over(session)
        for app in self._apps.owned_by(session):
            try:
                await self._apps.stop(app, reason)
            except Error as error:
                log.error("that app %s has stopped cannot be noted: %s", app, error)

    def over_in(self, container: str) -> None:
        """The container is gone, and its clients with it."""
        for session in self._sessions.inside(container):
            self._tasks.start(self.over(session, "its container ended"))

    def _watch(self, session: Session, message: api.WatchCall, _: memoryview) -> None:
        if len(message.indexes) > INDEXES_MAX:
            raise InvalidError(f"at most {INDEXES_MAX} inputs can be named at once: name none for all")
        self._tasks.start(self._watch_guarded(session, message))

    async def _watch_guarded(self, session: Session, message: api.WatchCall) -> None:
        try:
            await self._calls.accepted(message.call)  # a client that came back says both at once
            await self._spawned.watch(session, message)
        except Error as error:
            failure = failure_of(error)
            session.send(api.Refused(failure.code, failure.message, message.call))
        except Exception:
            self._failed(session, message)

    def _credit(self, session: Session, message: api.Credit, _: memoryview) -> None:
        container, taken = self._calls.credit(session, message.input, message.attempt, message.taken)
        if container:
            self._nodes.grant(container, message.input, taken)

    def _failed(self, session: Session, message: Any) -> None:
        name = new_id("er")
        log.exception("%s: a %s failed", name, type(message).__name__)
        text = f"the server failed; its log says why under {name}"
        session.send(api.Refused("server", text, getattr(message, "call", "")))
