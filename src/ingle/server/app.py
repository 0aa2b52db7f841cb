"""Apps: made, owned by a session or detached, stopped with all that is theirs."""

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ingle.exceptions import InvalidError, NotFoundError
from ingle.model import ids
from ingle.model.app import RUNNING, STOPPED, App
from ingle.model.function import FunctionSpec
from ingle.scheduler.events import FunctionAdded, FunctionRemoved
from ingle.server.call import Calls
from ingle.server.events import Events
from ingle.server.function import Function, Functions
from ingle.server.image import Images
from ingle.server.session import Session, Sessions
from ingle.server.source import Sources
from ingle.storage.app import AppRows
from ingle.storage.blobs import Blobs
from ingle.wire.api import AppEnded, Attach, CreateApp, CreatedApp
from ingle.wire.codec import FrameError, dump, load

log = logging.getLogger(__name__)

FUNCTIONS_MAX = 1000
NAME_CHARACTERS_MAX = 100
_REQUEST = re.compile(r"[\x21-\x7e]{8,100}")


@dataclass(eq=False, slots=True)
class Running:
    app: App
    functions: list[Function] = field(default_factory=list)
    owner: Session | None = None
    ownerless_s: float = 0.0  #: since when an ephemeral app has had no owner, monotonic
    grace_s: float = 0.0  #: so long it may be without one


class Apps:
    def __init__(
        self,
        rows: AppRows,
        events: Events,
        functions: Functions,
        calls: Calls,
        sessions: Sessions,
        images: Images,
        sources: Sources,
        blobs: Blobs,
        grace_s: float,
    ):
        self._rows = rows
        self._events = events
        self._functions = functions
        self._calls = calls
        self._sessions = sessions
        self._images = images
        self._sources = sources
        self._blobs = blobs
        self._grace_s = grace_s
        self._running: dict[str, Running] = {}
        self._creating: dict[str, asyncio.Future[CreatedApp]] = {}  # by request
        self._unsaved: dict[str, App] = {}  # stopped, but the disk refused to note it

    # ---- making

    async def create(self, message: CreateApp) -> CreatedApp:
        """The app; the same one if the same request was made before.

        Raises:
            InvalidError: it cannot be made like this.
            ServerError: the disk refuses; there is no app.
        """
        if not _REQUEST.fullmatch(message.request):
            raise InvalidError("`request` has to be 8 to 100 printable characters")
        under_way = self._creating.get(message.request)
        if under_way is not None:
            return await asyncio.shield(under_way)
        future = self._creating[message.request] = asyncio.get_running_loop().create_future()
        try:
            created = await self._create(message)
            future.set_result(created)
            return created
        except BaseException as error:
            failed = error if isinstance(error, Exception) else ConnectionError("the client left")
            future.set_exception(failed)
            future.exception()  # whether anybody waits for it or not
            raise
        finally:
            del self._creating[message.request]

    async def _create(self, message: CreateApp) -> CreatedApp:
        made = await self._rows.of_request(message.request)
        if made is not None:
            return CreatedApp(*made)
        app = App(ids.new_id(ids.APP), message.name, RUNNING, message.detached, time.time())
        specs = _specs(app, message)
        await self._check_blobs(app, specs)
        await self._rows.add(app, specs, message.request)
        self._add(app, specs, self._grace_s)
        self._images.want(app.id, {spec.image for spec in specs})
        return CreatedApp(app.id, {spec.name: spec.id for spec in specs})

    async def _check_blobs(self, app: App, specs: list[FunctionSpec]) -> None:
        """What the functions need is there; for a detached app it is on disk for good."""
        for source in {spec.source for spec in specs if spec.source}:
            await self._sources.check(source, sync=app.detached)
        for blob in {spec.definition for spec in specs if spec.definition}:
            if not await self._blobs.touch(blob):
                raise NotFoundError(f"there is no blob {blob}: upload the function's definition first")
            if app.detached:
                await self._blobs.sync(blob)

    def _add(self, app: App, specs: Iterable[FunctionSpec], grace_s: float) -> None:
        running = Running(app, ownerless_s=time.monotonic(), grace_s=grace_s)
        running.functions = [self._functions.add(spec, app) for spec in specs]
        self._running[app.id] = running
        added = [FunctionAdded(f.spec, fail_fast=not app.detached) for f in running.functions]
        if added:
            self._events.post(*added)

    async def load(self, grace_s: float) -> None:
        """At the server's start: the apps that ran. Ephemeral ones wait for their owners."""
        for app, specs in await self._rows.running():
            self._add(app, specs, grace_s)
            self._images.want(app.id, {spec.image for spec in specs})

    # ---- owning

    def attach(self, session: Session, message: Attach) -> None:
        """
        Raises:
            NotFoundError: there is no such app, or this client may not see it.
        """
        running = self._running.get(message.app)
        if running is None or (session.app and session.app != message.app):
            if message.app in self._unsaved or not session.app:
                session.send(AppEnded(message.app, "the app was stopped"))
                return
            raise NotFoundError(f"there is no app {message.app} here")
        self._sessions.watch(session, message.app, message.logs)
        if message.owner and not session.app:
            running.owner = session
        self._images.catch_up(session, message.app)

    def owned_by(self, session: Session) -> list[str]:
        return [r.app.id for r in self._running.values() if r.owner is session and not r.app.detached]

    def abandoned(self) -> list[str]:
        """Ephemeral apps whose owner did not come (back) in time."""
        now = time.monotonic()
        return [
            r.app.id
            for r in self._running.values()
            if not r.app.detached and r.owner is None and now - r.ownerless_s >= r.grace_s
        ]

    # ---- stopping

    def find(self, key: str) -> Running:
        """The running app of this id or name.

        Raises:
            NotFoundError: there is none.
            InvalidError: several have this name.
        """
        running = self._running.get(key)
        if running is not None:
            return running
        named = [r for r in self._running.values() if r.app.name == key]
        if not named:
            raise NotFoundError(f"no app {key[:100]!r} runs: `ingle app list` shows those that do")
        if len(named) > 1:
            raise InvalidError(
                f"{len(named)} apps are named {key!r}: name one by its id: {', '.join(r.app.id for r in named[:10])}"
            )
        return named[0]

    async def stop(self, app_id: str, reason: str) -> None:
        """Ends its calls and containers; twice is fine. Returns when that is on disk."""
        running = self._running.pop(app_id, None)
        if running is None:
            return
        app = replace(running.app, state=STOPPED, stopped_s=time.time(), stop_reason=reason)
        why = f"the app was stopped: {reason}"
        for function in running.functions:
            self._functions.remove(function.spec.id, why)
            self._calls.function_over(function, why)
        if running.functions:
            self._events.post(*(FunctionRemoved(function.spec.id) for function in running.functions))
        self._images.unwant(app_id)
        self._sessions.tell(app_id, AppEnded(app_id, reason))
        self._unsaved[app_id] = app
        await self.save_stops()

    async def save_stops(self) -> None:
        """Writes down which apps have stopped. What the disk refuses stays for the next time.

        Raises:
            ServerError: the disk refused.
        """
        for app in list(self._unsaved.values()):
            await self._rows.stop(app.id, app.stopped_s or 0.0, app.stop_reason)
            self._unsaved.pop(app.id, None)

    # ---- looking

    def app(self, app_id: str) -> App | None:
        running = self._running.get(app_id)
        return running.app if running else None

    def names(self, app_id: str) -> dict[str, str]:
        running = self._running.get(app_id)
        return {f.spec.name: f.spec.id for f in running.functions} if running else {}

    def specs(self) -> list[FunctionSpec]:
        return [f.spec for r in self._running.values() for f in r.functions]

    async def values(self, with_stopped: bool = False) -> list[App]:
        if not with_stopped:
            return [r.app for r in self._running.values()]
        return [self._unsaved.get(app.id, app) for app in reversed(await self._rows.newest())]

    async def resolve(self, key: str) -> str:
        """The id of the app of this id or name, running or stopped (of several stopped ones: the newest).

        Raises:
            NotFoundError: there is none.
        """
        try:
            return self.find(key).app.id
        except NotFoundError:
            for app in await self._rows.newest():
                if key in (app.id, app.name):
                    return app.id
            raise NotFoundError(f"there is no app {key[:100]!r}: `ingle app list --all` shows all") from None

    def __len__(self) -> int:
        return len(self._running)


def _specs(app: App, message: CreateApp) -> list[FunctionSpec]:
    if not message.name or len(message.name) > NAME_CHARACTERS_MAX or not message.name.isprintable():
        raise InvalidError(f"an app's name has 1 to {NAME_CHARACTERS_MAX} printable characters")
    if len(message.functions) > FUNCTIONS_MAX:
        raise InvalidError(f"an app may have {FUNCTIONS_MAX} functions at most")
    specs: dict[str, FunctionSpec] = {}
    for given in message.functions:
        try:
            spec = load(FunctionSpec, dump(given | {"id": ids.new_id(ids.FUNCTION), "app_id": app.id}))
        except FrameError as error:
            raise InvalidError(f"function {str(given.get('name'))[:60]!r}: {error}") from None
        _check_spec(spec)
        if spec.name in specs:
            raise InvalidError(f"two functions are named {spec.name!r}: give one of them another `name`")
        specs[spec.name] = spec
    return list(specs.values())


def _check_spec(spec: FunctionSpec) -> None:
    """The SDK has checked all this with better words; other clients may not have."""
    scaling = spec.scaling
    limits = [spec.limits.cpu_milli, spec.limits.memory_mib, scaling.max_containers]
    wrong = [
        name
        for name, bad in {
            "name": not spec.name or len(spec.name) > 200 or not spec.name.isprintable(),
            "timeout": not 0 < spec.timeout_s < 1e9,
            "startup_timeout": not 0 < spec.startup_timeout_s < 1e9,
            "cpu": spec.resources.cpu_milli < 0,
            "memory": spec.resources.memory_mib < 0,
            "limits": any(limit is not None and limit < 1 for limit in limits) or spec.limits.pids < 1,
            "retries": not 0 <= spec.retries.max_retries <= 1000 or not 0 <= spec.retries.initial_delay < 1e6,
            "min_containers": scaling.min_containers < 0 or scaling.buffer_containers < 0,
            "scaledown_window": not 0 <= scaling.scaledown_window_s < 1e9,
            "image": spec.image.kind != "debian_slim" or not re.fullmatch(r"3\.\d{1,2}", spec.image.python),
        }.items()
        if bad
    ]
    if wrong:
        raise InvalidError(f"function {spec.name[:60]!r}: {', '.join(wrong)} cannot be like this")
    for blob in (spec.definition, spec.source):
        if blob is not None:
            Blobs.check_id(blob)
