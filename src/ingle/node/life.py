"""One container's life for one function: made or adopted, set up, fed, watched, ended, reported.

States: STARTING until the runner says READY, then READY; STOPPING once asked to stop; EXITED when its end is reported.
The order at the end is fixed: what is on the control socket, then what is in the pipes, then the report, then tear-down.
The container is hostile: whatever it says that it should not, it is killed with that as the reason.
"""

import asyncio
import logging
import signal
import socket
import time
from collections import deque
from typing import Protocol

from ingle import exceptions as ex
from ingle.model import call
from ingle.model import container as states
from ingle.model.container import PHASES
from ingle.node import ending, spare
from ingle.node.blob import BlobError, Blobs
from ingle.node.config import DRAIN_S
from ingle.node.container import Container, Needs
from ingle.node.ending import Ending
from ingle.node.ground import Ground
from ingle.node.inbox import CANCELLED, TIMEOUT, Inbox, Packets
from ingle.node.log import LogReader
from ingle.node.outbox import Items, Ledger, Outbox, Output
from ingle.node.relay import Relay
from ingle.node.runtime.base import RuntimeFault
from ingle.runner import wire
from ingle.wire import node as w
from ingle.wire.api import LogLine

logger = logging.getLogger(__name__)

#: Messages of one container that are handled in one turn of the loop.
MESSAGES_A_TURN = 64
#: Inputs that were answered lately: lines that come late are still theirs.
RECENT_MAX = 256
#: SETUP is sent in one go; the functions of a large app are the largest part of it.
SETUP_SEND_S = 10.0


class Host(Protocol):
    """What a life needs of the node that it is lived on."""

    ground: Ground
    blobs: Blobs
    ledger: Ledger
    spares: spare.Spares
    making: asyncio.Semaphore  #: containers whose process does not run yet

    def say(self, message: object, payload: bytes = b"") -> bool: ...

    def say_frame(self, frame: bytes) -> bool: ...

    def may_feed(self) -> bool: ...

    async def writable(self) -> None: ...

    async def ensure_image(self, life: "Life") -> None: ...


class Life:
    def __init__(self, host: Host, message: w.StartContainer):
        self.id, self.spec = message.container, message.function
        self.state = states.STARTING
        self.container: Container | None = None
        self.logs: LogReader | None = None
        self.relay: Relay | None = None
        self.ready_frame = b""
        self.exit_frame = b""
        #: Settled when it is ready, or has failed to become so.
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.said_s = 0.0  #: when one of the two was last said
        self._host, self._message = host, message
        self._loop = asyncio.get_running_loop()
        self._phases = {name: 0.0 for name in PHASES} | {"queued": message.queued_ms}
        self._from_spare = False
        self._control: socket.socket | None = None
        self._packets: Packets | None = None
        self._sockets: list[socket.socket] = []
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._end: Ending | None = None
        self._recent: deque[str] = deque(maxlen=RECENT_MAX)
        self._answered_one = False
        self._outbox: Outbox | None = None
        self.inbox: Inbox | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._starting: asyncio.Task[None] | None = None
        self._early: list[tuple[str, bytes, str]] = []
        self.task = self._loop.create_task(self._run(), name=f"life {self.id}")

    # ---- asked by the server

    def put(self, input: str, payload: bytes, blob: str) -> None:
        if self.inbox is None:
            self._early.append((input, payload, blob))
        else:
            self.inbox.put(input, payload, blob)

    def held(self) -> list[str]:
        early = [input for input, _, _ in self._early]
        return early + (self.inbox.held() if self.inbox is not None else [])

    def recall(self) -> list[str]:
        early = [input for input, _, _ in self._early]
        self._early.clear()
        return early + (self.inbox.recall() if self.inbox is not None else [])

    def cancel(self, input: str) -> None:
        if any(input == early for early, _, _ in self._early):
            self._early = [e for e in self._early if e[0] != input]
            self._answer_ourselves(input, "cancelled", "the call was cancelled")
        elif self.inbox is not None and self.inbox.cancel(input):
            self._answer_ourselves(input, "cancelled", "the call was cancelled")

    def stop(self, reason: str, grace_s: float) -> None:
        """SIGTERM, then SIGKILL; a start is given up at once."""
        if self.state in (states.STOPPING, states.EXITED):
            return
        was, self.state = self.state, states.STOPPING
        self._end = self._end or Ending("stopped", reason)
        if was == states.STARTING and self._starting is not None:
            self._starting.cancel()
        elif self.container is not None:
            self.container.signal(signal.SIGTERM)
            self._timers.append(self._loop.call_later(grace_s, self.container.kill))

    def kill(self, cause: str, message: str) -> None:
        """At once; the first reason stays."""
        self._end = self._end or Ending(cause, message)
        if self.container is not None:
            self.container.kill()
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()

    # ---- the life

    async def _run(self) -> None:
        self._starting = self._loop.create_task(self._start())
        if self._end is not None:  # told to end before it began
            self._starting.cancel()
        self._starting.add_done_callback(lambda _: self.started.set_result(None))
        try:
            await self._starting
            assert self.container is not None and self.container.gone is not None
            await asyncio.shield(self.container.gone)
        except asyncio.CancelledError:
            if not self._starting.cancelled():
                self._starting.cancel()
            self._end = self._end or Ending("stopped", "the node stops")
        except Exception as error:
            self._end = self._end or ending.of_error(error, self.logs.tail if self.logs else "")
            if not isinstance(error, (ex.Error, RuntimeFault, OSError, BlobError, ending.StartFailed)):
                logger.exception("container %s did not start", self.id)
        try:
            await self._finish()
        finally:
            await self._tear_down()

    async def _start(self) -> None:
        await self._host.ensure_image(self)
        bound_s = self.spec.startup_timeout_s
        try:
            await asyncio.wait_for(self._set_up(), bound_s)
        except (TimeoutError, asyncio.TimeoutError):
            raise ending.StartFailed(
                "startup_timeout", f"the container did not start within startup_timeout ({bound_s:g} s)"
            ) from None

    async def _set_up(self) -> None:
        spec, ground = self.spec, self._host.ground
        needs = Needs(spec.image, spec.source, spec.resources.cpu_milli, spec.limits, spec.block_network)
        container = self.container = await self._host.spares.take(needs)
        self._from_spare = container is not None
        if container is None:
            container = self.container = Container(self.id, needs, ground)
            async with self._host.making:
                await container.set_up()
        self._phases.update(container.phases_ms if not self._from_spare else {})
        begun = time.perf_counter()
        self.logs = LogReader(
            *container.take_pipes(), container=self.id, function=spec.name, say=self._say_lines, accepts=self._accepts
        )
        self._open_mailboxes(container)
        if spec.definition:
            await self._host.blobs.get_file(spec.definition, container.io_in / "definition")
        assert container.runner_said is not None
        await self._unless_gone(container.runner_said)
        now = time.perf_counter()
        self._phases["process"] += (now - begun) * 1000
        await self._send_setup(container)
        await self._unless_gone(self._ready)
        took_ms = (time.perf_counter() - now) * 1000
        self._phases["ready"] = max(0.0, took_ms - self._phases["import"] - self._phases["enter"])
        self._become_ready(container)

    def _open_mailboxes(self, container: Container) -> None:
        host = self._host
        self.inbox = Inbox(
            container.io_in, host.blobs, self.spec.timeout_s,
            on_interrupt=self._on_interrupt, on_overdue=self._on_overdue, on_lost_input=self._on_lost_input, may_feed=host.may_feed,
        )  # fmt: skip
        self._outbox = Outbox(
            self.id, container.out, host.blobs, host.ledger,
            say=host.say_frame, before_send=self.logs.drain if self.logs else lambda: None,
            on_fault=self._violation, failed=ending.failure,
        )  # fmt: skip
        self.relay = Relay(
            self.id, self.spec.app_id, container.io_in, container.out, host.blobs,
            say=self._say_client, writable=host.writable,
        )  # fmt: skip
        container.let_client_in = self.relay.let_in
        early, self._early = self._early, []
        for input, payload, blob in early:
            self.inbox.put(input, payload, blob)

    async def _unless_gone(self, wanted: "asyncio.Future[None]") -> None:
        assert self.container is not None and self.container.gone is not None
        if wanted.done():
            return wanted.result()
        ends: set[asyncio.Future] = {wanted, self.container.gone}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            self._read_control()  # START_FAILED may stand there
        if not wanted.done():
            raise ending.Died(self.container.gone.result().code)
        return wanted.result()

    async def _send_setup(self, container: Container) -> None:
        inbox, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sockets = [inbox, theirs, control]
        inbox.setblocking(False)
        control.setblocking(False)
        self._control, self._packets = control, Packets(control)
        self._loop.add_reader(control.fileno(), self._read_control)
        message = ending.setup_message(self._message)
        runner, container.runner = container.runner, None
        assert runner is not None
        try:
            sent = socket.send_fds(runner, [message], [theirs.fileno(), far.fileno()])
            if sent < len(message):
                await asyncio.wait_for(self._loop.sock_sendall(runner, message[sent:]), SETUP_SEND_S)
        except OSError as error:
            raise ending.StartFailed("server", f"the runner did not take its setup: {error}") from error
        finally:
            far.close()
            runner.close()

    def _become_ready(self, container: Container) -> None:
        if self._end is not None:
            return
        self.state = states.READY
        assert self.inbox is not None and self._packets is not None
        phases = {name: round(ms, 3) for name, ms in self._phases.items()}
        self.ready_frame = w.CODEC.encode(w.ContainerReady(self.id, phases, self._from_spare))
        self._say_state(self.ready_frame)
        self.inbox.attach(self._sockets[0], self._sockets[1], self._packets, container.signal)

    async def _finish(self) -> None:
        """The process is gone, or has to go: read out what it left, and report."""
        container, end = self.container, self._end
        code = -9
        if container is not None and container.started is not None and container.gone is not None:
            if not container.gone.done():
                container.kill()
            await asyncio.wait({container.gone}, timeout=DRAIN_S)
            code = container.gone.result().code if container.gone.done() else -9
        was_ready = bool(self.ready_frame)
        self._read_control(all_of_it=True)
        if self.inbox is not None:
            self.inbox.close()
        if self._outbox is not None:
            self._outbox.flush()
            await self._outbox.drained(DRAIN_S)
        until = self._loop.time() + DRAIN_S
        while self.logs is not None and not self.logs.finish() and self._loop.time() < until:
            await asyncio.sleep(0.01)
        running = self.inbox.running_at_the_end() if self.inbox is not None else ""
        interrupted = self.inbox.interrupted if self.inbox is not None else None
        end = ending.judge(
            self._end or end, code=code, oom_kills=_oom_kills(container), running=running, was_ready=was_ready,
            memory_mib=self.spec.limits.memory_mib, interrupted=interrupted, tail=self.logs.tail if self.logs else "",
        )  # fmt: skip
        self._host.ledger.forget_items(running)
        lost = [input for input in self.held() if input != running]
        self.state = states.EXITED
        report = w.ContainerExited(self.id, end.cause, end.message, end.outcome, lost, running)
        self.exit_frame = w.CODEC.encode(report, end.payload)
        self._say_state(self.exit_frame)

    async def _tear_down(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._control is not None and self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
        if self._packets is not None:
            self._packets.close()
        for one in (self.inbox, self._outbox, self.relay, self.logs):
            if one is not None:
                one.close()
        for sock in self._sockets:
            sock.close()
        if self.container is not None:
            await self.container.tear_down()

    # ---- said by the runner

    def _read_control(self, all_of_it: bool = False) -> None:
        sock = self._control
        if sock is None or sock.fileno() < 0:
            return
        for _ in range(MESSAGES_A_TURN * (100 if all_of_it else 1)):
            try:
                data = sock.recv(wire.MESSAGE_BYTES_MAX + 1)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(sock.fileno())
                if not all_of_it:  # the process is ending; one that is not gets no second voice
                    self._timers.append(self._loop.call_later(DRAIN_S, self._violation, "it closed its control socket"))
                break
            try:
                self._hear(data)
            except (wire.WireError, KeyError, ValueError, IndexError) as error:
                self._violation(f"message it should not have sent ({error})")
                break
        if self._outbox is not None:
            self._outbox.flush()

    def _hear(self, data: bytes) -> None:
        if len(data) > wire.MESSAGE_BYTES_MAX:
            raise wire.WireError("longer than MESSAGE_BYTES_MAX")
        kind, *parts = wire.unpack(data)
        if kind == wire.OUTPUTS:
            if len(parts) % 5:
                raise wire.WireError("outputs come in fives")
            for at in range(0, len(parts), 5):
                self._hear_output(*parts[at : at + 5])
        elif kind == wire.YIELDED:
            self._hear_items(parts)
        elif kind == wire.READY and not self._ready.done():
            for name, value in wire.unpack_pairs(parts).items():
                if name.decode() in self._phases:
                    self._phases[name.decode()] = float(value)
            self._ready.set_result(None)
        elif kind == wire.START_FAILED and not self._ready.done():
            _, _, text, _, _ = wire.unpack_raised(parts[0])
            self._ready.set_exception(ending.StartFailed("", text, parts[0]))
            self._ready.exception()  # looked at: no complaint if nobody waits any more
        else:
            raise wire.WireError(f"{kind[:20]!r}")

    def _hear_output(self, input: bytes, outcome: bytes, run_us: bytes, payload: bytes, file: bytes) -> None:
        assert self.inbox is not None and self._outbox is not None
        output = Output(input.decode(), outcome.decode(), int(run_us) / 1000, payload, file)
        if output.outcome not in (call.RETURNED, call.RAISED):
            raise wire.WireError(f"outcome {outcome[:20]!r}")
        if self.state == states.STOPPING and output.outcome == call.RAISED:
            return  # most likely our SIGTERM speaking: it runs again elsewhere
        reason = self.inbox.answered(output.input)
        self._recent.append(output.input)
        if reason == CANCELLED or (reason == TIMEOUT and output.outcome != call.RETURNED):
            text = ending.interruption(reason, self.spec.timeout_s)
            output = Output(output.input, call.FAILED, output.run_ms, ending.failure(reason, text))
        self._outbox.add(output)
        if self.spec.single_use and not self._answered_one:
            self._answered_one = True
            self._loop.call_soon(self.stop, "its one input is done", 2.0)

    def _hear_items(self, parts: list[bytes]) -> None:
        assert self.inbox is not None and self._outbox is not None
        input, first, rest = parts[0].decode(), int(parts[1]), parts[2:]
        if input not in self.inbox or len(rest) % 2 or not self.spec.is_generator:
            raise wire.WireError("items of an input that it does not have")
        payloads, files = rest[::2], rest[1::2]
        if first == 0:
            self._host.ledger.forget_items(input)
        if first + len(payloads) > self._host.ledger.taken_so_far(input) + wire.YIELDS_AHEAD_MAX:
            raise wire.WireError("more items than it was granted")
        self._outbox.add(Items(input, first, payloads, files, []))

    def _violation(self, text: str) -> None:
        logger.warning("container %s is killed: %s", self.id, text)
        self.kill("killed", f"the container broke the rules of its node and was killed: {text}")

    # ---- said by its parts

    def _on_interrupt(self) -> None:
        """It may be stuck in a write to a full pipe that nobody reads just now: make room, so that it can obey."""
        if self.logs is not None:
            for delay_s in (0.01, 0.2, 1.0):
                self._timers.append(self._loop.call_later(delay_s, self.logs.drain))

    def _on_overdue(self, input: str, reason: str) -> None:
        text = ending.interruption(reason, self.spec.timeout_s)
        self.kill(reason, f"{text}, ignored its interruption, and was killed")

    def _on_lost_input(self, input: str, message: str) -> None:
        self._answer_ourselves(input, "server", message)

    def _answer_ourselves(self, input: str, code: str, text: str) -> None:
        output = Output(input, call.FAILED, 0.0, ending.failure(code, text))
        if self._outbox is None:
            self._host.ledger.keep(self.id, output)
            for frame in self._host.ledger.frames(input):
                self._host.say_frame(frame)
            return
        self._outbox.add(output)
        self._outbox.flush()

    def _accepts(self, input: str) -> bool:
        return (self.inbox is not None and input in self.inbox) or input in self._recent

    def _say_lines(self, lines: list[LogLine]) -> None:
        self._host.say(w.NodeLogs(self.id, self.spec.app_id, lines))

    def _say_client(self, client: str, frame: bytes, closed: bool) -> None:
        self._host.say(w.FromClient(self.id, client, closed), frame)

    def _say_state(self, frame: bytes) -> None:
        self._host.say_frame(frame)
        self.said_s = self._loop.time()


def _oom_kills(container: Container | None) -> int:
    if container is None or container.cgroup is None:
        return 0
    try:
        return int(container.cgroup.oom_kills())
    except OSError:
        return 0
