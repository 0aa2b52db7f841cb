"""Two kinds of time-out, and retries."""

import itertools
import os
import time

import ingle

app = ingle.App("timeouts")
TOKEN = os.urandom(8).hex()
STAMPS = []

if not ingle.is_local() and os.environ.get("SLOW_IMPORT"):
    time.sleep(60)


@app.function(timeout=1, max_containers=1)
def one_second(seconds):
    time.sleep(seconds)
    return TOKEN


@app.function(timeout=1)
async def one_second_async(seconds):
    import asyncio

    await asyncio.sleep(seconds)
    return TOKEN


@app.function(timeout=1)
def stubborn():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except BaseException:
            pass


@app.function(timeout=2, max_containers=1)
def takes_its_time():
    time.sleep(1.2)
    return 1


@app.function(startup_timeout=2, env={"SLOW_IMPORT": "1"})
def slow_import():
    return 1


@app.function()
def later(seconds):
    time.sleep(seconds)
    return "done"


@app.function(max_containers=1, retries=2)
def twice_wrong():
    STAMPS.append(time.monotonic())
    if len(STAMPS) < 3:
        raise ValueError(len(STAMPS))
    return [b - a for a, b in itertools.pairwise(STAMPS)]


@app.function(max_containers=1, retries=2)
def always_wrong():
    STAMPS.append(1)
    raise ValueError(len(STAMPS))


@app.function(
    max_containers=1, retries=ingle.Retries(max_retries=3, initial_delay=0.2, backoff_coefficient=2.0, max_delay=0.5)
)
def backs_off():
    STAMPS.append(time.monotonic())
    if len(STAMPS) < 4:
        raise ValueError(len(STAMPS))
    return [b - a for a, b in itertools.pairwise(STAMPS)]


@app.function(max_containers=1, retries=1, timeout=1)
def slow_once():
    STAMPS.append(1)
    if len(STAMPS) == 1:
        time.sleep(30)
    return len(STAMPS)


def expect(kind, call, *args, **kwargs):
    try:
        value = call(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"it returned {value!r}")


@app.local_entrypoint()
def longer_than_the_timeout():
    before = one_second.remote(0)
    start = time.monotonic()
    error = expect(ingle.exceptions.FunctionTimeoutError, one_second.remote, 30)
    assert time.monotonic() - start < 6
    assert not isinstance(error, TimeoutError) and isinstance(error, ingle.Error)
    assert "1" in str(error), str(error)
    assert one_second.remote(0) == before, "code that listens to its end keeps its container"
    expect(ingle.exceptions.FunctionTimeoutError, one_second_async.remote, 30)


@app.local_entrypoint()
def code_that_ignores_its_end_is_killed():
    start = time.monotonic()
    expect(ingle.exceptions.FunctionTimeoutError, stubborn.remote)
    assert time.monotonic() - start < 15


@app.local_entrypoint()
def waiting_does_not_count():
    assert list(takes_its_time.map(range(0))) == []
    calls = [takes_its_time.spawn() for _ in range(3)]
    assert [call.get(timeout=60) for call in calls] == [1, 1, 1]


@app.local_entrypoint()
def start_up_has_its_own_bound():
    start = time.monotonic()
    error = expect(ingle.exceptions.StartupTimeoutError, slow_import.remote)
    assert time.monotonic() - start < 30
    assert isinstance(error, ingle.exceptions.FunctionTimeoutError)


@app.local_entrypoint()
def get_has_a_time_out_of_its_own():
    call = later.spawn(1.5)
    start = time.monotonic()
    error = expect(TimeoutError, call.get, timeout=0)
    assert time.monotonic() - start < 1 and not isinstance(error, ingle.Error)
    expect(TimeoutError, call.get, timeout=0.1)
    assert call.get(timeout=30) == "done"
    assert call.get(timeout=0) == "done", "a result stays"
    again = ingle.FunctionCall.from_id(call.object_id)
    assert again.get(timeout=10) == "done"


@app.local_entrypoint()
def retries_come_a_second_apart():
    gaps = twice_wrong.remote()
    assert len(gaps) == 2 and all(0.9 <= gap < 4 for gap in gaps), gaps


@app.local_entrypoint()
def the_last_attempt_decides():
    error = expect(ValueError, always_wrong.remote)
    assert error.args == (3,), error


@app.local_entrypoint()
def delays_grow_to_their_bound():
    first, second, third = backs_off.remote()
    assert 0.15 <= first < 1 and 0.35 <= second < 1.5 and 0.45 <= third < 1.5, (first, second, third)


@app.local_entrypoint()
def a_time_out_is_tried_again():
    assert slow_once.remote() == 2
