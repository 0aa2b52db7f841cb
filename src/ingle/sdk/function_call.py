"""A spawned call, from any process that knows its id."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Any, Generic, TypeVar

    from ingle.sdk.connection import Connection
    from ingle.sdk.outcome import Result
    from ingle.sdk.wake import AioWake, Wake
    from ingle.wire import api

    R = TypeVar("R", covariant=True)
else:
    from ingle.sdk.generic import Generic, R

#: The server answers a question about a call within this, or is not there.
ANSWER_S_MAX = 30.0
#: A `get` that waits less asks twice, so as not to miss what is on its way.
SHORT_LOOK_S = 1.0
#: `iter` asks for so many results at a time.
ITER_AHEAD_MAX = 500
#: Results up to this size are kept for the next `get`.
KEPT_BYTES_MAX = 1 << 20


class FunctionCall(Generic[R]):
    """A call that runs, or has run, on its own; `.spawn` and `.spawn_map` return it. It may be pickled.

    Attributes:
        object_id: `fc-…`; `FunctionCall.from_id` of it, in any process, is the same call.
    """

    def __init__(self, object_id: str):
        self.object_id = object_id
        self._kept: dict[int, Result] = {}

    @classmethod
    def from_id(cls, object_id: str) -> FunctionCall[Any]:
        """The call of that id. Whether the server knows it is seen at its first use.

        Raises:
            InvalidError: it is not the id of a call.
        """
        from ingle.exceptions import InvalidError

        if not isinstance(object_id, str) or not object_id.startswith("fc-") or not object_id[3:].isalnum():
            raise InvalidError(f"{object_id!r} is not the id of a call: those look like fc-3v1k9m…")
        return cls(object_id)

    @property
    def get(self) -> _Get[R]:
        """Waits for the result and returns it; what the function raised is raised here.

        Args:
            timeout: seconds; 0 looks once; default: as long as it takes.
            index: which input's, of a `spawn_map`; default: the first.

        Raises:
            TimeoutError: (the builtin) there is no result yet.
            OutputExpiredError: the result is no longer kept.
            NotFoundError: the server knows no such call.
        """
        return _Get(self)

    @property
    def cancel(self) -> _Cancel:
        """Cancels it: what waits never runs, what runs is interrupted; `get` then raises CallCancelledError.

        Raises:
            NotFoundError: the server knows no such call.
        """
        return _Cancel(self)

    @property
    def num_inputs(self) -> _NumInputs:
        """How many inputs it has: 1, or as many as `spawn_map` was given.

        Raises:
            NotFoundError: the server knows no such call.
        """
        return _NumInputs(self)

    @property
    def iter(self) -> _Iter[R]:
        """Yields the results of its inputs `start` … `end - 1`, in order, each as soon as it is there.

        Args:
            start: default: the first.
            end: default: all there are.

        Raises:
            What `get` raises for each, but for the time-out.
        """
        return _Iter(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionCall, (self.object_id,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionCall) and other.object_id == self.object_id

    def __hash__(self) -> int:
        return hash(self.object_id)

    def __repr__(self) -> str:
        return f"<ingle.FunctionCall {self.object_id}>"

    def _keep(self, index: int, result: Result) -> Result:
        if len(result[1]) <= KEPT_BYTES_MAX and len(self._kept) < ITER_AHEAD_MAX:
            self._kept[index] = result
        return result


class _Part:
    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[Any]):
        self._call = call


class _Get(_Part, Generic[R]):
    __slots__ = ()

    def __call__(self, timeout: float | None = None, *, index: int = 0) -> R:
        from ingle.sdk.outcome import open_result

        connection, look = _sync_look(self._call, [index])
        with look:
            return open_result(connection, _wait(self._call, look, index, timeout))

    async def aio(self, timeout: float | None = None, *, index: int = 0) -> R:
        from ingle.sdk.outcome import open_aio

        connection, look = await _aio_look(self._call, [index])
        with look:
            return await open_aio(connection, await _wait_aio(self._call, look, index, timeout))


class _Cancel(_Part):
    __slots__ = ()

    def __call__(self) -> None:
        from ingle.wire import api

        connection, look = _sync_look(self._call, [0])
        with look:
            connection.say(api.CancelCall(self._call.object_id))
            _answer(look)

    async def aio(self) -> None:
        from ingle.wire import api

        connection, look = await _aio_look(self._call, [0])
        with look:
            connection.say(api.CancelCall(self._call.object_id))
            await _answer_aio(look)


class _NumInputs(_Part):
    __slots__ = ()

    def __call__(self) -> int:
        with _sync_look(self._call, [0])[1] as look:
            return _answer(look).inputs

    async def aio(self) -> int:
        with (await _aio_look(self._call, [0]))[1] as look:
            return (await _answer_aio(look)).inputs


class _Iter(_Part, Generic[R]):
    __slots__ = ()

    def __call__(self, start: int = 0, end: int | None = None) -> Iterator[R]:
        from ingle.sdk.outcome import open_result

        end = self._call.num_inputs() if end is None else end
        for first in range(start, end, ITER_AHEAD_MAX):
            indexes = list(range(first, min(first + ITER_AHEAD_MAX, end)))
            connection, look = _sync_look(self._call, indexes)
            with look:
                for index in indexes:
                    yield open_result(connection, _wait(self._call, look, index, None))

    async def aio(self, start: int = 0, end: int | None = None) -> AsyncIterator[R]:
        from ingle.sdk.outcome import open_aio

        end = await self._call.num_inputs.aio() if end is None else end
        for first in range(start, end, ITER_AHEAD_MAX):
            indexes = list(range(first, min(first + ITER_AHEAD_MAX, end)))
            connection, look = await _aio_look(self._call, indexes)
            with look:
                for index in indexes:
                    yield await open_aio(connection, await _wait_aio(self._call, look, index, None))


# ---- waiting


def _sync_look(call: FunctionCall[Any], indexes: list[int]) -> tuple[Connection, Look]:
    from ingle.sdk.connection import current
    from ingle.sdk.wake import Wake

    connection = current()
    return connection, Look(connection, call.object_id, indexes, Wake())


async def _aio_look(call: FunctionCall[Any], indexes: list[int]) -> tuple[Connection, Look]:
    from ingle.sdk.connection import connected
    from ingle.sdk.wake import AioWake

    connection = await connected()
    return connection, Look(connection, call.object_id, indexes, AioWake())


def _answer(look: Look) -> api.CallState:
    deadline = time.monotonic() + ANSWER_S_MAX
    while look.answer is None:
        look.check()
        if not look.wake.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
            raise _silent()
    return look.known_answer()


async def _answer_aio(look: Look) -> api.CallState:
    deadline = time.monotonic() + ANSWER_S_MAX
    while look.answer is None:
        look.check()
        if not await look.wake.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:  # type: ignore[misc]
            raise _silent()
    return look.known_answer()


def _wait(call: FunctionCall[Any], look: Look, index: int, timeout: float | None) -> Result:
    _check_timeout(timeout)
    kept = call._kept.get(index)
    if kept is not None:
        return kept
    deadline = None if timeout is None else time.monotonic() + timeout
    if timeout is not None:
        # "No result yet" is only true when the server has said so, however short the time-out.
        _check_index(call, _answer(look), index)
        deadline = max(deadline or 0.0, time.monotonic())
        look.ask_again(timeout)
    while True:
        result = look.results.get(index)
        if result is not None:
            return call._keep(index, result)
        look.check()
        if look.answer is not None:
            _check_index(call, look.known_answer(), index)
        if deadline is not None and time.monotonic() >= deadline and look.has_looked():
            raise _not_yet(call, timeout)
        look.wake.wait(look.patience(deadline))


async def _wait_aio(call: FunctionCall[Any], look: Look, index: int, timeout: float | None) -> Result:
    _check_timeout(timeout)
    kept = call._kept.get(index)
    if kept is not None:
        return kept
    deadline = None if timeout is None else time.monotonic() + timeout
    if timeout is not None:
        _check_index(call, await _answer_aio(look), index)
        deadline = max(deadline or 0.0, time.monotonic())
        look.ask_again(timeout)
    while True:
        result = look.results.get(index)
        if result is not None:
            return call._keep(index, result)
        look.check()
        if look.answer is not None:
            _check_index(call, look.known_answer(), index)
        if deadline is not None and time.monotonic() >= deadline and look.has_looked():
            raise _not_yet(call, timeout)
        await look.wake.wait(look.patience(deadline))  # type: ignore[misc]


def _check_timeout(timeout: object) -> None:
    if timeout is None:
        return
    from ingle.exceptions import InvalidError

    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise InvalidError(f"timeout is a number of seconds, at least 0, not {timeout!r}")


def _check_index(call: FunctionCall[Any], state: api.CallState, index: int) -> None:
    if not 0 <= index < max(state.inputs, 1):
        from ingle.exceptions import InvalidError

        raise InvalidError(f"{call.object_id} has {state.inputs} inputs: there is no index {index}")


def _not_yet(call: FunctionCall[Any], timeout: float | None) -> TimeoutError:
    return TimeoutError(f"{call.object_id} has no result yet (waited {timeout:g} s)")


def _silent() -> Exception:
    from ingle.exceptions import ConnectionError

    return ConnectionError(f"the server did not answer within {ANSWER_S_MAX:g} s")


class Look:
    """One caller's interest in inputs of a spawned call.

    Attributes:
        answer: what the server said of the call; None until it has.
        results: outcomes that have arrived, by index.
    """

    def __init__(self, connection: Connection, call: str, indexes: list[int], wake: Wake | AioWake):
        self.indexes = indexes
        self.wake = wake
        self.answer: api.CallState | None = None
        self.answers = 0
        self.results: dict[int, Result] = {}
        self.error: Exception | None = None
        self._answers_wanted = 1
        self._look_until: float | None = None
        self._watch = Watch.join(connection, call, self)

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *exc: object) -> None:
        self._watch.leave(self)

    def check(self) -> None:
        if self.error is not None:
            from ingle.sdk.outcome import fresh

            raise fresh(self.error)

    def known_answer(self) -> api.CallState:
        """
        Raises:
            NotFoundError, OutputExpiredError: there is no such call, or not any more.
        """
        from ingle.exceptions import NotFoundError, OutputExpiredError

        self.check()
        assert self.answer is not None
        if self.answer.expired:
            raise OutputExpiredError(f"the results of {self.answer.call} are no longer kept")
        if not self.answer.known:
            raise NotFoundError(f"the server knows no call {self.answer.call}")
        return self.answer

    def ask_again(self, timeout: float) -> None:
        """For a short look: outputs that were there follow the first answer, so they precede the second one."""
        self._look_until = time.monotonic() + timeout + ANSWER_S_MAX
        if timeout < SHORT_LOOK_S and self.answer is not None and self.answer.ended and not self.results:
            self._answers_wanted = self.answers + 1
            self._watch.say()

    def has_looked(self) -> bool:
        if self.answer is not None and self.answer.ended >= self.answer.inputs > 0:
            # Every result is there and on its way.
            return time.monotonic() >= (self._look_until or 0.0)
        return self.answers >= self._answers_wanted or time.monotonic() >= (self._look_until or 0.0)

    def patience(self, deadline: float | None) -> float | None:
        """Seconds to wait at most before the next look at the clock."""
        if deadline is None:
            return None
        now = time.monotonic()
        if now < deadline:
            return deadline - now
        return max((self._look_until or now) - now, 0.01)


class Watch:
    """What this process wants to know of one spawned call: one per call and connection, shared by its Looks."""

    kind = "spawn"

    def __init__(self, connection: Connection, call: str):
        self._connection = connection
        self._call = call
        self._looks: list[Look] = []

    @staticmethod
    def join(connection: Connection, call: str, look: Look) -> Watch:
        with connection.watch_lock:
            watch = connection.calls.get(call)
            if not isinstance(watch, Watch):
                watch = connection.calls[call] = Watch(connection, call)
            watch._looks = [*watch._looks, look]
        watch.say()
        return watch

    def leave(self, look: Look) -> None:
        with self._connection.watch_lock:
            self._looks = [other for other in self._looks if other is not look]
            last = not self._looks
            if last:
                self._connection.calls.pop(self._call, None)
        if last and self._connection.error is None:
            from ingle.wire import api

            self._connection.say(api.UnwatchCall(self._call), kept=True)

    def say(self) -> None:
        for message, payload in self.again():
            self._connection.say(message, payload, kept=True)

    def again(self) -> Iterable[tuple[Any, Any]]:
        from ingle.wire import api

        wanted = sorted({index for look in self._looks for index in look.indexes if index not in look.results})
        if wanted:
            yield api.WatchCall(self._call, wanted), b""

    def ended(self, outputs: list[tuple[int, str, bytes, bool]]) -> None:
        for look in self._looks:
            for index, *result in outputs:
                if index in look.indexes:
                    look.results[index] = tuple(result)  # type: ignore[assignment]
            look.wake.set()

    def accepted(self, first: int, count: int) -> None:
        pass

    def yielded(self, attempt: int, first: int, items: list[tuple[bytes, bool]]) -> None:
        pass

    def state(self, state: api.CallState) -> None:
        for look in self._looks:
            look.answer = state
            look.answers += 1
            look.wake.set()

    def failed(self, error: Exception) -> None:
        for look in self._looks:
            look.error = error
            look.wake.set()
