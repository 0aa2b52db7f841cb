"""Rows of spawned calls, on every kind of database."""

import time

import pytest

from ingle.model.app import RUNNING, App
from ingle.model.function import FunctionSpec
from ingle.model.image import ImageSpec
from ingle.storage.app import AppRows
from ingle.storage.call import CallCount, CallRows, EndedInput, NewInput, PendingInput
from ingle.storage.database import Database


@pytest.fixture(params=["file", "memory"])
async def rows(request, tmp_path):
    database = Database(tmp_path / "ingle.db" if request.param == "file" else None)
    await database.open()
    app = App("ap-1", "app", RUNNING, True, 1.0)
    await AppRows(database).add(app, [FunctionSpec("fu-1", "ap-1", "f", "m", "f", ImageSpec("3.11"))], "request-1")
    yield CallRows(database)
    await database.close()


def inputs(*numbers):
    return [NewInput(n, b"%d" % n, n % 2 == 1) for n in numbers]


async def test_inputs_are_added_once(rows):
    assert await rows.add("fc-1", "fu-1", 1.0, inputs(0, 1, 2)) == {0, 1, 2}
    assert await rows.add("fc-1", "fu-1", 1.0, inputs(1, 2, 3)) == {3}
    assert await rows.count("fc-1") == CallCount("fu-1", "f", 4, 4, 0)
    assert await rows.count("fc-2") is None


async def test_pending_ones_come_back_in_order(rows):
    await rows.add("fc-b", "fu-1", 2.0, inputs(1, 0))
    await rows.add("fc-a", "fu-1", 3.0, inputs(0))
    await rows.add("fc-c", "fu-1", 1.0, inputs(5))
    await rows.end([EndedInput("fc-b", 0, "returned", b"r", False)], 4.0)
    assert await rows.pending() == [
        PendingInput("fc-c", 5, "fu-1", True, False),
        PendingInput("fc-b", 1, "fu-1", True, False),
        PendingInput("fc-a", 0, "fu-1", False, False),
    ]
    assert rows.payload("fc-b", 1) == b"1"
    assert rows.payload("fc-b", 0) is None
    assert rows.payload("fc-b", 9) is None


async def test_the_first_result_stays(rows):
    await rows.add("fc-1", "fu-1", 1.0, inputs(0, 1))
    await rows.end(
        [EndedInput("fc-1", 0, "returned", b"first", False), EndedInput("fc-9", 0, "returned", b"", False)], 2.0
    )
    await rows.end([EndedInput("fc-1", 0, "failed", b"second", True)], 3.0)
    assert await rows.outputs("fc-1", [], -1, 10) == [EndedInput("fc-1", 0, "returned", b"first", False)]
    assert await rows.ended_among([("fc-1", 0), ("fc-1", 1), ("fc-2", 0)]) == {("fc-1", 0)}


async def test_outputs_come_in_pages(rows):
    await rows.add("fc-1", "fu-1", 1.0, inputs(*range(10)))
    await rows.end([EndedInput("fc-1", n, "returned", b"%d" % n, n == 3) for n in range(9)], 2.0)
    assert [o.number for o in await rows.outputs("fc-1", [], -1, 4)] == [0, 1, 2, 3]
    assert [o.number for o in await rows.outputs("fc-1", [], 3, 100)] == [4, 5, 6, 7, 8]
    assert [(o.number, o.blob) for o in await rows.outputs("fc-1", [9, 3, 5], -1, 100)] == [(3, True), (5, False)]


async def test_old_results_expire_and_are_remembered(rows):
    now = time.time()
    await rows.add("fc-1", "fu-1", now, inputs(0, 1))
    await rows.end([EndedInput("fc-1", 0, "returned", b"", False)], now - 100)
    assert await rows.expire(now - 50, 100.0) == 1
    assert await rows.count("fc-1") == CallCount("fu-1", "f", 2, 1, 0)
    await rows.end([EndedInput("fc-1", 1, "returned", b"", False)], now)
    assert await rows.expire(now + 1, 100.0) == 1
    assert await rows.count("fc-1") == CallCount("fu-1", "f", 2, 0, 0)
    assert await rows.expire(now + 1000, 100.0) == 0
    assert await rows.count("fc-1") is None


async def test_blobs_of_waiting_inputs_and_kept_outputs_are_named(rows):
    new = [NewInput(0, b"bl-in-0", True), NewInput(1, b"bl-in-1", True), NewInput(2, b"plain", False)]
    await rows.add("fc-1", "fu-1", 1.0, new)
    await rows.end([EndedInput("fc-1", 1, "returned", b"bl-out-1", True)], 2.0)
    assert await rows.blobs() == {"bl-in-0", "bl-out-1"}
