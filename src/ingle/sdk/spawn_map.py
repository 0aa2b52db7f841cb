"""`.spawn_map`: many inputs, all on the server's disk when it returns."""

from __future__ import annotations

from ingle.exceptions import InvalidError
from ingle.model.call import SPAWN
from ingle.model.ids import CALL, new_id
from ingle.sdk.connection import connected, current
from ingle.sdk.feeder import Feeder
from ingle.sdk.function_call import FunctionCall
from ingle.sdk.map import argument_tuples, async_tuples, check_kwargs, feed_aio
from ingle.sdk.outcome import fresh
from ingle.sdk.reference import plain_function_id
from ingle.sdk.wake import AioWake, Wake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ingle.sdk.connection import Connection
    from ingle.sdk.function import Function
    from ingle.wire import api

    AnyFunction = Function[..., Any, Any]


class SpawnMapCall:
    """Spawned inputs that are on their way to the server's disk."""

    kind = SPAWN

    def __init__(self, connection: Connection, function: str, kwargs: dict[str, Any] | None, wake: Wake | AioWake):
        self.id = new_id(CALL)
        self.feeder = Feeder(connection, self.id, function, SPAWN, kwargs, wake.set)
        self._connection = connection
        self._wake = wake
        self._accepted = 0
        self._error: Exception | None = None
        connection.calls[self.id] = self

    def is_complete(self) -> bool:
        """Whether the input is at its end and all of it accepted.

        Raises:
            BaseException: what the input, or sending it, raised.
        """
        if self._error is not None:
            raise fresh(self._error)
        if self.feeder.error is not None:
            raise self.feeder.error
        if not self.feeder.is_done or self._accepted < self.feeder.count:
            return False
        if not self.feeder.count:
            raise InvalidError("`.spawn_map()` got an empty input: there is nothing to spawn")
        return True

    def close(self) -> None:
        self.feeder.close()
        self._connection.calls.pop(self.id, None)

    # ---- what the connection tells

    def accepted(self, first: int, count: int) -> None:
        fresh_ones = sum(self.feeder.settle(index) for index in range(first, first + count))
        self._accepted += fresh_ones
        self.feeder.free(fresh_ones)
        self._wake.set()

    def ended(self, outputs: list[tuple[int, str, bytes, bool]]) -> None:
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


def spawn_map(
    function: AnyFunction, inputs: tuple[Iterable[Any], ...], kwargs: dict[str, Any] | None
) -> FunctionCall[Any]:
    """See `Function.spawn_map`."""
    known = plain_function_id(function, "spawn_map")
    items = argument_tuples(inputs, None)
    check_kwargs(kwargs)
    wake = Wake()
    call = SpawnMapCall(current(), known, kwargs, wake)
    call.feeder.start(items)
    try:
        while not call.is_complete():
            wake.wait()
    finally:
        call.close()
    return FunctionCall(call.id)


async def spawn_map_aio(
    function: AnyFunction, inputs: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> FunctionCall[Any]:
    """See `Function.spawn_map`."""
    import asyncio

    known = plain_function_id(function, "spawn_map.aio")
    check_kwargs(kwargs)
    is_async = any(hasattr(source, "__aiter__") for source in inputs)
    items: Any = async_tuples(inputs, False) if is_async else argument_tuples(inputs, None)
    wake = AioWake()
    call = SpawnMapCall(await connected(), known, kwargs, wake)
    reader = asyncio.ensure_future(feed_aio(call.feeder, items)) if is_async else None
    if not is_async:
        call.feeder.start(items)
    try:
        while not call.is_complete():
            await wake.wait()
    finally:
        call.close()
        if reader is not None:
            reader.cancel()
    return FunctionCall(call.id)
