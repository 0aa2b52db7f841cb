"""`.map`, `.starmap` and `.for_each`: many inputs, results as they come."""

from __future__ import annotations

from ingle.exceptions import InvalidError
from ingle.model.call import MAP, RETURNED
from ingle.model.ids import CALL, new_id
from ingle.sdk.connection import connected, current
from ingle.sdk.feeder import Feeder
from ingle.sdk.outcome import as_value, fresh, open_aio, open_result
from ingle.sdk.reference import plain_function_id
from ingle.sdk.wake import AioWake, Wake, in_thread
from ingle.wire import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Any

    from ingle.sdk.connection import Connection
    from ingle.sdk.function import Function
    from ingle.sdk.outcome import Result

    AnyFunction = Function[..., Any, Any]


class MapCall:
    """A map under way: its feeder, and the results that have arrived and not been taken.

    `take` says what the consumer does next; the consumer itself is `run_map` or `run_map_aio`.
    """

    kind = MAP

    def __init__(
        self, connection: Connection, function: str, kwargs: dict[str, Any] | None, wake: Wake | AioWake,
        ordered: bool, keep_going: bool,
    ):  # fmt: skip
        self.id = new_id(CALL)
        self.feeder = Feeder(connection, self.id, function, MAP, kwargs, wake.set)
        self.connection = connection
        self._wake = wake
        self._ordered = ordered
        self._keep_going = keep_going
        self._arrived: dict[int, Result] = {}
        self._next = 0
        self._failure: Result | None = None
        self._error: Exception | None = None
        connection.calls[self.id] = self

    def take(self) -> Result | None:
        """The next result to yield; None: wait for the next wake-up.

        Raises:
            StopIteration: that was all.
            BaseException: the map has failed.
        """
        if self._failure is not None:
            return self._failure
        if self._error is not None:
            raise fresh(self._error)
        if self._ordered:
            result = self._arrived.pop(self._next, None)
        else:
            try:
                result = self._arrived.pop(next(iter(self._arrived)))
            except (StopIteration, RuntimeError):  # none, or one arrived just then
                result = self._arrived.popitem()[1] if self._arrived else None
        if result is not None:
            self._next += 1
            self.feeder.free(1)
            return result
        if self.feeder.error is not None and (self.feeder.is_done and self._next >= self.feeder.count):
            raise self.feeder.error
        if self.feeder.is_done and self._next >= self.feeder.count:
            raise StopIteration
        return None

    def close(self) -> None:
        """Nothing more is wanted: what is left is cancelled, here and at the server."""
        self.feeder.close()
        if self.connection.calls.pop(self.id, None) is not None and self.connection.error is None:
            self.connection.say(api.CloseCall(self.id))

    # ---- what the connection tells

    def ended(self, outputs: list[tuple[int, str, bytes, bool]]) -> None:
        for index, outcome, payload, is_blob in outputs:
            if not self.feeder.settle(index):
                continue  # said twice
            result = (outcome, payload, is_blob)
            if outcome != RETURNED and not self._keep_going and self._failure is None:
                self._failure = result
            self._arrived[index] = result
        self._wake.set()

    def accepted(self, first: int, count: int) -> None:
        pass

    def yielded(self, attempt: int, first: int, items: list[tuple[bytes, bool]]) -> None:
        pass

    def state(self, state: api.CallState) -> None:
        pass

    def failed(self, error: Exception) -> None:
        self._error = error
        self._wake.set()

    def again(self) -> Iterable[tuple[Any, Any]]:
        return self.feeder.again()


def run_map(
    function: AnyFunction, inputs: tuple[Iterable[Any], ...] | None, kwargs: dict[str, Any] | None, ordered: bool,
    keep_going: bool, tuples: Iterable[Iterable[Any]] | None = None,
) -> Iterator[Any]:  # fmt: skip
    """See `Function.map`. What is wrong with the call itself is raised here, not at the first result."""
    known = plain_function_id(function, "map" if tuples is None else "starmap")
    items = argument_tuples(inputs, tuples)
    check_kwargs(kwargs)
    return _results(known, items, kwargs, ordered, keep_going)


def _results(
    function: str, items: Iterator[tuple[Any, ...]], kwargs: dict[str, Any] | None, ordered: bool, keep_going: bool
) -> Iterator[Any]:
    wake = Wake()
    call = MapCall(current(), function, kwargs, wake, ordered, keep_going)
    call.feeder.start(items)
    open_one = as_value if keep_going else open_result
    try:
        while True:
            try:
                result = call.take()
            except StopIteration:
                return
            if result is None:
                wake.wait()
            else:
                yield open_one(call.connection, result)
    finally:
        call.close()


def run_map_aio(
    function: AnyFunction, inputs: tuple[Any, ...] | None, kwargs: dict[str, Any] | None, ordered: bool,
    keep_going: bool, tuples: Any = None,
) -> AsyncIterator[Any]:  # fmt: skip
    """See `Function.map`; the inputs may be asynchronous."""
    known = plain_function_id(function, "map.aio" if tuples is None else "starmap.aio")
    check_kwargs(kwargs)
    sources = inputs if tuples is None else (tuples,)
    if any(hasattr(source, "__aiter__") for source in sources or ()):
        return _results_aio(known, async_tuples(sources or (), tuples is not None), True, kwargs, ordered, keep_going)
    return _results_aio(known, argument_tuples(inputs, tuples), False, kwargs, ordered, keep_going)


async def _results_aio(
    function: str, items: Any, is_async: bool, kwargs: dict[str, Any] | None, ordered: bool, keep_going: bool
) -> AsyncIterator[Any]:
    import asyncio

    wake = AioWake()
    call = MapCall(await connected(), function, kwargs, wake, ordered, keep_going)
    reader = asyncio.ensure_future(feed_aio(call.feeder, items)) if is_async else None
    if not is_async:
        call.feeder.start(items)
    try:
        while True:
            try:
                result = call.take()
            except StopIteration:
                return
            if result is None:
                await wake.wait()
                continue
            try:
                value = await open_aio(call.connection, result)
            except Exception as error:
                if not keep_going:
                    raise
                value = error
            yield value
    finally:
        call.close()
        if reader is not None:
            reader.cancel()


async def feed_aio(feeder: Feeder, items: AsyncIterator[tuple[Any, ...]]) -> None:
    """What the feeding thread does, for an asynchronous input."""
    from ingle.model.call import OUTSTANDING_MAX

    room = AioWake()
    feeder.set_room(room)
    try:
        async for args in items:
            # Pickling and sending may take a while with large arguments: not in the loop.
            await in_thread(feeder.put, args) if _is_large(args) else feeder.put(args)
            while feeder.count - feeder._freed >= OUTSTANDING_MAX and not feeder.has_room():
                await room.wait()
    except Exception as error:
        feeder.error = feeder.error or error
    await in_thread(feeder.finish)


def for_each(
    function: AnyFunction, inputs: tuple[Iterable[Any], ...], kwargs: dict[str, Any] | None, ignore_exceptions: bool
) -> None:
    """See `Function.for_each`."""
    for _ in run_map(function, inputs, kwargs, False, ignore_exceptions):
        pass


async def for_each_aio(
    function: AnyFunction, inputs: tuple[Any, ...], kwargs: dict[str, Any] | None, ignore_exceptions: bool
) -> None:
    """See `Function.for_each`."""
    async for _ in run_map_aio(function, inputs, kwargs, False, ignore_exceptions):
        pass


# ---- inputs


def argument_tuples(
    inputs: tuple[Iterable[Any], ...] | None, tuples: Iterable[Iterable[Any]] | None
) -> Iterator[tuple[Any, ...]]:
    """The positional arguments of each input.

    Raises:
        InvalidError: there is nothing to iterate over.
    """
    if tuples is not None:
        _check_iterable("starmap", tuples)
        return (tuple(args) for args in tuples)
    if not inputs:
        raise InvalidError("`.map()` needs at least one iterable, such as `.map([1, 2, 3])`")
    for source in inputs:
        _check_iterable("map", source)
    return zip(*inputs)  # noqa: B905 (ends with the shortest, as `map` does)


async def async_tuples(sources: tuple[Any, ...], starred: bool) -> AsyncIterator[tuple[Any, ...]]:
    """The same for inputs of which at least one is asynchronous; ends with the shortest."""
    iterators = [
        (source.__aiter__(), True) if hasattr(source, "__aiter__") else (iter(source), False) for source in sources
    ]
    while True:
        args = []
        for iterator, is_async in iterators:
            try:
                args.append(await iterator.__anext__() if is_async else next(iterator))
            except (StopIteration, StopAsyncIteration):
                return
        yield tuple(args[0]) if starred else tuple(args)


def check_kwargs(kwargs: object) -> None:
    if kwargs is not None and not isinstance(kwargs, dict):
        raise InvalidError(f"kwargs is a dictionary of keyword arguments that every input gets, not {kwargs!r}")


def _check_iterable(way: str, source: object) -> None:
    if hasattr(source, "__aiter__"):
        raise InvalidError(f"this input is asynchronous: use `.{way}.aio(...)`")
    if not hasattr(source, "__iter__") and not hasattr(source, "__getitem__"):
        raise InvalidError(f"`.{way}()` iterates over its input, and {type(source).__name__} cannot be iterated over")


def _is_large(args: tuple[Any, ...]) -> bool:
    return any(hasattr(arg, "__len__") and len(arg) > 1 << 16 for arg in args)
