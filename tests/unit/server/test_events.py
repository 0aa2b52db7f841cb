"""Where the rules say what has happened."""

import asyncio
import time

from ingle.server.events import Events


async def test_the_listener_hears_all_at_once():
    events, heard = Events(), []
    events.listen(lambda *said: heard.append(said))
    events.post(1, 2)
    events.post()
    assert heard == [(1, 2), ()]


async def test_quiet_ends_when_something_happens():
    events = Events()
    events.listen(lambda *said: None)
    waiting = asyncio.ensure_future(events.quiet(60.0))
    await asyncio.sleep(0)
    events.post(1)
    await asyncio.wait_for(waiting, 5)


async def test_quiet_ends_in_time():
    events, begun = Events(), time.monotonic()
    await events.quiet(0.05)
    assert 0.04 < time.monotonic() - begun < 5
