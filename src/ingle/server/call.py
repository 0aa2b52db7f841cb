"""Calls: their inputs from the client to the scheduler, and what comes of them back to the client.

An input is known from the first time it is said until its client has acknowledged its output (spawned: until its result is on disk). What is
said again in between is answered from what is known; what is unknown is new. An attempt's answer is kept with its input until
the scheduler says, within the same `post`, whether it stands (`end`) or another attempt comes (`retry`).

After a restart of the server nodes hold inputs that it does not know: *strangers*. Their answers wait, unacknowledged, until their client says
them again, or for a while.
"""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

from ingle.exceptions import Error, ExecutionError, InvalidError, NotFoundError
from ingle.model.call import FAILED, GENERATOR, KINDS, MAP, RAISED, RETURNED, SPAWN
from ingle.scheduler.events import Attempt, AttemptsEnded, ContainerStopAsked, InputsCancelled, InputsQueued
from ingle.server.events import Events
from ingle.server.function import Function, Functions
from ingle.server.generator import Items
from ingle.server.input import Call, Input, Stranger
from ingle.server.outputs import send_outputs
from ingle.server.session import Session
from ingle.server.spawn import Spawned
from ingle.server.tasks import Tasks
from ingle.storage.blobs import Blobs
from ingle.storage.call import NewInput, PendingInput
from ingle.wire.api import Accepted, PutInputs, Refused, Yielded
from ingle.wire.codec import split
from ingle.wire.errors import Failure, failure_of

log = logging.getLogger(__name__)

#: Inputs in one PutInputs.
FRAME_INPUTS_MAX = 20_000
#: Inputs of one session that have not been acknowledged, spawned ones aside; of all programs inside one container together.
SESSION_INPUTS_MAX, CONTAINER_INPUTS_MAX = 1_000_000, 200_000
#: Payloads of one session that wait or run, in bytes. A client on a laptop is made to wait long before (session.HELD_BYTES_MAX).
SESSION_BYTES_MAX = 1 << 30
#: Spawned inputs that wait or run, of everybody.
SPAWNED_INPUTS_MAX = 1_000_000
#: Of spawned inputs that wait, so many bytes stay in memory; the others are read when they are sent.
SPAWNED_BYTES_MAX = 64 << 20
NUMBER_MAX = 1 << 40
#: How often somebody who waits for the disk looks again.
LOOK_S = 0.005

_CALL_ID = re.compile(r"fc-[0-9a-z]{8,40}")
#: A blob that holds one value; those named by their content are shared.
_VALUE = re.compile(r"bl-[0-9a-z]{16}")
_CODES = {"cancelled": "cancelled", "unplaceable": "placement", "lost": "execution"}


class Calls:
    def __init__(self, events: Events, functions: Functions, spawned: Spawned, blobs: Blobs, tasks: Tasks):
        self._events = events
        self._functions = functions
        self._spawned = spawned
        self._blobs = blobs
        self._tasks = tasks
        self._calls: dict[str, Call] = {}
        self._inputs: dict[str, Input] = {}
        self._strangers: dict[str, Stranger] = {}
        self._waiting: list[Session] = []  # have outputs for their next frame
        self._spawned_bytes = 0
        self._spawned_count = 0
        self.pending = 0  #: inputs that have not ended
        spawned.saved = self._saved

    # ---- from clients

    def put(self, session: Session, message: PutInputs, payload: memoryview) -> None:
        """New inputs, or some said again.

        Raises:
            Error: why they cannot be taken; none of them was.
        """
        pieces = split(payload, message.sizes)
        function = self._functions.get(message.function)
        call = self._calls.get(message.call)
        self._check(session, message, function, call)
        if call is None:
            call = self._calls[message.call] = Call(message.call, message.kind, function, session)
            function.calls.add(call)
        if message.kind == SPAWN:
            self._put_spawned(session, call, message, pieces)
            return
        if call.session is not session:
            self._adopt(session, call)
        session.calls.add(call)
        fresh = []
        number = message.first
        known = call.inputs
        said_again = []
        size = 0
        for piece in pieces:
            found = known.get(number)
            if found is None:
                input_id = f"{call.id}:{number}"
                known[number] = self._inputs[input_id] = Input(input_id, call, number, piece)
                fresh.append(input_id)
                size += len(piece)
            else:
                said_again.append(found)
            number += 1
        for position in message.blobs:
            known[message.first + position].blob = True
            known[message.first + position].stored = pieces[position].decode("ascii", "replace")
        session.held.bytes += size
        session.held.inputs += len(fresh)
        call.pending += len(fresh)
        self.pending += len(fresh)
        if call.kind == GENERATOR:
            self._open_items(call)
        if said_again:
            self._say_again(session, said_again)
        if fresh:
            self._queue(call, fresh)

    def _check(self, session: Session, message: PutInputs, function: Function, call: Call | None) -> None:
        if session.app and function.app.id != session.app:
            raise NotFoundError(f"there is no function {message.function} in this container's app")
        if call is not None and (call.function is not function or call.kind != message.kind):
            raise InvalidError(f"call {message.call} is already one of another function or kind")
        if call is None and not _CALL_ID.fullmatch(message.call):
            raise InvalidError(f"{message.call[:60]!r} is not the id of a call")
        if message.kind not in KINDS:
            raise InvalidError(f"{message.kind[:60]!r} is not a kind of call: {', '.join(KINDS)}")
        if function.spec.is_generator != (message.kind == GENERATOR):
            name = function.spec.name
            right = f"`{name}.remote_gen(…)`" if function.spec.is_generator else f"`{name}.remote(…)`"
            raise InvalidError(f"`{name}` cannot be called like this: use {right}")
        count = len(message.sizes)
        if not 0 < count <= FRAME_INPUTS_MAX or not 0 <= message.first <= NUMBER_MAX - count:
            raise InvalidError(f"a frame carries 1 to {FRAME_INPUTS_MAX} inputs with numbers from 0 to {NUMBER_MAX}")
        if message.kind not in (MAP, SPAWN) and (message.first or count > 1):
            raise InvalidError(f"a {message.kind} call has one input")
        if any(not 0 <= position < count for position in message.blobs):
            raise InvalidError("a position in `blobs` is not one of the inputs")
        if message.kind == SPAWN and self._spawned_count + count > SPAWNED_INPUTS_MAX:
            raise ExecutionError(f"{SPAWNED_INPUTS_MAX} spawned inputs wait already: try again when some have ended")
        if session.held.bytes > SESSION_BYTES_MAX:
            raise ExecutionError(
                f"arguments of {SESSION_BYTES_MAX >> 20} MiB are under way already: wait for some results"
            )
        most = CONTAINER_INPUTS_MAX if session.container else SESSION_INPUTS_MAX
        if session.held.inputs + count > most and message.kind != SPAWN:
            known = call.inputs if call is not None and call.session is session else ()
            fresh = sum(number not in known for number in range(message.first, message.first + count))
            if session.held.inputs + fresh > most:
                raise ExecutionError(f"{most} inputs of this client are under way already: wait for some results")

    def _queue(self, call: Call, fresh: list[str]) -> None:
        if call.cancelled:
            self._fail_all([self._inputs[i] for i in fresh], Failure("cancelled", "the call was cancelled"))
            self.flush()
            return
        claimed = [i for i in fresh if i in self._strangers] if self._strangers else []
        strangers = [(i, self._strangers.pop(i)) for i in claimed]
        inside = call.session is not None and bool(call.session.container)
        self._events.post(InputsQueued(call.function.spec.id, fresh, inside))
        for input_id, stranger in strangers:
            if input_id in self._inputs:
                self._claim(input_id, stranger)

    def _adopt(self, session: Session, call: Call) -> None:
        """The call's client goes on in another session."""
        size = sum(len(i.payload) for i in call.inputs.values() if i.payload is not None)
        call.session.held.bytes -= size
        call.session.held.inputs -= len(call.inputs)
        call.session.calls.discard(call)
        session.held.bytes += size
        session.held.inputs += len(call.inputs)
        call.session = session

    def _open_items(self, call: Call) -> None:
        for found in call.inputs.values():
            if found.items is None:
                found.items = Items()

    def _say_again(self, session: Session, known: list[Input]) -> None:
        for found in known:
            if found.outcome is not None:
                self._give(session, found)
            elif found.items is not None and found.items.kept:
                self._yield(session, found, found.items.next - len(found.items.kept), list(found.items.kept))
        self.flush()

    def acknowledge(self, session: Session, input_ids: Sequence[str]) -> None:
        """The client has these outputs."""
        inputs = self._inputs
        for input_id in input_ids:
            found = inputs.get(input_id)
            if found is not None and found.outcome is not None and found.call.session is session:
                self._forget(found)

    def cancel(self, session: Session, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is None or (session.app and call.function.app.id != session.app):
            return
        call.cancelled = True
        self._events.post(InputsCancelled([i.id for i in call.inputs.values() if i.outcome is None]))

    def close(self, call: Call) -> None:
        """Nobody wants its outputs any more."""
        if call.spawned or call.closed:
            return
        call.closed = call.cancelled = True
        waiting = []
        for found in list(call.inputs.values()):
            if found.outcome is None:
                waiting.append(found.id)
            else:
                self._forget(found)
        if waiting:
            self._events.post(InputsCancelled(waiting))

    def close_said(self, session: Session, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is not None and call.session is session:
            self.close(call)

    def session_over(self, session: Session) -> None:
        for call in list(session.calls):
            if call.session is session:
                self.close(call)
        session.calls.clear()
        self._spawned.forget(session)

    def function_over(self, function: Function, why: str) -> None:
        """Ends all its inputs: its app was stopped."""
        failure = Failure("cancelled", why)
        for call in list(function.calls):
            call.cancelled = True
            self._fail_all([i for i in call.inputs.values() if i.outcome is None], failure)
        self.flush()

    def credit(self, session: Session, input_id: str, attempt: int, taken: int) -> tuple[str, int]:
        """The client took so many items of that attempt. Gives the container to tell how many, "" if there is none."""
        found = self._inputs.get(input_id)
        if found is None or found.items is None or found.call.session is not session:
            return "", 0
        return found.items.container if found.items.credit(attempt, taken) else "", found.items.taken

    # ---- spawned ones

    def _put_spawned(self, session: Session, call: Call, message: PutInputs, pieces: list[bytes]) -> None:
        blobs = set(message.blobs)
        for position in blobs:
            Blobs.check_id(pieces[position].decode("ascii", "replace"))
        new = [NewInput(message.first + n, piece, n in blobs) for n, piece in enumerate(pieces)]
        size = sum(map(len, pieces))
        session.held.bytes += size
        call.accepting += 1
        self._tasks.start(self._accept(session, call, message, new, size))

    async def _accept(self, session: Session, call: Call, message: PutInputs, new: list[NewInput], size: int) -> None:
        try:
            fresh = await self._spawned.accept(call, new)
        except Error as error:
            failure = failure_of(error)
            session.send(Refused(failure.code, failure.message, call.id))
            return
        except Exception:
            log.exception("spawned inputs could not be written")
            session.send(Refused("server", "the server could not write the inputs down; its log says why", call.id))
            return
        finally:
            session.held.bytes -= size
            call.accepting -= 1
            self._forget_if_done(call)
        self._accepted(call, [i for i in new if i.number in fresh])
        session.send(Accepted(call.id, message.first, len(message.sizes)))

    def _accepted(self, call: Call, new: list[NewInput]) -> None:
        if not new:
            return
        self._calls[call.id] = call
        call.function.calls.add(call)
        fresh = [self._add_spawned(call, i.number, i.payload, i.blob) for i in new]
        if self._functions.find(call.function.spec.id) is not call.function:
            self._fail_all([self._inputs[i] for i in fresh], Failure("cancelled", "the app was stopped"))
            self.flush()
        else:
            self._queue(call, fresh)

    def _add_spawned(self, call: Call, number: int, payload: bytes | None, blob: bool) -> str:
        if payload is not None and self._spawned_bytes + len(payload) > SPAWNED_BYTES_MAX:
            payload = None
        if payload is not None:
            self._spawned_bytes += len(payload)
        input_id = f"{call.id}:{number}"
        call.inputs[number] = self._inputs[input_id] = Input(input_id, call, number, payload, blob)
        call.pending += 1
        self.pending += 1
        self._spawned_count += 1
        return input_id

    async def accepted(self, call_id: str) -> None:
        """Waits until what has been said of this spawned call is on disk, or refused."""
        while (call := self._calls.get(call_id)) is not None and call.accepting:
            await asyncio.sleep(LOOK_S)

    def load(self, pending: Sequence[PendingInput]) -> None:
        """At the server's start: spawned inputs that have not ended, in their order."""
        queued: dict[str, list[str]] = {}
        for row in pending:
            function = self._functions.find(row.function_id)
            if function is None:
                continue
            call = self._calls.get(row.call_id)
            if call is None:
                call = self._calls[row.call_id] = Call(row.call_id, SPAWN, function, None)
                function.calls.add(call)
            queued.setdefault(function.spec.id, []).append(self._add_spawned(call, row.number, None, row.blob))
        self._events.post(*(InputsQueued(function, inputs) for function, inputs in queued.items()))

    def _saved(self, batch: list[Input]) -> None:
        """These results are on disk."""
        links: dict = {}
        for found in batch:
            self._spawned_count -= 1
            if found.link is not None:
                links.setdefault(found.link, []).append(found.id)
            self._forget(found)
        for link, input_ids in links.items():
            link.acknowledge(input_ids)

    # ---- to and from containers

    def take(self, container: str, input_ids: Sequence[str]) -> tuple[list[Input], list[str]]:
        """The inputs that go to a container now, and those that cannot."""
        found, missing = [], []
        for input_id in input_ids:
            one = self._inputs.get(input_id)
            if one is None or one.outcome is not None:
                missing.append(input_id)
                continue
            if one.payload is None:
                one.payload = self._spawned.payload(one.call.id, one.number)
                if one.payload is None:
                    self._fail_all([one], Failure("server", "the server can no longer read the arguments of this call"))
                    missing.append(input_id)
                    continue
                self._spawned_bytes += len(one.payload)
            if one.items is not None:
                one.items.begin(container)
            found.append(one)
        return found, missing

    def answered(self, link: Any, container: str, answers: list[tuple[str, str, bytes, bool, float]]) -> list[str]:
        """Attempts have ended: (input, outcome, payload, whether that is a blob, seconds that it ran). Gives the inputs that
        the node may forget now."""
        inputs = self._inputs
        attempts, taken = [], []
        for input_id, outcome, payload, blob, run_s in answers:
            found = inputs.get(input_id)
            if found is None:
                stranger = self._strangers.get(input_id)
                if stranger is not None:
                    stranger.answer = (outcome, payload, blob, run_s)
                    stranger.link = link
                    stranger.container = container
                    continue
            elif found.items is not None and found.items.container != container:
                taken.append(input_id)  # of an attempt that is void, as are its items
                continue
            elif found.outcome is None:
                found.answer = (outcome, payload, blob)
                if found.call.spawned:
                    found.link = link
            elif found.call.spawned:  # its result is on its way to the disk
                found.link = link
                continue
            attempts.append(Attempt(input_id, outcome == RETURNED, run_s))
            taken.append(input_id)
        if attempts:
            self._events.post(AttemptsEnded(container, attempts))
        return [i for i in taken if (found := inputs.get(i)) is None or found.outcome is None or not found.call.spawned]

    def yielded(self, container: str, input_id: str, first: int, pieces: list[tuple[bytes, bool]]) -> None:
        found = self._inputs.get(input_id)
        if found is None and input_id in self._strangers:
            self._strangers[input_id].items.append((first, pieces))
            return
        if found is None or found.outcome is not None or found.items is None or found.items.container != container:
            return
        new = found.items.take(first, pieces)
        if new is None:  # some were lost with a connection: only a whole attempt makes sense
            self._events.post(ContainerStopAsked(container))
        elif new and found.call.session is not None:
            self._yield(found.call.session, found, found.items.next - len(new), new)

    def _yield(self, session: Session, found: Input, first: int, pieces: list[tuple[bytes, bool]]) -> None:
        blobs = [n for n, (_, blob) in enumerate(pieces) if blob]
        attempt = found.items.attempt if found.items is not None else 0
        message = Yielded(found.id, attempt, first, [len(p) for p, _ in pieces], blobs)
        session.send(message, [p for p, _ in pieces])

    # ---- from the scheduler

    def end(self, input_ids: Sequence[str], verdict: str, reason: str) -> None:
        inputs = self._inputs
        for input_id in input_ids:
            found = inputs.get(input_id)
            if found is None or found.outcome is not None:
                continue
            if verdict == "answered" and found.answer is not None:
                self._finish(found, *found.answer)
            elif verdict in ("start_failed", "fault"):
                self._finish(found, *unpack_reason(reason), False)
            else:
                code = _CODES.get(verdict, "server")
                self._finish(found, FAILED, Failure(code, reason or _text(verdict)).pack(), False)

    def retry(self, input_id: str) -> bool:
        """Another attempt comes. Whether this one had answered."""
        found = self._inputs.get(input_id)
        if found is None or found.outcome is not None:
            return False
        answered, found.answer = found.answer is not None, None
        if found.items is not None:
            found.items.stop()
        return answered

    def flush(self) -> None:
        """Sends what has gathered: at the end of every batch of events."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for session in waiting:
                send_outputs(session)
        self._spawned.flush()

    def _finish(self, found: Input, outcome: str, output: bytes, blob: bool) -> None:
        call = found.call
        session = call.session
        payload = found.payload
        found.payload = found.answer = None
        found.outcome = outcome
        found.output = output
        found.output_blob = blob
        call.pending -= 1
        self.pending -= 1
        if call.spawned:
            if payload is not None:
                self._spawned_bytes -= len(payload)
            self._spawned.ended(found)
            return
        if payload is not None:
            session.held.bytes -= len(payload)
        if call.closed:
            self._forget(found)
        else:
            self._give(session, found)

    def _give(self, session: Session, found: Input) -> None:
        if not session.outputs:
            self._waiting.append(session)
        session.outputs.append(found)

    def _fail_all(self, inputs: Sequence[Input], failure: Failure) -> None:
        payload = failure.pack()
        for found in inputs:
            self._finish(found, FAILED, payload, False)

    def _forget(self, found: Input) -> None:
        call = found.call
        self._inputs.pop(found.id, None)
        if call.inputs.pop(found.number, None) is not None and not call.spawned:
            call.session.held.inputs -= 1
            self._discard(found)
        self._forget_if_done(call)

    def _discard(self, found: Input) -> None:
        """Its client has its output, so nobody says it again: what it had on disk is of no more use to anybody."""
        blobs = {found.stored, found.output.decode("ascii", "replace") if found.output_blob else ""}
        for blob in filter(_VALUE.fullmatch, blobs):
            self._tasks.start(self._blobs.delete(blob))

    def _forget_if_done(self, call: Call) -> None:
        if not call.inputs and not call.accepting:
            if self._calls.get(call.id) is call:
                del self._calls[call.id]
            call.function.calls.discard(call)
            if call.session is not None:
                call.session.calls.discard(call)

    # ---- after a restart

    def held(self, input_id: str) -> bool:
        """Whether this input is waited for."""
        found = self._inputs.get(input_id)
        return found is not None and found.outcome is None

    def expect(self, container: str, input_ids: Sequence[str]) -> list[tuple[str, int]]:
        """A node holds these; perhaps somebody will ask for them. Gives the generators of which its client has taken items,
        with how many: what the node was told of that may have been lost."""
        now, taken = time.monotonic(), []
        for input_id in input_ids:
            found = self._inputs.get(input_id)
            if found is None:
                self._strangers.setdefault(input_id, Stranger(now, container))
            elif found.items is not None and found.outcome is None:
                if not found.items.container:
                    found.items.adopt(container)
                elif found.items.container == container and found.items.taken:
                    taken.append((input_id, found.items.taken))
        return taken

    def _claim(self, input_id: str, stranger: Stranger) -> None:
        items = self._inputs[input_id].items
        if items is not None:
            items.adopt(stranger.container)
            for first, pieces in stranger.items:
                self.yielded(stranger.container, input_id, first, pieces)
        if stranger.answer is not None:
            taken = self.answered(stranger.link, stranger.container, [(input_id, *stranger.answer)])
            if taken:
                stranger.link.acknowledge(taken)

    def drop_strangers(self, age_s: float) -> None:
        """Nobody has asked for these for so long: cancel them, throw their answers away."""
        before = time.monotonic() - age_s
        old = [i for i, s in self._strangers.items() if s.since_s <= before]
        for input_id in old:
            stranger = self._strangers.pop(input_id)
            self._events.post(InputsCancelled([input_id]))
            if stranger.answer is not None:
                outcome, _, _, run_s = stranger.answer
                self._events.post(AttemptsEnded(stranger.container, [Attempt(input_id, outcome == RETURNED, run_s)]))
                stranger.link.acknowledge([input_id])

    def blobs(self) -> set[str]:
        """Ids of blobs that inputs and outputs in memory name."""
        named = set()
        for found in self._inputs.values():
            if found.stored:
                named.add(found.stored)
            if found.output_blob:
                named.add(found.output.decode("ascii", "replace"))
        return named


def pack_reason(outcome: str, payload: bytes) -> str:
    """An outcome with its payload as a text that the scheduler hands back as it is."""
    return f"{outcome}\n{payload.decode('latin-1')}"


def unpack_reason(reason: str) -> tuple[str, bytes]:
    outcome, _, rest = reason.partition("\n")
    if outcome not in (RAISED, FAILED):
        return FAILED, Failure("execution", reason or "the container failed").pack()
    return outcome, rest.encode("latin-1", "replace")


def _text(verdict: str) -> str:
    if verdict == "cancelled":
        return "the call was cancelled"
    if verdict == "answered":
        return "the server lost the answer of this input"
    return f"the input could not be run ({verdict})"
