"""Rows of spawned calls: their inputs until they have ended, their outputs until they expire."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from ingle.model.app import STOPPED
from ingle.storage.database import Database
from ingle.storage.tables import APPS, CALLS, FUNCTIONS, INPUTS

#: Rows that one pass of expiry removes: a longer one would hold up those who wait for the writer.
EXPIRE_MAX = 1000
#: A call whose results have expired is remembered so much longer, to say so.
REMEMBER_FACTOR = 5


@dataclass(frozen=True, slots=True)
class NewInput:
    number: int
    payload: bytes
    blob: bool


@dataclass(frozen=True, slots=True)
class PendingInput:
    call_id: str
    number: int
    function_id: str
    blob: bool
    app_stopped: bool


@dataclass(frozen=True, slots=True)
class EndedInput:
    call_id: str
    number: int
    outcome: str
    output: bytes
    blob: bool


@dataclass(frozen=True, slots=True)
class CallCount:
    function_id: str
    function: str  #: its name
    total: int
    kept: int  #: rows: less than total if some have expired
    ended: int  #: of the kept ones


class CallRows:
    """Every method that writes returns a future that is done when its rows are on disk."""

    def __init__(self, database: Database):
        self._database = database

    def add(
        self, call_id: str, function_id: str, at_s: float, inputs: Sequence[NewInput]
    ) -> "asyncio.Future[set[int]]":
        """Writes those inputs that are not there yet and gives their numbers."""

        def operation(connection: Connection) -> set[int]:
            known = connection.execute(select(CALLS.c.total).where(CALLS.c.id == call_id)).scalar()
            there: set[int] = set()
            if known is None:
                connection.execute(
                    insert(CALLS), [{"id": call_id, "function_id": function_id, "created_s": at_s, "total": 0}]
                )
            else:
                numbers = [i.number for i in inputs]
                between = and_(INPUTS.c.number >= min(numbers), INPUTS.c.number <= max(numbers))
                rows = connection.execute(select(INPUTS.c.number).where(INPUTS.c.call_id == call_id, between))
                there = {row.number for row in rows}
            new = [i for i in inputs if i.number not in there]
            if new:
                connection.execute(insert(INPUTS), [_row(call_id, i) for i in new])
                connection.execute(update(CALLS).where(CALLS.c.id == call_id).values(total=CALLS.c.total + len(new)))
            return {i.number for i in new}

        return self._database.write(operation)

    def end(self, ended: Sequence[EndedInput], at_s: float) -> "asyncio.Future[None]":
        """Writes results; what has ended before keeps its first."""

        def operation(connection: Connection) -> None:
            connection.execute(
                update(INPUTS)
                .where(
                    INPUTS.c.call_id == bindparam("of_call"),
                    INPUTS.c.number == bindparam("of_number"),
                    INPUTS.c.ended_s.is_(None),
                )
                .values(
                    payload=None,
                    outcome=bindparam("an_outcome"),
                    output=bindparam("an_output"),
                    output_blob=bindparam("a_blob"),
                    ended_s=at_s,
                ),
                [
                    {
                        "of_call": e.call_id,
                        "of_number": e.number,
                        "an_outcome": e.outcome,
                        "an_output": e.output,
                        "a_blob": e.blob,
                    }
                    for e in ended
                ],
            )

        return self._database.write(operation)

    async def pending(self) -> list[PendingInput]:
        """All that wait or ran, in the order in which they were spawned."""

        def operation(connection: Connection) -> list[PendingInput]:
            joined = INPUTS.join(CALLS, CALLS.c.id == INPUTS.c.call_id)
            joined = joined.join(FUNCTIONS, FUNCTIONS.c.id == CALLS.c.function_id)
            joined = joined.join(APPS, APPS.c.id == FUNCTIONS.c.app_id)
            columns = (INPUTS.c.call_id, INPUTS.c.number, CALLS.c.function_id, INPUTS.c.payload_blob, APPS.c.state)
            rows = connection.execute(
                select(*columns)
                .select_from(joined)
                .where(INPUTS.c.ended_s.is_(None))
                .order_by(CALLS.c.created_s, INPUTS.c.call_id, INPUTS.c.number)
            )
            return [
                PendingInput(row.call_id, row.number, row.function_id, row.payload_blob, row.state == STOPPED)
                for row in rows
            ]

        return await self._database.read(operation)

    def payload(self, call_id: str, number: int) -> bytes | None:
        """What an input that has not ended was given. Reads at once, in the caller's thread."""

        def operation(connection: Connection) -> bytes | None:
            where = and_(INPUTS.c.call_id == call_id, INPUTS.c.number == number)
            return connection.execute(select(INPUTS.c.payload).where(where)).scalar()

        return self._database.read_now(operation)

    async def count(self, call_id: str) -> CallCount | None:
        """None: there never was such a call, or it expired long ago."""

        def operation(connection: Connection) -> CallCount | None:
            joined = CALLS.outerjoin(FUNCTIONS, FUNCTIONS.c.id == CALLS.c.function_id)
            columns = (CALLS.c.function_id, FUNCTIONS.c.name, CALLS.c.total)
            call = connection.execute(select(*columns).select_from(joined).where(CALLS.c.id == call_id)).first()
            if call is None:
                return None
            kept, ended = connection.execute(
                select(func.count(), func.count(INPUTS.c.ended_s)).where(INPUTS.c.call_id == call_id)
            ).one()
            return CallCount(call.function_id, call.name or "", call.total, kept, ended)

        return await self._database.read(operation)

    async def outputs(self, call_id: str, numbers: Sequence[int], after: int, limit: int) -> list[EndedInput]:
        """Ended inputs with numbers above `after`, in order; only `numbers` if they are given."""

        def operation(connection: Connection) -> list[EndedInput]:
            where = [INPUTS.c.call_id == call_id, INPUTS.c.number > after, INPUTS.c.ended_s.is_not(None)]
            if numbers:
                wanted = sorted(n for n in numbers if n > after)[:limit]
                where.append(INPUTS.c.number.in_(wanted))
            columns = (INPUTS.c.number, INPUTS.c.outcome, INPUTS.c.output, INPUTS.c.output_blob)
            rows = connection.execute(select(*columns).where(*where).order_by(INPUTS.c.number).limit(limit))
            return [EndedInput(call_id, row.number, row.outcome, row.output or b"", row.output_blob) for row in rows]

        return await self._database.read(operation)

    async def ended_among(self, inputs: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of these inputs whose results are on disk."""

        def operation(connection: Connection) -> set[tuple[str, int]]:
            found = set()
            for call_id, number in inputs:
                where = and_(INPUTS.c.call_id == call_id, INPUTS.c.number == number, INPUTS.c.ended_s.is_not(None))
                if connection.execute(select(INPUTS.c.number).where(where)).first():
                    found.add((call_id, number))
            return found

        return await self._database.read(operation)

    def expire(self, before_s: float, keep_s: float) -> "asyncio.Future[int]":
        """Removes at most EXPIRE_MAX results that ended before; later the memory of their calls. Gives the number removed."""

        def operation(connection: Connection) -> int:
            where = INPUTS.c.ended_s < before_s
            old = connection.execute(select(INPUTS.c.call_id, INPUTS.c.number).where(where).limit(EXPIRE_MAX)).all()
            if old:
                connection.execute(
                    delete(INPUTS).where(
                        INPUTS.c.call_id == bindparam("of_call"), INPUTS.c.number == bindparam("of_number")
                    ),
                    [{"of_call": row.call_id, "of_number": row.number} for row in old],
                )
            left = select(INPUTS.c.call_id).where(INPUTS.c.call_id == CALLS.c.id).exists()
            long_ago = before_s - keep_s * (REMEMBER_FACTOR - 1)
            connection.execute(delete(CALLS).where(CALLS.c.created_s < long_ago, ~left))
            return len(old)

        return self._database.write(operation)

    async def blobs(self) -> set[str]:
        """Ids of all blobs that rows name."""

        def operation(connection: Connection) -> set[str]:
            given = connection.execute(
                select(INPUTS.c.payload).where(INPUTS.c.payload_blob, INPUTS.c.ended_s.is_(None))
            )
            answered = connection.execute(select(INPUTS.c.output).where(INPUTS.c.output_blob))
            return {bytes(row[0]).decode("ascii", "replace") for rows in (given, answered) for row in rows if row[0]}

        return await self._database.read(operation)


def _row(call_id: str, new: NewInput) -> dict:
    return {
        "call_id": call_id,
        "number": new.number,
        "payload": new.payload,
        "payload_blob": new.blob,
        "outcome": None,
        "output": None,
        "output_blob": False,
        "ended_s": None,
    }
