"""Feeds one container its inputs, takes back what has not begun, and watches over the one that runs.

An input is first *waiting* (its file is being fetched, the socket is full, or feeding is paused), then *sent*: in the
kernel's queue or read by the runner. The runner takes one at a time and in order, so the first of the sent ones is
the one that runs; its body began when it was sent to an idle runner, or when the answer before it arrived. Nobody
tells us more: a message at each start would cost every call a system call and a wake-up.

Interrupting (time-out or cancel): take back everything unread. If the input is among it, it never runs. Else
CANCEL and CANCEL_SIGNAL go to the runner, and CANCEL_GRACE_S later `on_overdue` is called.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ingle.node.blob import BlobError, Blobs
from ingle.node.config import CANCEL_GRACE_S
from ingle.runner import wire

logger = logging.getLogger(__name__)

TIMEOUT, CANCELLED = "timeout", "cancelled"
#: Messages that wait for a runner that does not read its control socket.
CONTROL_WAITING_MAX = 4096


class Packets:
    """The sending side of a SOCK_SEQPACKET socket; what does not fit waits, in order."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self._waiting: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, packet: bytes) -> bool:
        """False if too much waits already."""
        if self._waiting:
            if len(self._waiting) >= CONTROL_WAITING_MAX:
                return False
            self._waiting.append(packet)
        elif not try_send(self.sock, packet):
            self._waiting.append(packet)
            self._loop.add_writer(self.sock.fileno(), self._go_on)
        return True

    def _go_on(self) -> None:
        while self._waiting:
            if not try_send(self.sock, self._waiting[0]):
                return
            self._waiting.popleft()
        self._loop.remove_writer(self.sock.fileno())

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self._loop.remove_writer(self.sock.fileno())


def try_send(sock: socket.socket, packet: bytes) -> bool:
    """False if the socket is full. A peer that is gone takes everything: its exit is noticed elsewhere."""
    try:
        sock.send(packet, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@dataclass(slots=True, eq=False)
class _Item:
    input: str
    packet: bytes = b""
    files: list[Path] = field(default_factory=list)
    fetching: asyncio.Task[None] | None = None


class Inbox:
    """`on_interrupt()`: the runner was told to end its input. `on_overdue(input, reason)`: it ignored its interruption. `on_lost_input(input, message)`: its blob cannot be had.
    `may_feed()`: False while the node must not take on more work."""

    def __init__(
        self, files: Path, blobs: Blobs, timeout_s: float, *,
        on_interrupt: Callable[[], None], on_overdue: Callable[[str, str], None],
        on_lost_input: Callable[[str, str], None], may_feed: Callable[[], bool],
    ):  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._files, self._blobs, self._timeout_s = files, blobs, timeout_s
        self._on_interrupt, self._on_overdue, self._on_lost_input, self._may_feed = (
            on_interrupt,
            on_overdue,
            on_lost_input,
            may_feed,
        )
        self._sock: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._control: Packets | None = None
        self._signal: Callable[[int], None] = lambda number: None
        self._held: dict[str, _Item] = {}
        self._waiting: deque[_Item] = deque()
        self._sent: dict[str, _Item] = {}
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._interrupted: tuple[str, str] | None = None
        self._doomed: dict[str, str] = {}
        self._grace: asyncio.TimerHandle | None = None
        self._writing = False
        self._names = 0

    # ---- life

    def attach(
        self, inbox: socket.socket, theirs: socket.socket, control: Packets, signal: Callable[[int], None]
    ) -> None:
        """The runner is ready. `theirs`: a duplicate of its end of the inbox."""
        self._sock, self._theirs, self._control, self._signal = inbox, theirs, control, signal
        self.feed()

    def close(self) -> None:
        """No more is fed; what is held can still be asked for."""
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        self._timer = self._grace = None
        for item in self._held.values():
            if item.fetching is not None:
                item.fetching.cancel()
        if self._writing and self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._writing = False
        self._sock = None

    # ---- what is there

    @property
    def running(self) -> str:
        """The input whose body runs, or ""."""
        return next(iter(self._sent), "")

    @property
    def interrupted(self) -> tuple[str, str] | None:
        """The input that is being interrupted, and why."""
        return self._interrupted

    def held(self) -> list[str]:
        """Everything that has not been answered, the running one first."""
        return [*self._sent, *(i for i in self._held if i not in self._sent)]

    def __contains__(self, input: str) -> bool:
        return input in self._held

    # ---- in

    def put(self, input: str, payload: bytes, blob: str = "") -> None:
        """Take on an input; one that is held already is left as it is."""
        if input in self._held:
            return
        item = self._held[input] = _Item(input)
        if blob:
            item.files.append(self._new_file())
            if not self._blobs.get_quick(blob, item.files[0]):
                item.fetching = self._loop.create_task(self._fetch(item, blob))
                return
            payload = b""
        elif len(payload) > wire.INLINE_BYTES_MAX:
            item.files.append(self._new_file())
            try:
                item.files[0].write_bytes(payload)
            except OSError as error:
                self._give_up(item, f"the argument could not be written to the node's disk: {error}")
                return
            payload = b""
        self._enqueue(item, payload)

    def feed(self) -> None:
        """Send what waits, as far as it goes."""
        sock = self._sock
        while self._waiting and sock is not None and self._may_feed():
            item = self._waiting[0]
            if not try_send(sock, item.packet):
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(sock.fileno(), self.feed)
                return
            self._waiting.popleft()
            self._sent[item.input] = item
            if len(self._sent) == 1:
                self._begin()
        if self._writing and sock is not None:
            self._writing = False
            self._loop.remove_writer(sock.fileno())

    def _enqueue(self, item: _Item, payload: bytes) -> None:
        name = item.files[0].name.encode() if item.files else b""
        item.packet = wire.pack(wire.INPUT, item.input.encode(), payload, name)
        self._waiting.append(item)
        self.feed()

    def _new_file(self) -> Path:
        self._names += 1
        return self._files / f"i{self._names}"

    async def _fetch(self, item: _Item, blob: str) -> None:
        try:
            await self._blobs.get_file(blob, item.files[0])
        except (BlobError, OSError) as error:
            item.fetching = None
            self._give_up(item, f"the argument could not be fetched: {error}")
            return
        item.fetching = None
        if self._held.get(item.input) is item:
            self._enqueue(item, b"")

    def _give_up(self, item: _Item, message: str) -> None:
        if self._held.get(item.input) is item:
            self._forget(item)
            self._on_lost_input(item.input, message)

    # ---- out

    def answered(self, input: str) -> str:
        """Its output came. "" or, if it was being interrupted, why.

        Raises:
            KeyError: the runner was not given this input, or has answered it.
        """
        item = self._sent.pop(input)
        self._forget(item)
        reason = ""
        if self._interrupted is not None and self._interrupted[0] == input:
            reason = self._interrupted[1]
            self._interrupted = None
            if self._grace is not None:
                self._grace.cancel()
                self._grace = None
        if self._sent:
            self._begin()
        elif self._waiting:
            self.feed()
        return reason

    def recall(self) -> list[str]:
        """Take back everything that has not begun, and forget it."""
        taken = self._take_back()
        taken += [item for item in self._held.values() if item.input not in self._sent and item not in taken]
        self._waiting.clear()
        for item in taken:
            self._forget(item)
        return [item.input for item in taken]

    def cancel(self, input: str) -> bool:
        """True: it had not begun and never will. False: it is being interrupted, or is not held."""
        item = self._held.get(input)
        if item is None:
            return False
        if input in self._sent:
            back = self._take_back()
            self._waiting.extendleft(other for other in reversed(back) if other is not item)
            if item not in back:
                if input == self.running:
                    self._interrupt(input, CANCELLED)
                else:
                    self._doomed[input] = CANCELLED  # read, but the answer before it is still on its way
                self.feed()
                return False
        self._forget(item)
        self.feed()
        return True

    def running_at_the_end(self) -> str:
        """The process is gone: the input that it had begun, or "". What it never read has not begun."""
        self._waiting.extendleft(reversed(self._take_back()))
        return self.running

    def grant(self, input: str, taken: int) -> None:
        """So many of the generator's items have been taken in all."""
        if input in self._sent and self._control is not None:
            self._control.send(wire.pack(wire.CREDIT, input.encode(), str(taken).encode()))

    def _take_back(self) -> list[_Item]:
        """The packets that the runner has not read: the kernel gives each to one reader only."""
        taken = []
        while self._theirs is not None:
            try:
                packet = self._theirs.recv(wire.MESSAGE_BYTES_MAX + 1, socket.MSG_DONTWAIT)
            except OSError:
                break
            if not packet:
                break
            item = self._sent.pop(wire.unpack(packet)[1].decode(), None)
            if item is not None:
                taken.append(item)
        return taken

    def _forget(self, item: _Item) -> None:
        self._held.pop(item.input, None)
        self._doomed.pop(item.input, None)
        if item in self._waiting:
            self._waiting.remove(item)
        if item.fetching is not None:
            item.fetching.cancel()
        for file in item.files:
            file.unlink(missing_ok=True)

    # ---- time

    def _begin(self) -> None:
        """The first of the sent ones begins now."""
        self._began = self._loop.time()
        if self._doomed and self.running in self._doomed:
            self._interrupt(self.running, self._doomed.pop(self.running))
        elif self._timer is None:
            self._timer = self._loop.call_at(self._began + self._timeout_s, self._ring)

    def _ring(self) -> None:
        """One timer for all inputs: it is set again when it rings, not at every input."""
        self._timer = None
        if not self._sent or self._interrupted is not None:
            return
        due = self._began + self._timeout_s
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._ring)
        else:
            self._interrupt(self.running, TIMEOUT)

    def _interrupt(self, input: str, reason: str) -> None:
        if self._interrupted is not None:
            return
        self._interrupted = (input, reason)
        self._grace = self._loop.call_later(CANCEL_GRACE_S, self._on_overdue, input, reason)
        if self._control is not None:
            self._control.send(wire.pack(wire.CANCEL, input.encode(), reason.encode()))
        self._signal(wire.CANCEL_SIGNAL)
        self._on_interrupt()
