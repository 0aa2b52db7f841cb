"""Measures Ray: sync actor calls, many calls, fresh actors, arguments. Runs in the bench's own environment."""

import os
import time

import ray

_actors = []


@ray.remote(num_cpus=0)
class Actor:
    def noop(self, x=None):
        return x

    def size_of(self, data):
        return len(data)


def open_app():
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", num_cpus=os.cpu_count())
    _actors.extend(Actor.remote() for _ in range(os.cpu_count()))
    ray.get([a.noop.remote(1) for a in _actors for _ in range(100)])


def close_app():
    ray.shutdown()


def calls(count):
    took = []
    for _ in range(count):
        start = time.perf_counter()
        ray.get(_actors[0].noop.remote())
        took.append((time.perf_counter() - start) * 1e3)
    return took


def map_rate(count):
    start = time.perf_counter()
    got = ray.get([_actors[i % len(_actors)].noop.remote(i) for i in range(count)])
    assert got == list(range(count))
    return count / (time.perf_counter() - start)


def argument(size):
    data = os.urandom(size)
    start = time.perf_counter()
    assert ray.get(_actors[0].size_of.remote(data)) == size
    return size / (1 << 20) / (time.perf_counter() - start)


def scale(count):
    start = time.perf_counter()
    fresh = [Actor.remote() for _ in range(count)]
    ray.get([a.noop.remote() for a in fresh])
    took = time.perf_counter() - start
    for actor in fresh:
        ray.kill(actor)
    return took, count


if __name__ == "__main__":
    from serve import serve

    serve({f.__name__: f for f in (open_app, close_app, calls, map_rate, argument, scale)})
