"""`.remote_gen`: items as the remote generator yields them, with back-pressure.

The generator may be YIELDS_AHEAD_MAX items ahead; how many have been taken is said each time half of that has been. A
new attempt begins at item 0 again: what has been yielded here already is left out, and counts as taken when it comes.
"""

from __future__ import annotations

from ingle.exceptions import ConnectionError
from ingle.model.call import GENERATOR, RETURNED, YIELDS_AHEAD_MAX
from ingle.model.ids import input_id
from ingle.sdk.call import OneInput
from ingle.sdk.connection import connected, current
from ingle.sdk.outcome import fresh, open_aio, open_result
from ingle.sdk.reference import generator_id
from ingle.sdk.serialization import dumps
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

CREDIT_STEP = YIELDS_AHEAD_MAX // 2


class GeneratorCall(OneInput):
    """A generator under way, and its items that have arrived and not been taken."""

    __slots__ = ("_arrived", "_expected", "_reached", "_said", "_taken")

    def __init__(self, connection: Connection, function: str, wake: Wake | AioWake):
        super().__init__(connection, GENERATOR, function, wake)
        self._arrived: list[tuple[bytes, bool]] = []
        self._reached = (0, 0)  # the attempt, and how many of its items have come: one value, as two threads look at it
        self._expected = 0  # index of the next item that is new to us
        self._taken = 0  # items that the caller has been given
        self._said = (0, 0)  # as `_credit`

    def take(self) -> Result | None:
        """The next item; None: wait for the next wake-up.

        Raises:
            StopIteration: the generator has ended.
            BaseException: it has failed.
        """
        if self._arrived:
            payload, is_blob = self._arrived.pop(0)
            self._taken += 1
            self._say_taken()
            return RETURNED, payload, is_blob
        if self.error is not None:
            raise fresh(self.error)
        if self.result is None:
            self._say_taken()  # a new attempt may have brought only what has been taken already
            return None
        if self.result[0] == RETURNED:
            raise StopIteration
        open_result(self._connection, self.result)
        return None

    def _credit(self) -> tuple[int, int]:
        """The attempt, and how many of its items have been taken."""
        attempt, reached = self._reached
        return attempt, min(reached, self._taken)

    def _say_taken(self) -> None:
        attempt, taken = self._credit()
        said = self._said[1] if attempt == self._said[0] else 0
        if taken - said >= CREDIT_STEP and self.result is None and self._connection.error is None:
            self._said = (attempt, taken)
            self._connection.say(api.Credit(input_id(self.id, 0), attempt, taken), kept=True)

    def yielded(self, attempt: int, first: int, items: list[tuple[bytes, bool]]) -> None:
        latest, reached = self._reached
        if attempt < latest:
            return  # of an attempt that is over
        known = self._expected - first
        if known < 0:
            self.failed(ConnectionError("items of a remote generator were lost with the connection"))
            return
        self._reached = (attempt, max(reached if attempt == latest else 0, first + len(items)))
        new = items[known:]
        self._expected += len(new)
        self._arrived += new
        self._wake.set()

    def close(self) -> None:
        if self._connection.calls.pop(self.id, None) is None:
            return
        if self.result is None and self._connection.error is None:
            self._connection.say(api.CloseCall(self.id))

    def again(self) -> Iterable[tuple[Any, Any]]:
        yield from super().again()
        # What was on its way may have been lost: without it the generator would wait for ever.
        attempt, taken = self._credit()
        if taken:
            yield api.Credit(input_id(self.id, 0), attempt, taken), b""


def remote_gen(function: AnyFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """See `Function.remote_gen`. What is wrong with the call itself is raised here, not at the first item."""
    known = generator_id(function)
    return _items(known, dumps((args, kwargs)))


def _items(function: str, packed: tuple[list[bytes], int]) -> Iterator[Any]:
    wake = Wake()
    connection = current()
    call = GeneratorCall(connection, function, wake)
    try:
        call.put(*packed)
        del packed
        while True:
            try:
                item = call.take()
            except StopIteration:
                return
            if item is None:
                wake.wait()
            else:
                yield open_result(connection, item)
    finally:
        call.close()


def remote_gen_aio(function: AnyFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
    """See `Function.remote_gen`."""
    known = generator_id(function)
    return _items_aio(known, dumps((args, kwargs)))


async def _items_aio(function: str, packed: tuple[list[bytes], int]) -> AsyncIterator[Any]:
    wake = AioWake()
    connection = await connected()
    call = GeneratorCall(connection, function, wake)
    try:
        await in_thread(call.put, *packed)
        del packed
        while True:
            try:
                item = call.take()
            except StopIteration:
                return
            if item is None:
                await wake.wait()
            else:
                yield await open_aio(connection, item)
    finally:
        call.close()
