"""`.remote_gen`: items as the remote generator yields them, with back-pressure.

The generator may be YIELDS_AHEAD_MAX items ahead; half of that is granted anew each time half has been taken. A new
attempt begins at item 0 again: what has been yielded here already is left out.
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

    __slots__ = ("_arrived", "_attempt", "_expected", "_taken", "_uncredited")

    def __init__(self, connection: Connection, function: str, wake: Wake | AioWake):
        super().__init__(connection, GENERATOR, function, wake)
        self._arrived: list[tuple[bytes, bool]] = []
        self._attempt = 0
        self._expected = 0  # index of the next item that is new to us
        self._uncredited = 0

    def take(self) -> Result | None:
        """The next item; None: wait for the next wake-up.

        Raises:
            StopIteration: the generator has ended.
            BaseException: it has failed.
        """
        if self._arrived:
            payload, is_blob = self._arrived.pop(0)
            self._credit(1)
            return RETURNED, payload, is_blob
        if self.error is not None:
            raise fresh(self.error)
        if self.result is None:
            return None
        if self.result[0] == RETURNED:
            raise StopIteration
        open_result(self._connection, self.result)
        return None

    def _credit(self, items: int) -> None:
        self._uncredited += items
        if self._uncredited >= CREDIT_STEP and self.result is None and self._connection.error is None:
            items, self._uncredited = self._uncredited, 0
            self._connection.say(api.Credit(input_id(self.id, 0), items), kept=True)

    def yielded(self, attempt: int, first: int, items: list[tuple[bytes, bool]]) -> None:
        if attempt < self._attempt:
            return  # of an attempt that is over
        self._attempt = attempt
        known = self._expected - first
        if known < 0:
            self.failed(ConnectionError("items of a remote generator were lost with the connection"))
            return
        new = items[known:]
        self._expected += len(new)
        self._uncredited += len(items) - len(new)
        self._arrived += new
        self._wake.set()

    def close(self) -> None:
        if self._connection.calls.pop(self.id, None) is None:
            return
        if self.result is None and self._connection.error is None:
            self._connection.say(api.CloseCall(self.id))

    def again(self) -> Iterable[tuple[Any, Any]]:
        yield from super().again()
        # Credit on its way may have been lost: without it the generator would wait for ever.
        yield api.Credit(input_id(self.id, 0), CREDIT_STEP), b""


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
