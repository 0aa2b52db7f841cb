"""Tasks that belong to the server."""

import asyncio

from ingle.server.tasks import Tasks


async def test_a_failure_is_logged_and_ends_nobody_else(caplog):
    tasks, done = Tasks(), asyncio.Event()

    async def fails():
        raise RuntimeError("a bug")

    async def works():
        done.set()

    tasks.start(fails())
    tasks.start(works())
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    assert "a bug" in caplog.text


async def test_closing_leaves_nothing():
    tasks = Tasks()
    task = tasks.start(asyncio.Event().wait())
    await tasks.close()
    assert task.cancelled()
    await tasks.close()
