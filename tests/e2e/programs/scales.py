"""Functions by how many containers they may have."""

import os
import time

import ingle

app = ingle.App("scales")
TOKEN = os.urandom(8).hex()


def hold(seconds):
    time.sleep(seconds)
    return TOKEN


few = app.function(name="few", cpu=0.05, memory=64, max_containers=2, scaledown_window=2)(hold)
many = app.function(name="many", cpu=0.05, memory=64, max_containers=6, scaledown_window=2)(hold)
kept = app.function(name="kept", cpu=0.05, memory=64, min_containers=2, scaledown_window=1)(hold)
ahead = app.function(name="ahead", cpu=0.05, memory=64, buffer_containers=2, scaledown_window=2)(hold)
huge = app.function(name="huge", memory=16_000_000)(hold)
wide = app.function(name="wide", cpu=1000.0)(hold)


@app.function(cpu=1.0, memory=64)
def inner(x):
    return x + 1


@app.function(cpu=1.0, memory=64)
def outer(x):
    """As many as there are cores keep every core while they wait for the inner one."""
    return inner.remote(x) * 2


@app.local_entrypoint()
def calls_within_calls():
    count = 3 * (os.cpu_count() or 1)
    assert list(outer.map(range(count))) == [(x + 1) * 2 for x in range(count)]


@app.local_entrypoint()
def at_most_two():
    tokens = list(few.map([0.5] * 8))
    assert 1 <= len(set(tokens)) <= 2, tokens


@app.local_entrypoint()
def up_to_six():
    start = time.monotonic()
    tokens = list(many.map([2.0] * 6))
    assert len(set(tokens)) == 6, tokens
    assert time.monotonic() - start < 25


@app.local_entrypoint()
def wait_for_a_word():
    """Keeps the app open while the test looks on from outside."""
    print("open", flush=True)
    few.remote(0)
    print("few answered", flush=True)
    ahead.remote(0)
    print("ahead answered", flush=True)
    time.sleep(60)


@app.local_entrypoint()
def what_never_fits():
    for function, need in ((huge, "memory"), (wide, "cores")):
        start = time.monotonic()
        try:
            function.remote(0)
        except ingle.exceptions.PlacementError as error:
            assert need in str(error).lower(), error
        else:
            raise AssertionError("it fitted")
        assert time.monotonic() - start < 10


@app.local_entrypoint()
def what_must_wait(memory_mib: int):
    """Two calls that each need more than half of the node's memory: the second waits and says why."""
    other = ingle.App("scales-wait")
    half = other.function(name="half", memory=memory_mib)(hold)
    with ingle.enable_output(), other.run():
        calls = [half.spawn(4.0), half.spawn(0.0)]
        assert [len(call.get(timeout=60)) for call in calls] == [16, 16]
