"""What containers answer: values out of their files, batches to the server, and everything kept until it is acknowledged."""

import asyncio
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ingle.model.call import INLINE_BYTES_MAX
from ingle.node.blob import BlobError, Blobs
from ingle.node.config import BULK_BYTES_MAX, UNACKNOWLEDGED_BYTES_MAX
from ingle.wire import node as w

#: Of the outputs in one frame.
BATCH_BYTES_MAX = 8 << 20
NAME_BYTES_MAX = 128


class FileRefused(RuntimeError):
    """A container named a file that it may not name."""


class OutFile:
    """A file that a container put into `out/`: opened by the node, and deleted when done with.

    The container is hostile and may change the directory at any time, so the file is opened once, without following
    links, and everything after goes through the descriptor.

    Raises (at entry):
        FileRefused: it is no plain file of this directory, or it is too large.
    """

    def __init__(self, directory: int, name: bytes):
        self._directory, self._name = directory, name
        self.fd = -1
        self.size = 0
        self.delete = True

    def __enter__(self) -> "OutFile":
        name = self._name
        if not name or len(name) > NAME_BYTES_MAX or b"/" in name or b"\0" in name or name in (b".", b".."):
            raise FileRefused(f"it named the file {name[:60]!r}")
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self.fd = os.open(name, flags, dir_fd=self._directory)
        except OSError as error:
            raise FileRefused(f"its file {name!r} cannot be opened: {error.strerror}") from None
        found = os.fstat(self.fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > BULK_BYTES_MAX:
            self.__exit__()
            raise FileRefused(f"{name!r} is no plain file of at most {BULK_BYTES_MAX} bytes")
        self.size = found.st_size
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        if self.delete:
            try:
                os.unlink(self._name, dir_fd=self._directory)
            except OSError:
                pass

    @property
    def small(self) -> bool:
        return self.size <= INLINE_BYTES_MAX

    def read(self) -> bytes:
        """Of a small one: all of it."""
        with open(self.fd, "rb", closefd=False) as file:
            return file.read(INLINE_BYTES_MAX)

    async def to_blob(self, blobs: Blobs) -> str:
        return blobs.put_quick(self.fd) or await blobs.put_file(self.fd)


@dataclass(slots=True)
class Output:
    """An attempt that has ended."""

    input: str
    outcome: str
    run_ms: float
    payload: bytes
    file: bytes = b""  #: in `out/`; afterwards empty
    blob: bool = False  #: the payload is a blob's id


@dataclass(slots=True)
class Items:
    """Items of a generator."""

    input: str
    first: int
    payloads: list[bytes]
    files: list[bytes]
    blobs: list[int]


class Ledger:
    """All outputs of a node that the server has not acknowledged, and the items of generators that no client has taken."""

    def __init__(self) -> None:
        self._outputs: dict[str, tuple[str, Output]] = {}
        self._items: dict[str, tuple[str, deque[tuple[int, bytes, bool]]]] = {}
        self._taken: dict[str, int] = {}  #: of generators in `_items`
        self.bytes = 0

    @property
    def full(self) -> bool:
        return self.bytes > UNACKNOWLEDGED_BYTES_MAX

    def keep(self, container: str, output: Output) -> None:
        self.acknowledge([output.input], items_too=False)
        self._outputs[output.input] = (container, output)
        self.bytes += len(output.payload)

    def keep_items(self, container: str, items: Items) -> None:
        _, kept = self._items.setdefault(items.input, (container, deque()))
        for n, payload in enumerate(items.payloads):
            kept.append((items.first + n, payload, n in items.blobs))
            self.bytes += len(payload)

    def taken(self, input: str, count: int) -> None:
        """The client has taken so many items in all; said twice, the highest counts."""
        if input not in self._items:
            return
        count = self._taken[input] = max(count, self.taken_so_far(input))
        kept = self._items[input][1]
        while kept and kept[0][0] < count:
            self.bytes -= len(kept.popleft()[1])

    def taken_so_far(self, input: str) -> int:
        return self._taken.get(input, 0)

    def forget_items(self, input: str) -> None:
        """A new attempt begins, or the last one is acknowledged."""
        self._taken.pop(input, None)
        _, kept = self._items.pop(input, ("", ()))
        self.bytes -= sum(len(payload) for _, payload, _ in kept)

    def acknowledge(self, inputs: Iterable[str], *, items_too: bool = True) -> None:
        for input in inputs:
            _, output = self._outputs.pop(input, ("", None))
            if output is not None:
                self.bytes -= len(output.payload)
            if items_too:
                self.forget_items(input)

    def has(self, input: str) -> bool:
        return input in self._outputs

    def by_container(self) -> dict[str, list[str]]:
        """The inputs whose outputs are not acknowledged."""
        found: dict[str, list[str]] = {}
        for input, (container, _) in self._outputs.items():
            found.setdefault(container, []).append(input)
        return found

    def frames(self, input: str | None = None) -> list[bytes]:
        """Everything again, or the output of one input."""
        frames = []
        for name, (container, kept) in self._items.items():
            if input in (None, name) and kept:
                for first, payload, blob in kept:
                    message = w.NodeYielded(container, name, first, [len(payload)], [0] if blob else [])
                    frames.append(w.CODEC.encode(message, payload))
        for name, (container, output) in self._outputs.items():
            if input in (None, name):
                frames.append(frame_of(container, [output]))
        return frames


class Outbox:
    """The answers of one container, in their order. `before_send()` is called before each frame; `say(frame)` sends it.
    `on_fault(text)`: the container named a file that it may not name."""

    def __init__(
        self, container: str, directory: int, blobs: Blobs, ledger: Ledger, *,
        say: Callable[[bytes], object], before_send: Callable[[], None], on_fault: Callable[[str], None],
        failed: Callable[[str, str], bytes],
    ):  # fmt: skip
        self._container, self._directory, self._blobs, self._ledger = container, directory, blobs, ledger
        self._say, self._before_send, self._on_fault, self._failed = say, before_send, on_fault, failed
        self._batch: list[Output] = []
        self._batch_bytes = 0
        self._queue: deque[Output | Items] = deque()
        self._worker: asyncio.Task[None] | None = None

    def add(self, answer: Output | Items) -> None:
        """`flush` sends it, unless it has to wait for a blob."""
        if not self._queue and self._quick(answer):
            return
        self._queue.append(answer)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    def flush(self) -> None:
        """One frame for everything that is there."""
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._before_send()
            for output in batch:
                self._ledger.keep(self._container, output)
            self._say(frame_of(self._container, batch))

    async def drained(self, timeout_s: float) -> None:
        """Nothing waits for a blob any more (or the time is over)."""
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=timeout_s)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()

    def _quick(self, answer: Output | Items) -> bool:
        if isinstance(answer, Items):
            if any(answer.files):
                return False
            self._send_items(answer)
            return True
        if answer.file:
            try:
                with OutFile(self._directory, answer.file) as file:
                    if file.small:
                        answer.payload = file.read()
                    else:
                        blob = self._blobs.put_quick(file.fd)
                        if blob is None:
                            file.delete = False  # `_work` opens it again
                            return False
                        answer.payload, answer.blob = blob.encode(), True
            except FileRefused as refused:
                self._on_fault(str(refused))
                return True
            answer.file = b""
        self._to_batch(answer)
        return True

    async def _work(self) -> None:
        try:
            while self._queue:
                answer = self._queue[0]
                try:
                    if isinstance(answer, Items):
                        for at, name in enumerate(answer.files):
                            if name:
                                answer.payloads[at], blob = await self._content(name)
                                if blob:
                                    answer.blobs.append(at)
                        self._send_items(answer)
                    else:
                        if answer.file:
                            answer.payload, answer.blob = await self._content(answer.file)
                        self._to_batch(answer)
                except BlobError as error:
                    text = f"the result could not be stored: {error}"
                    self._to_batch(Output(answer.input, "failed", 0.0, self._failed("server", text)))
                self._queue.popleft()
                if not self._queue:
                    self.flush()
        except FileRefused as refused:
            self._on_fault(str(refused))
        finally:
            self._worker = None

    async def _content(self, name: bytes) -> tuple[bytes, bool]:
        with OutFile(self._directory, name) as file:
            if file.small:
                return file.read(), False
            return (await file.to_blob(self._blobs)).encode(), True

    def _to_batch(self, output: Output) -> None:
        if self._batch_bytes + len(output.payload) > BATCH_BYTES_MAX:
            self.flush()
        self._batch.append(output)
        self._batch_bytes += len(output.payload)

    def _send_items(self, items: Items) -> None:
        self.flush()
        self._before_send()
        self._ledger.keep_items(self._container, items)
        message = w.NodeYielded(
            self._container, items.input, items.first, [len(p) for p in items.payloads], items.blobs
        )
        self._say(w.CODEC.encode(message, items.payloads))


def frame_of(container: str, batch: list[Output]) -> bytes:
    message = w.NodeOutputs(
        container,
        [o.input for o in batch],
        [o.outcome for o in batch],
        [o.run_ms for o in batch],
        [len(o.payload) for o in batch],
        [n for n, o in enumerate(batch) if o.blob],
    )
    return w.CODEC.encode(message, [o.payload for o in batch])
