"""Measures what the standard library has: ProcessPoolExecutor, and the floor: one byte there and back through pipes."""

import os
import time
from concurrent.futures import ProcessPoolExecutor

_pools = []


def noop(x=None):
    return x


def open_app():
    _pools.append(ProcessPoolExecutor(1))
    _pools.append(ProcessPoolExecutor(os.cpu_count()))
    for pool in _pools:
        list(pool.map(noop, range(100)))


def close_app():
    while _pools:
        _pools.pop().shutdown()


def calls(count):
    took = []
    for _ in range(count):
        start = time.perf_counter()
        _pools[0].submit(noop).result()
        took.append((time.perf_counter() - start) * 1e3)
    return took


def map_rate(count):
    start = time.perf_counter()
    assert list(_pools[1].map(noop, range(count))) == list(range(count))
    return count / (time.perf_counter() - start)


def argument(size):
    data = os.urandom(size)
    start = time.perf_counter()
    assert _pools[0].submit(len, data).result() == size
    return size / (1 << 20) / (time.perf_counter() - start)


def ping_pong(count):
    """Milliseconds of each byte that a child process sends back."""
    (to_read, to_write), (back_read, back_write) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(to_write)
        while byte := os.read(to_read, 1):
            os.write(back_write, byte)
        os._exit(0)
    os.close(to_read)
    took = []
    for _ in range(count):
        start = time.perf_counter()
        os.write(to_write, b"x")
        os.read(back_read, 1)
        took.append((time.perf_counter() - start) * 1e3)
    os.close(to_write)
    os.waitpid(child, 0)
    for descriptor in (back_read, back_write):
        os.close(descriptor)
    return took


if __name__ == "__main__":
    from serve import serve

    serve({f.__name__: f for f in (open_app, close_app, calls, map_rate, argument, ping_pong)})
