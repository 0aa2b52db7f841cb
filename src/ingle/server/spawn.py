"""Spawned calls: on disk before they are acknowledged, results on disk before the node forgets them, and who waits for them."""

import asyncio
import logging
import time
from collections.abc import Callable

from ingle.exceptions import Error, NotFoundError
from ingle.server.function import Functions
from ingle.server.input import Call, Input
from ingle.server.outputs import send_outputs
from ingle.server.session import Session
from ingle.server.tasks import Tasks
from ingle.storage.blobs import Blobs
from ingle.storage.call import CallRows, EndedInput, NewInput
from ingle.wire.api import CallState, WatchCall

log = logging.getLogger(__name__)

#: Stored results that are read at once.
PAGE = 200
#: Results whose writing failed are tried again so much later; meanwhile their nodes keep them too.
TRY_AGAIN_S = 1.0
#: How often a disk that refuses is complained about.
COMPLAIN_S = 10.0


class Spawned:
    def __init__(self, rows: CallRows, blobs: Blobs, functions: Functions, tasks: Tasks):
        self._rows = rows
        self._blobs = blobs
        self._functions = functions
        self._tasks = tasks
        self._ended: list[Input] = []  # for the next write
        self._watchers: dict[str, dict[Session, frozenset[int] | None]] = {}  # by call; None: all its inputs
        self._complained_s = 0.0
        self.saved: Callable[[list[Input]], None] = lambda inputs: None  #: told of results that are on disk

    async def accept(self, call: Call, inputs: list[NewInput]) -> set[int]:
        """Writes the inputs that are not there yet; gives their numbers when they are on disk.

        Raises:
            NotFoundError: one of their blobs is missing.
            ServerError: the disk refuses.
        """
        for new in inputs:
            if new.blob:
                await self._blobs.sync(new.payload.decode())
        return await self._rows.add(call.id, call.function.spec.id, time.time(), inputs)

    def payload(self, call_id: str, number: int) -> bytes | None:
        """Arguments that are only on disk; None if they are not."""
        try:
            return self._rows.payload(call_id, number)
        except Error as error:
            log.error("the arguments of %s:%d cannot be read: %s", call_id, number, error)
            return None

    # ---- results

    def ended(self, ended: Input) -> None:
        self._ended.append(ended)

    def flush(self) -> None:
        """Writes what has ended since the last time."""
        if self._ended:
            batch, self._ended = self._ended, []
            self._tasks.start(self._save(batch))

    async def _save(self, batch: list[Input]) -> None:
        while True:
            try:
                await self._write(batch)
                break
            except (Error, OSError) as error:
                if time.monotonic() - self._complained_s > COMPLAIN_S:
                    self._complained_s = time.monotonic()
                    log.error("%d results cannot be written, trying again: %s", len(batch), error)
            await asyncio.sleep(TRY_AGAIN_S)
        self.saved(batch)
        self._tell(batch)

    async def _write(self, batch: list[Input]) -> None:
        for ended in batch:
            if ended.output_blob:
                try:
                    await self._blobs.sync(ended.output.decode())
                except NotFoundError:
                    log.warning("the result of %s is a blob that is not there", ended.id)
        rows = [EndedInput(i.call.id, i.number, i.outcome or "", i.output, i.output_blob) for i in batch]
        await self._rows.end(rows, time.time())

    def _tell(self, batch: list[Input]) -> None:
        for ended in batch:
            for session, numbers in self._watchers.get(ended.call.id, {}).items():
                if numbers is None or ended.number in numbers:
                    session.outputs.append(ended)
        for session in {s for i in batch for s in self._watchers.get(i.call.id, ())}:
            send_outputs(session)

    # ---- who waits

    async def watch(self, session: Session, message: WatchCall) -> None:
        """Says how the call stands, then sends the results that are there; later ones follow as they end."""
        numbers = frozenset(message.indexes) or None
        count = await self._rows.count(message.call)
        if count is not None and session.app:
            function = self._functions.find(count.function_id)
            if function is None or function.app.id != session.app:
                count = None
        if count is None:
            session.send(CallState(message.call, False))
            return
        self._watchers.setdefault(message.call, {})[session] = numbers
        expired = count.kept < count.total
        session.send(
            CallState(message.call, True, count.total, count.total - count.kept + count.ended, count.function, expired)
        )
        if count.ended:
            await self._send_stored(session, message.call, sorted(numbers or ()))

    def unwatch(self, session: Session, call_id: str) -> None:
        watchers = self._watchers.get(call_id)
        if watchers is not None:
            watchers.pop(session, None)
            if not watchers:
                del self._watchers[call_id]

    def forget(self, session: Session) -> None:
        """Its link is gone: when it is back it says again what it waits for."""
        for call_id in [c for c, watchers in self._watchers.items() if session in watchers]:
            self.unwatch(session, call_id)

    async def _send_stored(self, session: Session, call_id: str, numbers: list[int]) -> None:
        after = -1
        while await session.drain():
            wanted = [n for n in numbers if n > after][:PAGE]
            if numbers and not wanted:
                return
            page = await self._rows.outputs(call_id, wanted, after, PAGE)
            session.outputs += [_stored(e) for e in page]
            send_outputs(session)
            if wanted:
                after = wanted[-1]
            elif len(page) < PAGE:
                return
            else:
                after = page[-1].number


def _stored(ended: EndedInput) -> Input:
    found = Input(f"{ended.call_id}:{ended.number}", None, ended.number, None)  # type: ignore[arg-type]
    found.outcome, found.output, found.output_blob = ended.outcome, ended.output, ended.blob
    return found
