"""The main loop for ordinary functions and generators: read an input, run it in the main thread, answer."""

import posix
import sys
from _socket import socket
from time import perf_counter_ns

from ingle.runner import context, control, payload, stdio, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

LOADING, RUNNING, DUMPING = 0, 1, 2  # how far an input has come

_RETURNED, _RAISED = b"returned", b"raised"
_COROUTINE = 0x80  # inspect.CO_COROUTINE
_ASYNC_GENERATOR = 0x200


class IsAsync(Exception):
    """What the function returned has to go on in an event loop."""


class Server:
    """One function, one input at a time."""

    def __init__(
        self, inbox: socket, node: control.Control, function: "Callable[..., Any]", generator: bool, name: str
    ) -> None:
        self.inbox = inbox
        self.control = node
        self.function = function
        self.generator = generator
        self.name = name  #: the function's, for messages
        self.buffer = memoryview(bytearray(wire.MESSAGE_BYTES_MAX))
        self.out = sys.stdout
        self.is_init = posix.getpid() == 1

    def run(self) -> "tuple[bytes, Any, int] | None":
        """Serves inputs until the process ends, or the function proves asynchronous. Then it returns: what `tasks.TaskServer`
        has to go on with (the input, what the function returned, when its body began), None if nothing has begun.
        """
        if is_async(self.function):
            return None
        receive, buffer = self.inbox.recv_into, self.buffer
        while True:
            size = receive(buffer)
            if not size:
                control.leave(0)
            name, data, file = wire.split_input(buffer[:size])
            self.control.begun = context.input_id = name
            begun = self._run_input(name, data, file)
            if begun is not None:
                return begun

    def _run_input(self, name: bytes, data: memoryview, file: bytes) -> "tuple[bytes, Any, int] | None":
        node = self.control
        value: Any = None
        arguments: Any = None
        stage = LOADING
        began = perf_counter_ns()
        try:
            try:
                node.running = name
                if node.cancelled and name in node.cancelled:
                    raise control.cancellation(node.cancelled[name])
                arguments = payload.load(data, file)
                stage = RUNNING
                began = perf_counter_ns()
                value = self.function(*arguments[0], **arguments[1])
                if self.generator or type(value) is CoroutineType:
                    if type(value) is CoroutineType or hasattr(value, "__anext__"):
                        raise IsAsync
                    node.running = b""
                    self._iterate(name, value)
                    value = None
            finally:
                node.running = b""
                took = perf_counter_ns() - began
            stage = DUMPING
            outcome = _RETURNED
            result, stored = (b"", b"") if self.generator else payload.dump(value)
        except IsAsync:
            outcome = b""
        except BaseException as error:
            outcome = _RAISED
            result, stored = self.pack(error, stage, value)
        arguments = None
        if not outcome:
            return name, value, began
        value = None
        self.answer(name, outcome, took // 1000, result, stored)
        return None

    def _iterate(self, name: bytes, items: "Any") -> None:
        """Runs a generator, at most YIELDS_AHEAD_MAX items ahead of those that have been taken."""
        node = self.control
        node.taken = 0
        index = 0
        following = items.__next__ if hasattr(items, "__next__") else iter(items).__next__
        throw = None
        while True:
            try:
                node.running = name
                if name in node.cancelled:
                    throw = throw or control.cancellation(node.cancelled.pop(name))
                if throw is not None:
                    error, throw = throw, None
                    if not hasattr(items, "throw"):
                        raise error
                    item = items.throw(error)
                else:
                    item = following()
            except StopIteration:
                return
            finally:
                node.running = b""
            self.send_item(name, index, item)
            index += 1
            throw = self._wait_for_credit(name, index)

    def _wait_for_credit(self, name: bytes, index: int) -> BaseException | None:
        """Until the next item may be sent; or the cancellation that came instead."""
        node = self.control
        if index - node.taken < wire.YIELDS_AHEAD_MAX:
            return None
        try:
            node.running = name
            node.waiting = True
            while index - node.taken >= wire.YIELDS_AHEAD_MAX and name not in node.cancelled:
                node.wait()
            node.waiting = False
            node.drain()  # what came together with the credit has raised its signal in vain
        except BaseException as error:
            return error
        finally:
            node.waiting = False
            node.running = b""
        return None

    def send_item(self, name: bytes, index: int, item: object) -> None:
        try:
            data, file = payload.dump(item)
        except OSError:
            raise
        except Exception as error:
            from ingle.runner import raised

            raise raised.unpicklable_result(self.name, item, error) from error
        self.flush()
        self._send(wire.pack(wire.YIELDED, name, b"%d" % index, data, file))

    def pack(self, error: BaseException, stage: int, value: object) -> tuple[bytes, bytes]:
        """Payload and file of what an input raised."""
        if self.control.over:
            self.end(error)
        from ingle.runner import raised

        hint = ""
        if stage == LOADING and type(error).__name__ != "InputCancellation":
            hint = raised.arguments_hint(self.name, error)
        elif stage == DUMPING and not isinstance(error, OSError):
            error = raised.unpicklable_result(self.name, value, error)
        data = raised.pack(error, hint)
        try:
            return payload.store(data)
        except OSError as fault:
            return raised.cut(raised.pack(fault), wire.INLINE_BYTES_MAX), b""

    def answer(self, name: bytes, outcome: bytes, took_us: int, result: bytes, file: bytes) -> None:
        node = self.control
        self.flush()
        if node.over:
            self.end(None)
        self._send(wire.pack(wire.OUTPUTS, name, outcome, b"%d" % took_us, result, file))
        node.end(name)
        context.input_id = b""
        if stdio.spawned:
            stdio.spawned = False
            if self.is_init:
                from ingle.runner import reap

                reap.reap()

    def flush(self) -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            if sys.stdout is not self.out:
                self.out.flush()
        except Exception:  # closed by user code, or replaced by something that is no stream
            control.flush()

    def end(self, error: BaseException | None) -> "NoReturn":
        """No further input: the container is stopped, or this is a child that user code forked and let return."""
        if not self.control.forked:
            control.leave_politely()
        if error is None:
            control.leave(0)
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            control.leave(error.code)
        sys.excepthook(type(error), error, error.__traceback__)
        control.leave(1)

    def _send(self, message: bytes) -> None:
        try:
            self.control.send(message)
        except OSError:
            control.leave(1)  # the node is gone


async def _coroutine() -> None:
    pass


_sample = _coroutine()
CoroutineType = type(_sample)
_sample.close()


def is_async(function: object) -> bool:
    """Does calling it make a coroutine or an asynchronous generator, as far as its code says?"""
    while not hasattr(function, "__code__"):
        inner: object = getattr(function, "__func__", None) or getattr(function, "func", None)
        if inner is None or inner is function:
            return False
        function = inner
    return bool(function.__code__.co_flags & (_COROUTINE | _ASYNC_GENERATOR))
