"""Measures Ingle as a user's program: fresh interpreter, public SDK, one warm app."""

import os
import time

import ingle

TOKEN = os.urandom(8).hex()  # in a container: which one it is


def noop(x=None):
    return x


def size_of(data):
    return len(data)


def hold(seconds):
    time.sleep(seconds)
    return TOKEN


app = ingle.App("bench")
warm = app.function(cpu=0.125, memory=128, max_containers=1)(noop)
many = app.function(name="many", cpu=0.125, memory=128, max_containers=os.cpu_count())(noop)
sized = app.function(memory=1024, max_containers=1)(size_of)
_open = []


def open_app():
    run = app.run()
    run.__enter__()
    _open.append(run)
    warm.remote(1), sized.remote(b"x")
    list(many.map(range(100)))


def close_app():
    _open.pop().__exit__(None, None, None)


def calls(count):
    """Milliseconds of each call."""
    took = []
    for _ in range(count):
        start = time.perf_counter()
        warm.remote()
        took.append((time.perf_counter() - start) * 1e3)
    return took


def map_rate(count):
    start = time.perf_counter()
    for expected, got in enumerate(many.map(range(count))):
        assert expected == got
    return count / (time.perf_counter() - start)


def argument(size):
    """MiB a second into a function, its call included."""
    data = os.urandom(size)
    start = time.perf_counter()
    assert sized.remote(data) == size
    return size / (1 << 20) / (time.perf_counter() - start)


def copy(size):
    data = os.urandom(size)
    start = time.perf_counter()
    bytearray(data)
    return size / (1 << 20) / (time.perf_counter() - start)


def cold(number):
    """Milliseconds from the call of a function that never ran to its result."""
    fresh = ingle.App(f"bench-cold-{number}")
    function = fresh.function(cpu=0.125, memory=128)(noop)
    with fresh.run():
        start = time.perf_counter()
        assert function.remote(7) == 7
        return (time.perf_counter() - start) * 1e3


def scale(count, seconds):
    """Seconds until `count` containers, none of them there before, have answered, and how many there really were. Each
    answer is held back for `seconds`, so that no container can answer twice; those seconds are taken off."""
    fresh = ingle.App("bench-scale")
    function = fresh.function(cpu=0.02, memory=64, max_containers=count)(hold)
    with fresh.run():
        start = time.perf_counter()
        tokens = list(function.map([seconds] * count))
        return time.perf_counter() - start - seconds, len(set(tokens))


if __name__ == "__main__":
    from serve import serve

    serve({f.__name__: f for f in (open_app, close_app, calls, map_rate, argument, copy, cold, scale)})
