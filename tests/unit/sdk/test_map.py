"""`.map` and its kin: lazy, bounded, ordered or not, ended by the first failure or by who leaves."""

import asyncio
import gc
import itertools
import threading

import pytest

import ingle
from ingle.exceptions import InvalidError
from ingle.sdk.connection import current
from ingle.wire import api


def add(x, y=0):
    return x + y


def picky(x):
    if x % 2:
        raise ValueError(x)
    return x


def test_values(deploy):
    f = deploy(add)
    assert list(f.map(range(2500))) == list(range(2500))
    assert sorted(f.map(range(300), order_outputs=False)) == list(range(300))
    assert list(f.map([])) == []
    assert list(f.map([1, 2, 3], [10, 20])) == [11, 22]
    assert list(f.starmap([(1, 2), [3, 4]])) == [3, 7]
    assert list(f.map([1, 2], kwargs={"y": 5})) == [6, 7]
    assert f.for_each(range(5)) is None
    assert not current().calls


def test_order(deploy):
    gate = threading.Event()

    def wait(x):
        if x == 0:
            assert gate.wait(10)
        return x

    f = deploy(wait)
    unordered = f.map(range(3), order_outputs=False)
    assert {next(unordered), next(unordered)} == {1, 2}
    gate.set()
    assert list(unordered) == [0]


def test_the_first_failure_ends_it(deploy, stub):
    f = deploy(picky)
    with pytest.raises(ValueError) as caught:
        list(f.map([0, 2, 3, 4]))
    assert caught.value.args == (3,)
    stub.wait(lambda: stub.said(api.CloseCall))
    got = list(f.map(range(4), return_exceptions=True))
    assert got[::2] == [0, 2] and [type(e) for e in got[1::2]] == [ValueError, ValueError]
    with pytest.raises(ValueError):
        f.for_each([1])
    f.for_each([1], ignore_exceptions=True)


def test_an_endless_input_is_read_as_it_goes(deploy, stub):
    f = deploy(add)
    read = itertools.count()
    last = 0

    def endless():
        nonlocal last
        for number in read:
            last = number
            yield number

    results = f.map(endless())
    assert list(itertools.islice(results, 1500)) == list(range(1500))
    assert last <= 2550
    results.close()
    stub.wait(lambda: stub.said(api.CloseCall))
    seen = next(read)
    assert not current().calls and next(read) <= seen + 300


def test_at_most_a_thousand_are_outstanding(deploy, stub):
    f = deploy(add)
    stub.hold = True
    made = []
    results = f.map(made.append(i) or i for i in range(5000))
    getter = threading.Thread(target=lambda: next(results))
    getter.start()
    stub.wait(lambda: len(stub.inputs) == 1000)
    assert len(made) == 1000
    stub.release()
    getter.join(10)
    results.close()


def test_an_abandoned_map_is_closed(deploy, stub):
    f = deploy(add)
    results = f.map(range(10))
    next(results)
    del results
    gc.collect()
    stub.wait(lambda: stub.said(api.CloseCall))


def test_a_slow_input_does_not_hold_back_what_it_gave(deploy):
    f = deploy(add)
    got = threading.Event()

    def slow():
        yield 1
        assert got.wait(10), "the first input was not sent while the second was not there"
        yield 2

    results = f.map(slow())
    assert next(results) == 1
    got.set()
    assert list(results) == [2]


def test_what_the_input_raises(deploy):
    f = deploy(add)

    def breaks():
        yield from range(3)
        raise OSError("the input broke")

    got = []
    with pytest.raises(OSError, match="broke"):
        for value in f.map(breaks()):
            got.append(value)
    assert got == [0, 1, 2]
    with pytest.raises(InvalidError, match="pickle"):
        list(f.map([threading.Lock()]))
    with pytest.raises(InvalidError):
        f.map()
    with pytest.raises(InvalidError, match="iterate"):
        f.map(5)
    with pytest.raises(InvalidError, match="kwargs"):
        f.map([1], kwargs=[2])


def test_large_inputs(deploy):
    f = deploy(lambda x: len(x), name="length")
    data = [bytes(1 << 21) for _ in range(8)]
    assert list(f.map(data)) == [1 << 21] * 8
    mixed = [b"a", bytes(1 << 21), b"bc"]
    assert list(f.map(mixed)) == [1, 1 << 21, 2]


def test_the_connection_comes_back(deploy, stub):
    f = deploy(add)
    stub.hold = True
    results = f.map(range(500))
    got = []
    reader = threading.Thread(target=lambda: got.extend(results))
    reader.start()
    stub.wait(lambda: len(stub.inputs) == 500)
    stub.drop()
    stub.wait(lambda: stub.connections == 2)
    stub.release()
    reader.join(10)
    assert got == list(range(500)) and len(stub.runs) == 500


def test_aio(deploy):
    f = deploy(add)
    g = None

    async def source(count):
        for i in range(count):
            await asyncio.sleep(0)
            yield i

    async def main():
        nonlocal g
        assert [x async for x in f.map.aio(range(1500))] == list(range(1500))
        assert [x async for x in f.map.aio(source(1500))] == list(range(1500))
        assert [x async for x in f.map.aio(source(3), [10, 20])] == [10, 21]
        assert [x async for x in f.starmap.aio([(1, 2)])] == [3]
        assert sorted([x async for x in f.map.aio(source(20), order_outputs=False)]) == list(range(20))
        await f.for_each.aio(source(3))
        async for x in f.map.aio(source(10**9)):
            if x == 1200:
                break

    asyncio.run(main())


def test_spawn_map(deploy, stub):
    f = deploy(add)
    call = f.spawn_map(range(1200))
    assert isinstance(call, ingle.FunctionCall) and call.num_inputs() == 1200
    assert call.get(index=7) == 7
    assert list(call.iter()) == list(range(1200))
    assert list(call.iter(3, 5)) == [3, 4]
    with pytest.raises(InvalidError, match="1200"):
        call.get(index=1200, timeout=1)
    with pytest.raises(InvalidError):
        f.spawn_map([])

    async def main():
        again = await f.spawn_map.aio(range(3))
        assert [x async for x in again.iter.aio()] == [0, 1, 2]

    asyncio.run(main())
