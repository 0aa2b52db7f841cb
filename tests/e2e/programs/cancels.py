"""Cancelling: what waits, what runs, what does not listen."""

import asyncio
import os
import time

import ingle
from ingle.exceptions import CallCancelledError, InputCancellation

app = ingle.App("cancels")
TOKEN = os.urandom(8).hex()
SEEN = []


@app.function(max_containers=1, retries=3)
def sync_work(seconds, mark=None):
    SEEN.append(mark)
    try:
        time.sleep(seconds)
    except InputCancellation:
        import threading

        SEEN.append(("cancelled", threading.current_thread() is threading.main_thread()))
        raise
    return TOKEN, list(SEEN)


@app.function(max_containers=1, retries=3)
async def async_work(seconds):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        SEEN.append("cancelled")
        raise
    return TOKEN, list(SEEN)


@app.function(max_containers=1)
def stubborn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.1)
        except BaseException:
            pass
    return TOKEN


@app.function(max_containers=1)
def swallows():
    try:
        time.sleep(60)
    except InputCancellation:
        pass
    return "as if nothing had been"


def cancelled(call, bound_s=15):
    start = time.monotonic()
    try:
        value = call.get(timeout=bound_s)
    except CallCancelledError:
        return time.monotonic() - start
    raise AssertionError(f"it returned {value!r}")


@app.local_entrypoint()
def what_waits_never_runs():
    token, _ = sync_work.remote(0)
    running = sync_work.spawn(1.0, "running")
    waiting = [sync_work.spawn(0, f"waits {i}") for i in range(5)]
    for call in waiting:
        call.cancel()
    for call in waiting:
        cancelled(call)
    assert running.get(timeout=30)[0] == token
    _, seen = sync_work.remote(0)
    assert not [mark for mark in seen if str(mark).startswith("waits")], seen


@app.local_entrypoint()
def running_sync_code():
    token, _ = sync_work.remote(0)
    call = sync_work.spawn(60, "long")
    time.sleep(1.0)
    call.cancel()
    assert cancelled(call) < 5
    again, seen = sync_work.remote(0)
    assert again == token, "code that listens keeps its container"
    assert ("cancelled", True) in seen and seen.count("long") == 1, seen


@app.local_entrypoint()
def running_async_code():
    token, _ = async_work.remote(0)
    call = async_work.spawn(60)
    time.sleep(1.0)
    call.cancel()
    assert cancelled(call) < 5
    again, seen = async_work.remote(0)
    assert again == token and seen == ["cancelled"], seen


@app.local_entrypoint()
def code_that_does_not_listen():
    token = stubborn.remote(0)
    call = stubborn.spawn(60)
    time.sleep(1.0)
    call.cancel()
    assert cancelled(call) < 10
    assert stubborn.remote(0) != token, "its container was to be killed"


@app.local_entrypoint()
def code_that_swallows_it():
    call = swallows.spawn()
    time.sleep(1.0)
    call.cancel()
    cancelled(call)


@app.local_entrypoint()
def cancel_twice_and_after_the_end():
    call = sync_work.spawn(0)
    value = call.get(timeout=30)
    call.cancel()
    call.cancel()
    assert call.get(timeout=10) == value, "what has ended stays as it ended"


@app.local_entrypoint()
def a_map_that_is_left_cancels_its_rest():
    results = stubborn.map([0.0, 30.0, 30.0])
    next(results)
    results.close()
    start = time.monotonic()
    stubborn.remote(0)
    assert time.monotonic() - start < 15, "what nobody waits for still holds the container"
