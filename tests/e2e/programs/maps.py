"""map, starmap, for_each, spawn_map."""

import asyncio
import itertools
import os
import time

import ingle

app = ingle.App("maps")


@app.function(cpu=0.05, memory=64, max_containers=4)
def work(x, seconds=0.0, y=0):
    time.sleep(seconds)
    return x + y


@app.function(cpu=0.05, memory=64, max_containers=4)
def picky(x):
    if x % 2:
        raise ValueError(x)
    return x


@app.function(cpu=0.05, memory=64, max_containers=4)
def sleepy(seconds):
    time.sleep(seconds)
    return seconds


@app.function(max_containers=1)
def seen(add=None, SEEN=[]):  # noqa: B006
    if add is not None:
        SEEN.append(add)
    return sorted(SEEN)


@app.local_entrypoint()
def ordered_and_unordered():
    assert list(work.map(range(2500))) == list(range(2500))
    assert sorted(work.map(range(500), order_outputs=False)) == list(range(500))
    assert list(work.map([])) == []
    assert list(work.map([1, 2], [0, 0], [10, 20])) == [11, 22]
    assert list(work.starmap([(1, 0, 2), (3, 0, 4)])) == [3, 7]
    assert list(work.map([1, 2], kwargs={"y": 10})) == [11, 12]


@app.local_entrypoint()
def unordered_yields_what_is_ready():
    list(sleepy.map([0] * 8))
    start = time.monotonic()
    got = list(sleepy.map([2.0, 0.0, 0.0], order_outputs=False))
    assert got[-1] == 2.0 and sorted(got) == [0.0, 0.0, 2.0], got
    assert time.monotonic() - start < 10


@app.local_entrypoint()
def the_first_result_comes_while_others_run():
    list(sleepy.map([0.3] * 8))  # some containers are there
    start = time.monotonic()
    results = sleepy.map([0.0, 6.0])
    assert next(results) == 0.0
    assert time.monotonic() - start < 4, "the first result waited for the second"
    results.close()


@app.local_entrypoint()
def exceptions_as_values():
    got = list(picky.map(range(6), return_exceptions=True))
    assert [x if isinstance(x, int) else (type(x).__name__, x.args) for x in got] == [
        0, ("ValueError", (1,)), 2, ("ValueError", (3,)), 4, ("ValueError", (5,)),
    ], got  # fmt: skip


@app.local_entrypoint()
def the_first_failure_ends_it():
    start = time.monotonic()
    got = []
    try:
        for value in picky.map([0, 2, 3, 4, 6]):
            got.append(value)
    except ValueError as error:
        assert error.args == (3,)
    else:
        raise AssertionError("no failure arrived")
    assert got in ([], [0], [0, 2]), got
    assert time.monotonic() - start < 20


@app.local_entrypoint()
def an_endless_input():
    made = 0

    def endless():
        nonlocal made
        while True:
            made += 1
            yield made

    got = list(itertools.islice(work.map(endless()), 1500))
    assert got == list(range(1, 1501))
    assert made <= 1500 + 1000 + 50, f"{made} inputs were read for 1500 results"


@app.local_entrypoint()
def an_input_that_breaks():
    def breaks():
        yield 1
        raise OSError("the input broke")

    try:
        list(work.map(breaks()))
    except OSError as error:
        assert "the input broke" in str(error)
    else:
        raise AssertionError("the error of the input is lost")


@app.local_entrypoint()
def for_each_returns_nothing():
    assert seen.for_each(range(20)) is None
    assert seen.remote() == list(range(20))
    try:
        picky.for_each([0, 1])
    except ValueError:
        pass
    else:
        raise AssertionError("the failure is lost")
    assert picky.for_each([0, 1, 2], ignore_exceptions=True) is None


@app.local_entrypoint()
def spawned_maps():
    call = seen.spawn_map(range(30))
    assert isinstance(call, ingle.FunctionCall)
    assert call.num_inputs() == 30
    assert sorted(len(result) for result in call.iter()) == list(range(1, 31)), "one result for each"
    assert call.get(timeout=10, index=29) and seen.remote() == list(range(30))


@app.local_entrypoint()
def maps_from_async_code():
    async def main():
        got = [x async for x in work.map.aio(range(50))]
        assert got == list(range(50))

        async def source():
            for i in range(20):
                yield i

        assert [x async for x in work.map.aio(source())] == list(range(20))
        assert await asyncio.gather(*(work.remote.aio(i) for i in range(20))) == list(range(20))
        call = await work.spawn.aio(5)
        assert await call.get.aio(timeout=30) == 5

    asyncio.run(main())


@app.local_entrypoint()
def many_threads_call_at_once():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work.remote, range(300))) == list(range(300))


@app.local_entrypoint()
def large_elements():
    data = [os.urandom(1 << 18) * 5 for _ in range(12)]  # above the inline bound
    for sent, got in zip(data, work.map(data, kwargs={"y": b""}), strict=False):
        assert sent == got
