"""The inputs of a map on their way out: read as they come, sent in batches, at most so many under way.

A thread of its own reads the user's iterator. It sends a batch when that is large, when its room is used up and when the
input ends; what a slow iterator has given so far is sent by the connection's ticking thread a moment later (`nudge`).
"""

from __future__ import annotations

import _thread

from ingle.model.call import INLINE_BYTES_MAX, OUTSTANDING_MAX
from ingle.sdk.serialization import dumps
from ingle.sdk.wake import Wake
from ingle.wire import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ingle.sdk.connection import Connection

BATCH_INPUTS_MAX = 200
BATCH_BYTES_MAX = 256 << 10
#: So much room must be free before the feeder wakes: one wake-up costs as much as several inputs.
ROOM_MIN = 100
#: Blobs that are uploaded at once.
UPLOADS_MAX = 4

_encode = api.CODEC.encode


class Feeder:
    """Sends the inputs of one call.

    Args:
        on_end: called once, in the feeding thread, when the input is at its end or `error` is set.

    Attributes:
        count: inputs read so far.
        is_done: the input is at its end; `count` is final.
        error: what the user's iterator, pickling or an upload raised.
    """

    def __init__(
        self, connection: Connection, call: str, function: str, kind: str, kwargs: dict[str, Any] | None,
        on_end: Callable[[], None],
    ):  # fmt: skip
        self.count = 0
        self.is_done = False
        self.error: BaseException | None = None
        self._connection = connection
        self._call = call
        self._function = function
        self._kind = kind
        self._kwargs = kwargs or {}
        self._on_end = on_end
        self._freed = 0
        self._room = Wake()
        self._wants_room = False
        self._closed = False
        self._lock = _thread.allocate_lock()
        self._batch: list[tuple[int, bytes, bool]] = []
        self._batch_bytes = 0
        self._outstanding: dict[int, tuple[bytes, bool]] = {}
        self._uploads = 0
        self._uploaded = Wake()

    # ---- feeding

    def start(self, items: Iterator[tuple[Any, ...]]) -> None:
        """Reads `items`, the positional arguments of each input, in a thread of its own."""
        _thread.start_new_thread(self._run, (items,))

    def _run(self, items: Iterator[tuple[Any, ...]]) -> None:
        try:
            for args in items:
                if self._closed:
                    return
                self.put(args)
                if self.count - self._freed >= OUTSTANDING_MAX:
                    self.flush()
                    while not self.has_room() and not self._closed:
                        self._room.wait()
        except BaseException as error:  # in a thread of ours: the consumer raises it
            self.error = self.error or error
        self.finish()

    def finish(self) -> None:
        """Sends what is left; the input is at its end."""
        try:
            self.flush()
            while self._uploads and not self._closed:
                self._uploaded.wait()
            self.flush()
        except Exception as error:
            self.error = self.error or error
        self.is_done = True
        self._on_end()

    def put(self, args: tuple[Any, ...]) -> None:
        """Takes one more input. Blocks while a batch is sent, or too many uploads run."""
        pieces, size = dumps((tuple(args), self._kwargs))
        index = self.count
        if size > INLINE_BYTES_MAX:
            while self._uploads >= UPLOADS_MAX and not self._closed:
                self._uploaded.wait()
            with self._lock:
                self._uploads += 1
            self.count += 1
            _thread.start_new_thread(self._upload, (index, pieces))
            return
        full = self._add(index, pieces[0] if len(pieces) == 1 else b"".join(pieces), False)
        self.count += 1
        if full:
            self.flush()

    def _upload(self, index: int, pieces: list[bytes]) -> None:
        try:
            reference = self._connection.blobs.put(pieces)
            if not self._closed:
                self._add(index, reference, True)
        except BaseException as error:
            self.error = self.error or error
            self._on_end()
        finally:
            with self._lock:
                self._uploads -= 1
            self._uploaded.set()

    def _add(self, index: int, data: bytes, is_blob: bool) -> bool:
        """Whether the batch is full with it."""
        with self._lock:
            begins = not self._batch
            self._batch.append((index, data, is_blob))
            self._batch_bytes += len(data)
            self._outstanding[index] = (data, is_blob)
            full = len(self._batch) >= BATCH_INPUTS_MAX or self._batch_bytes >= BATCH_BYTES_MAX
        if begins:
            self._connection.nudge(self)
        return full

    def flush(self) -> None:
        """Sends what has been read so far. Any thread."""
        with self._lock:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch and not self._closed:
            frames = [_encode(message, payload) for message, payload in self._messages(batch)]
            self._connection.say_all(frames, kept=True)

    def _messages(self, batch: list[tuple[int, bytes, bool]]) -> Iterator[tuple[api.PutInputs, list[bytes]]]:
        """Messages for these inputs: one for each run of consecutive indexes, none too large."""
        batch.sort()
        at = 0
        while at < len(batch):
            first = batch[at][0]
            payload: list[bytes] = []
            blobs: list[int] = []
            size = 0
            while at < len(batch) and len(payload) < BATCH_INPUTS_MAX and size < BATCH_BYTES_MAX:
                index, data, is_blob = batch[at]
                if index != first + len(payload):
                    break
                if is_blob:
                    blobs.append(len(payload))
                payload.append(data)
                size += len(data)
                at += 1
            sizes = [len(data) for data in payload]
            yield api.PutInputs(self._call, self._function, self._kind, first, sizes, blobs), payload

    # ---- room

    def has_room(self) -> bool:
        """Whether more may be put; if not, whoever waits is woken when there is."""
        self._wants_room = True  # before the look: `free` looks the other way round
        if self.count - self._freed > OUTSTANDING_MAX - ROOM_MIN:
            return False
        self._wants_room = False
        return True

    def set_room(self, wake: Any) -> None:
        """Has another than the feeding thread woken when there is room."""
        self._room = wake

    def free(self, count: int) -> None:
        """So many inputs are not under way any more."""
        self._freed += count
        if self._wants_room and self.count - self._freed <= OUTSTANDING_MAX - ROOM_MIN:
            self._wants_room = False
            self._room.set()

    def settle(self, index: int) -> bool:
        """Whether this input was outstanding; it is not any more."""
        return self._outstanding.pop(index, None) is not None

    def again(self) -> Iterable[tuple[Any, Any]]:
        """What to say after a reconnect: every input that was sent and has not ended."""
        with self._lock:
            outstanding = [(index, data, is_blob) for index, (data, is_blob) in self._outstanding.items()]
        return self._messages(outstanding)

    def close(self) -> None:
        """No more is read or sent."""
        self._closed = True
        self._room.set()
        self._uploaded.set()
        with self._lock:
            self._batch = []
            self._outstanding = {}
