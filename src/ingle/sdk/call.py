"""Calls with one input: `.remote` and `.spawn`."""

from __future__ import annotations

from ingle.model.call import INLINE_BYTES_MAX, REMOTE, RETURNED, SPAWN
from ingle.model.ids import CALL, new_id
from ingle.sdk.connection import connected, current
from ingle.sdk.outcome import fresh, open_aio, open_result
from ingle.sdk.reference import plain_function_id
from ingle.sdk.serialization import dumps, loads
from ingle.sdk.wake import AioWake, Wake, in_thread
from ingle.wire import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ingle.sdk.connection import Connection
    from ingle.sdk.function import Function
    from ingle.sdk.function_call import FunctionCall
    from ingle.sdk.outcome import Result

    AnyFunction = Function[..., Any, Any]

#: An event loop is not kept waiting for the sending of more than this.
LOOP_BYTES_MAX = 64 << 10


class OneInput:
    """A call with one input, and who waits for its end.

    Attributes:
        result: its outcome, once it has one.
        is_accepted: of a spawned call: it is on the server's disk.
        error: why it will have none.
    """

    __slots__ = (
        "_blob",
        "_connection",
        "_function",
        "_payload",
        "_wake",
        "error",
        "id",
        "is_accepted",
        "kind",
        "result",
    )

    def __init__(self, connection: Connection, kind: str, function: str, wake: Wake | AioWake):
        self.id = new_id(CALL)
        self.kind = kind
        self.result: Result | None = None
        self.is_accepted = False
        self.error: Exception | None = None
        self._connection = connection
        self._function = function
        self._wake = wake
        self._payload = b""
        self._blob = False

    def put(self, pieces: list[bytes], size: int) -> None:
        """Sends the input; blocks while it is on its way."""
        if size > INLINE_BYTES_MAX:
            self._payload = self._connection.blobs.put(pieces)
            self._blob = True
        else:
            self._payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._connection.calls[self.id] = self
        self._connection.say(self._message(), self._payload, kept=True)
        if self._connection.error is not None and self.error is None:  # lost between its entry and its sending
            self.failed(self._connection.error)

    def close(self) -> None:
        """Forgets the call; what is left of one that did not end is cancelled."""
        if self._connection.calls.pop(self.id, None) is None:
            return
        if self.result is None and self.error is None and self.kind == REMOTE and self._connection.error is None:
            self._connection.say(api.CloseCall(self.id))

    # ---- what the connection tells

    def ended(self, outputs: list[tuple[int, str, bytes, bool]]) -> None:
        if self.result is None:
            self.result = outputs[0][1:]
            self._wake.set()

    def accepted(self, first: int, count: int) -> None:
        self.is_accepted = True
        self._wake.set()

    def yielded(self, attempt: int, first: int, items: list[tuple[bytes, bool]]) -> None:
        pass

    def state(self, state: api.CallState) -> None:
        pass

    def failed(self, error: Exception) -> None:
        self.error = error
        self._wake.set()

    def again(self) -> Iterable[tuple[Any, Any]]:
        return [(self._message(), self._payload)]

    def _message(self) -> api.PutInputs:
        blobs = [0] if self._blob else []
        return api.PutInputs(self.id, self._function, self.kind, 0, [len(self._payload)], blobs)


def remote(function: AnyFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """See `Function.remote`."""
    known = plain_function_id(function, "remote")
    connection = current()
    wake = Wake()
    call = OneInput(connection, REMOTE, known, wake)
    pieces, size = dumps((args, kwargs))
    try:
        call.put(pieces, size)
        del pieces
        while call.result is None:
            if call.error is not None:
                raise fresh(call.error)
            wake.wait()
    finally:
        call.close()
    result = call.result
    if result[0] == RETURNED and not result[2]:
        return loads(result[1])
    return open_result(connection, result)


async def remote_aio(function: AnyFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """See `Function.remote`."""
    known = plain_function_id(function, "remote.aio")
    connection = await connected()
    wake = AioWake()
    call = OneInput(connection, REMOTE, known, wake)
    try:
        await _put_aio(call, args, kwargs)
        while call.result is None:
            if call.error is not None:
                raise fresh(call.error)
            await wake.wait()
    finally:
        call.close()
    return await open_aio(connection, call.result)


def spawn(function: AnyFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionCall[Any]:
    """See `Function.spawn`."""
    from ingle.sdk.function_call import FunctionCall

    known = plain_function_id(function, "spawn")
    wake = Wake()
    call = OneInput(current(), SPAWN, known, wake)
    try:
        call.put(*dumps((args, kwargs)))
        while not call.is_accepted:
            if call.error is not None:
                raise fresh(call.error)
            wake.wait()
    finally:
        call.close()
    return FunctionCall(call.id)


async def spawn_aio(function: AnyFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionCall[Any]:
    """See `Function.spawn`."""
    from ingle.sdk.function_call import FunctionCall

    known = plain_function_id(function, "spawn.aio")
    connection = await connected()
    wake = AioWake()
    call = OneInput(connection, SPAWN, known, wake)
    try:
        await _put_aio(call, args, kwargs)
        while not call.is_accepted:
            if call.error is not None:
                raise fresh(call.error)
            await wake.wait()
    finally:
        call.close()
    return FunctionCall(call.id)


async def _put_aio(call: OneInput, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    pieces, size = dumps((args, kwargs))
    if size > LOOP_BYTES_MAX:
        await in_thread(call.put, pieces, size)
    else:
        call.put(pieces, size)
