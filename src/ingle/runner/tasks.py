"""The main loop for asynchronous functions: one event loop for the container's life, one input at a time.

Loaded when the function is asynchronous. The loop runs between inputs as well, so what user code left in it (a connection
pool, a background task) lives on. Each input is a task of its own, in a context of its own. Nothing is raised into it:
a cancel is handed to the loop, which looks whether that input's task still runs.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextvars import ContextVar, copy_context
from time import perf_counter_ns
from typing import Any, NoReturn

from ingle.runner import context, control, payload, wire
from ingle.runner.serve import DUMPING, LOADING, RUNNING, CoroutineType, Server

_input_id: "ContextVar[bytes]" = ContextVar("ingle_input_id", default=b"")


class TaskServer:
    """What `Server` is for ordinary functions."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._control = server.control
        self._inbox = server.inbox
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._task: asyncio.Task[None] | None = None
        self._name = b""  # the input whose user code runs: the one that a cancel may hit
        self._reading = False
        self._context = copy_context()
        self._credit: asyncio.Future[None] | None = None

    def run(self, first: tuple[bytes, Any, int] | None) -> NoReturn:
        context.input_variable = _input_id
        node = self._control
        node.on_cancel, node.on_credit, node.busy = self._cancel, self._on_credit, lambda: self._task is not None
        self._loop.add_reader(node.fileno(), node.drain)  # for kernels where the socket raises no signal
        node.defer = self._loop.call_soon_threadsafe
        if first is not None:
            self._begin(self._run_input(first[0], memoryview(b""), b"", first))
        else:
            self._loop.call_soon(self._next)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue  # raised by something that user code left in the loop: the container lives on

    # ---- the inbox

    def _on_readable(self) -> None:
        if self._task is not None:
            # Another input waits while one runs. Being told so again and again would cost a core.
            self._loop.remove_reader(self._inbox.fileno())
            self._reading = False
            return
        self._next()

    def _next(self) -> None:
        try:
            size = self._inbox.recv_into(self._server.buffer, 0, _DONT_WAIT)
        except BlockingIOError:
            if not self._reading:
                self._reading = True
                self._loop.add_reader(self._inbox.fileno(), self._on_readable)
            return
        if not size:
            control.leave(0)
        try:
            name, data, file = wire.split_input(self._server.buffer[:size])
        except wire.WireError as error:
            self._server.end(error)
        self._control.begun = context.input_id = name
        self._begin(self._run_input(name, data, file, None))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        # From the runner's own context: the one around may be that of the input before.
        self._task = self._context.run(self._loop.create_task, work)

    # ---- one input

    async def _run_input(
        self, name: bytes, data: memoryview, file: bytes, first: tuple[bytes, Any, int] | None
    ) -> None:
        server, node = self._server, self._control
        _input_id.set(name)
        value: Any = None
        stage = LOADING
        began = perf_counter_ns()
        outcome = b"returned"
        try:
            try:
                self._name = name
                if node.cancelled and name in node.cancelled:
                    raise asyncio.CancelledError
                if first is not None:
                    _, value, began = first
                else:
                    arguments = payload.load(data, file)
                    began = perf_counter_ns()
                    stage = RUNNING
                    value = server.function(*arguments[0], **arguments[1])
                    arguments = None
                stage = RUNNING
                first = None
                if type(value) is CoroutineType or (hasattr(value, "__await__") and not server.generator):
                    value = await value
                if server.generator:
                    await self._iterate(name, value)
                    value = None
            finally:
                self._name = b""
                took = perf_counter_ns() - began
            stage = DUMPING
            result, stored = (b"", b"") if server.generator else payload.dump(value)
        except BaseException as error:
            outcome = b"raised"
            result, stored = server.pack(error, stage, value)
        value = None
        # Nothing is awaited from here on, so a cancel that was under way finds no place to be raised.
        server.answer(name, outcome, took // 1000, result, stored)
        self._task = None
        self._next()

    async def _iterate(self, name: bytes, items: Any) -> None:
        node = self._control
        node.taken = 0
        index = 0
        if not hasattr(items, "__anext__"):
            items = _as_async(items) if not hasattr(items, "__aiter__") else items.__aiter__()
        step = items.__anext__()
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                return
            self._server.send_item(name, index, item)
            index += 1
            try:
                while index - node.taken >= wire.YIELDS_AHEAD_MAX:
                    self._credit = self._loop.create_future()
                    await self._credit
            except asyncio.CancelledError as error:
                if not hasattr(items, "athrow"):
                    raise
                step = items.athrow(error)
            else:
                step = items.__anext__()

    # ---- called by the loop for messages

    def _cancel(self, name: bytes, reason: bytes) -> None:
        if self._task is not None and name == self._name:
            self._task.cancel()
        else:
            self._control.remember(name, reason)

    def _on_credit(self) -> None:
        if self._credit is not None and not self._credit.done():
            self._credit.set_result(None)


_DONT_WAIT = 0x40  # MSG_DONTWAIT


async def _as_async(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
