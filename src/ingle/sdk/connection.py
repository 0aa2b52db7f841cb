"""This process's connection to the server: frames out from any thread, frames in through one reader.

What may be said twice is kept by those who said it (`Handler.again`), not here. When the connection is lost, the reader
dials again, for RECONNECT_S: Hello with the same session, Attach for each app, then everything outstanding. Callers notice
nothing, unless it does not come back: then each gets a ConnectionError.

Order at a reconnect: Hello and Attach go out on the new transport before others can see it; then it is published; then the
rest is said again. Who registers a call before sending it is thus either heard or said again, or both.
"""

from __future__ import annotations

import _thread
import atexit
import os
import time

from ingle.exceptions import AuthError, ConnectionError, InvalidError, VersionError
from ingle.model.call import SPAWN
from ingle.model.ids import SESSION, new_id
from ingle.runner import context
from ingle.sdk.wake import Wake, in_thread
from ingle.wire import api
from ingle.wire.codec import FrameError, split
from ingle.wire.version import WIRE_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from ingle.sdk.blob import FileBlobs, HttpBlobs
    from ingle.sdk.config import Config
    from ingle.sdk.http import Http

    class Handler(Protocol):
        """One call under way. All but `flush` run in the reader thread and must not wait."""

        kind: str

        def ended(self, outputs: list[tuple[int, str, bytes, bool]]) -> None:
            """These inputs ended (index, outcome, payload, is it a blob); it may be said twice."""

        def accepted(self, first: int, count: int) -> None: ...

        def yielded(self, attempt: int, first: int, items: list[tuple[bytes, bool]]) -> None: ...

        def state(self, state: api.CallState) -> None: ...

        def failed(self, error: Exception) -> None:
            """Nothing more will come."""

        def again(self) -> Iterable[tuple[Any, Any]]:
            """Messages, with payloads, to say after a reconnect."""

    class AppWatcher(Protocol):
        """A running app of this program; its methods run in the reader thread and must not wait."""

        attach: api.Attach

        def ended(self, reason: str) -> None: ...

    class Flushable(Protocol):
        def flush(self) -> None: ...


RECONNECT_S = 60.0
NOTICE_S = 1.0  #: a server that is away for longer is spoken of
RECONNECT_DELAY_S_MAX = 1.0
#: Acknowledgements wait for company: so many, or so long.
ACKS_MIN = 64
ACK_DELAY_S = 0.2
IDLE_TICK_S = 0.5
#: What a slow input iterator has given is sent after so long.
FLUSH_DELAY_S = 0.001
#: Cancels and the like, said while the connection is away.
LATER_MAX = 10_000

_encode = api.CODEC.encode
_decode = api.CODEC.decode


class Reference(bytes):
    """What stands for a blob with an output in it: acknowledged when the blob has been fetched, as the server keeps it
    no longer than that."""

    input: str


class Connection:
    """A session with the server; any thread may use it.

    Args:
        dial: makes a transport (websocket.WebSocket or stream.Stream).
        where: the server, for messages.

    Attributes:
        calls: calls under way by id; whoever makes one enters it before saying anything about it.
        apps: running apps by id.
        error: why it is of no more use; None while it is.
    """

    def __init__(self, dial: Callable[[], Any], where: str, blobs: HttpBlobs | FileBlobs, http: Http | None):
        self.calls: dict[str, Handler] = {}
        self.apps: dict[str, AppWatcher] = {}
        self.blobs = blobs
        self.error: Exception | None = None
        self.session = new_id(SESSION)
        self.watch_lock = _thread.allocate_lock()  #: for function_call.Watch: entering and leaving `calls`
        self._http = http
        self._dial = dial
        self._where = where
        self._transport: Any = None
        self._acks: list[str] = []
        self._ack_lock = _thread.allocate_lock()
        self._later: list[bytes] = []
        self._nudged: set[Flushable] = set()
        self._wake = Wake()
        self._closing = False
        self._on: dict[type, Callable[[Any, memoryview], None]] = {
            api.Outputs: self._outputs,
            api.Yielded: self._yielded,
            api.Accepted: lambda m, p: self._tell(m.call, "accepted", m.first, m.count),
            api.CallState: lambda m, p: self._tell(m.call, "state", m),
            api.Logs: self._logs,
            api.Notice: self._notice,
            api.AppEnded: self._app_ended,
            api.Refused: self._refused,
            api.Welcome: lambda m, p: self.blobs.welcome(m),
        }

    @property
    def http(self) -> Http:
        """Requests to the server's control routes.

        Raises:
            InvalidError: this is inside a container, which has no such access.
        """
        if self._http is None:
            raise InvalidError("this needs the server's control routes, which a container does not have")
        return self._http

    def start(self) -> None:
        """
        Raises:
            OSError: nobody answers.
            ingle.Error: the server refuses.
        """
        transport = self._dial()
        transport.send([_encode(self._hello())])
        self._transport = transport
        _thread.start_new_thread(self._read, (transport,))
        _thread.start_new_thread(self._tick, ())

    # ---- saying

    def say(self, message: Any, payload: Any = b"", kept: bool = False) -> None:
        """Sends a message. `kept`: a handler in `calls` says it again after a reconnect, so that it need not be kept here.

        Raises:
            ConnectionError: the connection was lost for good.
        """
        self.say_all([_encode(message, payload)], kept)

    def say_all(self, frames: list[bytes], kept: bool = False) -> None:
        """The same for several frames at once."""
        if self.error is not None:
            raise self.error
        if len(self._acks) >= ACKS_MIN:
            frames = [*self._take_acks(), *frames]
        transport = self._transport
        if transport is not None:
            try:
                if len(frames) == 1:
                    transport.send(frames)
                else:
                    transport.send_many([[frame] for frame in frames])
                return
            except OSError:
                transport.abort()  # the reader notices, and dials again
        if not kept:
            if len(self._later) > LATER_MAX:
                raise ConnectionError(f"the connection to {self._where} is away, and too much waits for it")
            self._later += frames

    def nudge(self, flushable: Flushable) -> None:
        """Has `flushable.flush()` called in a moment, in a thread of this connection."""
        self._nudged.add(flushable)
        self._wake.set()

    def fetch(self, reference: bytes) -> Any:
        """What the reference to a blob stands for. The server may forget the blob afterwards.

        Raises:
            ingle.Error: it cannot be had.
        """
        value = self.blobs.get(reference)
        if isinstance(reference, Reference):
            self._acks.append(reference.input)
        return value

    def _take_acks(self) -> list[bytes]:
        with self._ack_lock:
            acks = self._acks[:]
            del self._acks[: len(acks)]
        return [_encode(api.AckOutputs(acks))] if acks else []

    def _hello(self) -> api.Hello:
        return api.Hello(self.session, WIRE_VERSION)

    def _tick(self) -> None:
        """Sends what may wait a little: inputs of slow iterators, acknowledgements."""
        while self.error is None and not self._closing:
            woken = self._wake.wait(ACK_DELAY_S if self._acks else IDLE_TICK_S)
            try:
                if woken:
                    time.sleep(FLUSH_DELAY_S)
                    while self._nudged:
                        self._nudged.pop().flush()
                elif self._acks and self._transport is not None:
                    self.say_all(self._take_acks())
            except ConnectionError:
                return

    # ---- hearing (the reader's thread)

    def _read(self, transport: Any) -> None:
        while True:
            error: Exception
            try:
                while True:
                    message, payload = _decode(transport.recv())
                    self._on[type(message)](message, payload)
            except OSError as lost:
                error = lost
            except Exception as unreadable:  # a FrameError, or a message that no client should get
                text = f"{type(unreadable).__name__}: {unreadable}"
                if isinstance(unreadable, FrameError):
                    text = str(unreadable)
                error = ConnectionError(f"the server at {self._where} sent what this client cannot read: {text}")
            self._transport = None
            transport.abort()
            transport.forget()
            if self._closing:
                return
            if isinstance(error, ConnectionError):
                self._fail(error)
                return
            transport = self._come_back(error)
            if transport is None:
                return

    def _outputs(self, message: api.Outputs, payload: memoryview) -> None:
        pieces = split(payload, message.sizes)
        inputs, outcomes = message.inputs, message.outcomes
        if not len(inputs) == len(outcomes) == len(pieces):
            raise FrameError("Outputs: there are not as many outcomes as inputs")
        blobs = set(message.blobs)
        calls = self.calls
        batch: list[tuple[int, str, bytes, bool]] = []
        last, handler = "", None
        for position, input_id in enumerate(inputs):
            call_id, _, index = input_id.rpartition(":")
            if call_id != last:
                if batch and handler is not None:
                    handler.ended(batch)
                last, handler, batch = call_id, calls.get(call_id), []
            if not index.isdigit():
                raise FrameError(f"Outputs: {input_id[:80]!r} is no input id")
            piece = pieces[position]
            if handler is not None and handler.kind != SPAWN and position in blobs:
                piece = Reference(piece)
                piece.input = input_id
            elif handler is None or handler.kind != SPAWN:
                self._acks.append(input_id)
            batch.append((int(index), outcomes[position], piece, position in blobs))
        if batch and handler is not None:
            handler.ended(batch)

    def _yielded(self, message: api.Yielded, payload: memoryview) -> None:
        pieces = split(payload, message.sizes)
        blobs = set(message.blobs)
        items = [(piece, position in blobs) for position, piece in enumerate(pieces)]
        self._tell(message.input.rpartition(":")[0], "yielded", message.attempt, message.first, items)

    def _tell(self, call: str, method: str, *values: Any) -> None:
        handler = self.calls.get(call)
        if handler is not None:
            getattr(handler, method)(*values)

    def _logs(self, message: api.Logs, payload: memoryview) -> None:
        from ingle.sdk import output

        output.show_logs(message.app, message.lines)

    def _notice(self, message: api.Notice, payload: memoryview) -> None:
        from ingle.sdk import output

        output.show_notice(message.kind, message.topic, message.text, message.done)

    def _app_ended(self, message: api.AppEnded, payload: memoryview) -> None:
        watcher = self.apps.get(message.app)
        if watcher is not None:
            watcher.ended(message.reason)

    def _refused(self, message: api.Refused, payload: memoryview) -> None:
        from ingle.wire.errors import Failure, error_of

        error = error_of(Failure(message.code, message.message))
        if message.call:
            self._tell(message.call, "failed", error)
        else:
            self._closing = True
            self._fail(error)
            raise OSError("refused")

    # ---- losing the connection and finding it again

    def _come_back(self, lost: Exception) -> Any:
        """The new transport; None: there will be none, and everybody knows."""
        from ingle.sdk import output

        lost_s = time.monotonic()
        deadline = lost_s + reconnect_s()
        delay = 0.02
        error = lost
        said = False
        while not self._closing:
            try:
                transport = self._resume(self._dial())
                if said:
                    output.show_notice("server", self._where, "the server is back", done=True)
                return transport
            except (AuthError, VersionError, InvalidError) as refused:
                self._fail(refused)
                return None
            except (OSError, ConnectionError) as away:
                error = away
            except Exception as unexpected:
                self._fail(unexpected)
                return None
            if time.monotonic() + delay > deadline:
                self._fail(
                    ConnectionError(
                        f"the connection to {self._where} was lost and did not come back within "
                        f"{reconnect_s():g} s (INGLE_RECONNECT_S): {error}"
                    )
                )
                return None
            if not said and time.monotonic() - lost_s > NOTICE_S:
                said = True
                text = f"{self._where} is away; waiting up to {reconnect_s():g} s for it (INGLE_RECONNECT_S)"
                output.show_notice("server", self._where, text)
            time.sleep(delay)
            delay = min(delay * 2, RECONNECT_DELAY_S_MAX)
        return None

    def _resume(self, transport: Any) -> Any:
        try:
            transport.send([_encode(self._hello())])
            for watcher in list(self.apps.values()):
                transport.send([_encode(watcher.attach)])
            self._transport = transport
            later, self._later = self._later, []
            for handler in list(self.calls.values()):
                for message, payload in handler.again():
                    transport.send([_encode(message, payload)])
            for frame in later:
                transport.send([frame])
        except OSError:
            self._transport = None
            transport.abort()
            transport.forget()
            raise
        return transport

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._transport = None
        for handler in list(self.calls.values()):
            handler.failed(error)
        for watcher in list(self.apps.values()):
            watcher.ended(str(error))
        self._wake.set()

    def close(self) -> None:
        """Says what is left to say, and goodbye. Outstanding calls fail."""
        transport = self._transport
        self._closing = True
        if transport is not None:
            try:
                self.say_all(self._take_acks())
            except ConnectionError:
                pass
            transport.close()
        self._fail(ConnectionError("this program has closed its connection"))
        if self._http is not None:
            self._http.close()

    def forget(self) -> None:
        """After a fork, in the child: the connection is the parent's; only the descriptor goes."""
        self._closing = True
        self.error = ConnectionError("the connection belongs to the parent process")
        if self._transport is not None:
            self._transport.forget()


# ---- the connection of this process

_current: Connection | None = None
_current_lock = _thread.allocate_lock()


def current() -> Connection:
    """The connection of this process, made at the first use.

    Raises:
        ConnectionError: no server answers, and none could be started.
        AuthError, VersionError, SetupError, InvalidError: as they say.
    """
    connection = _current
    if connection is not None and connection.error is None:
        return connection
    return _connect()


async def connected() -> Connection:
    """The connection of this process; the first one is made in a thread, as it may take long."""
    connection = _current
    if connection is not None and connection.error is None:
        return connection
    return await in_thread(current)


def disconnect() -> None:
    """Closes the connection of this process; the next use makes another."""
    global _current
    with _current_lock:
        connection, _current = _current, None
    if connection is not None:
        connection.close()


def _connect() -> Connection:
    global _current
    with _current_lock:
        if _current is not None and _current.error is None:
            return _current
        connection = _inside() if context.in_container else _outside()
        if _current is None:
            atexit.register(disconnect)
        _current = connection
        return connection


def _inside() -> Connection:
    from ingle.sdk.blob import FileBlobs
    from ingle.sdk.stream import Stream

    connection = Connection(Stream, "this container's node", FileBlobs(), None)
    try:
        connection.start()
    except OSError as error:
        raise ConnectionError(f"this container's node does not answer: {error}") from None
    return connection


def _outside() -> Connection:
    from ingle.sdk import local
    from ingle.sdk.blob import HttpBlobs
    from ingle.sdk.http import Http, unreachable
    from ingle.sdk.profile import configured
    from ingle.sdk.websocket import WebSocket

    known = configured() or local.find()
    if known is None:
        known = local.start()
    where = [known]

    def locate() -> Config:
        if where[0].local:  # it may have started again elsewhere
            where[0] = local.find() or where[0]
        return where[0]

    http = Http(locate, reconnect_s())
    connection = Connection(lambda: WebSocket(locate(), "/v1/session"), known.url, HttpBlobs(http), http)
    try:
        connection.start()
    except OSError as error:
        if not known.local:
            raise ConnectionError(unreachable(known, error)) from None
        where[0] = local.start()
        try:
            connection.start()
        except OSError as again:
            raise ConnectionError(unreachable(where[0], again)) from None
    return connection


def reconnect_s() -> float:
    """Seconds for which a lost server is looked for.

    Raises:
        InvalidError: INGLE_RECONNECT_S is no number of seconds.
    """
    said = os.environ.get("INGLE_RECONNECT_S")
    if not said:
        return RECONNECT_S
    try:
        value = float(said)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise InvalidError(f"INGLE_RECONNECT_S is a number of seconds, not {said!r}")
    return value


def _after_fork() -> None:
    global _current, _current_lock
    _current_lock = _thread.allocate_lock()
    connection, _current = _current, None
    if connection is not None:
        connection.forget()


os.register_at_fork(after_in_child=_after_fork)
