"""`.remote_gen`: items come as they are made, no more than are wanted."""

import asyncio
import itertools
import pickle
import threading

import pytest

from ingle.exceptions import ConnectionError, InvalidError
from ingle.sdk.connection import current
from ingle.wire import api


def count(to):
    yield from range(to)


def breaks():
    yield 1
    raise LookupError("after one")


def plain(x):
    return x


def test_items(deploy):
    f = deploy(count)
    assert list(f.remote_gen(0)) == []
    assert list(f.remote_gen(1000)) == list(range(1000))

    async def main():
        assert [x async for x in f.remote_gen.aio(300)] == list(range(300))

    asyncio.run(main())
    assert not current().calls


def test_back_pressure(deploy, stub):
    made = []

    def watched():
        for i in range(10_000):
            made.append(i)
            yield i

    f = deploy(watched)
    items = f.remote_gen()
    assert list(itertools.islice(items, 10)) == list(range(10))
    stub.wait(lambda: len(made) >= 65)
    assert len(made) <= 80
    items.close()
    stub.wait(lambda: stub.said(api.CloseCall))


def test_an_error_in_the_middle(deploy):
    f = deploy(breaks)
    items = f.remote_gen()
    assert next(items) == 1
    with pytest.raises(LookupError, match="after one"):
        next(items)


def test_a_new_attempt_leaves_out_what_was_yielded(deploy, stub):
    f = deploy(count)
    stub.hold = True
    stub.functions["fu-count"] = lambda to: iter(())
    items = f.remote_gen(4)

    def say(attempt, first, *values):
        import pickle

        data = [pickle.dumps(v) for v in values]
        call = stub.said(api.PutInputs)[-1].call
        stub.tell(api.Yielded(f"{call}:0", attempt, first, [len(d) for d in data]), b"".join(data))

    import threading

    got = []
    reader = threading.Thread(target=lambda: got.extend(items))
    reader.start()
    stub.wait(lambda: stub.said(api.PutInputs))
    say(0, 0, "a", "b")
    say(1, 0, "a")
    say(0, 2, "late")
    say(1, 1, "b", "c")
    stub.release()
    reader.join(10)
    assert got == ["a", "b", "c"]


def test_what_was_taken_is_said_in_all_of_each_attempt_and_again_after_a_reconnect(deploy, stub):
    f = deploy(count)
    stub.hold = True
    stub.functions["fu-count"] = lambda to: iter(())
    items = f.remote_gen(4)
    got = []
    reader = threading.Thread(target=lambda: got.extend(itertools.islice(items, 150)))
    reader.start()
    stub.wait(lambda: stub.said(api.PutInputs))
    one = stub.said(api.PutInputs)[0].call + ":0"

    def say(attempt, first, end):
        data = [pickle.dumps(n) for n in range(first, end)]
        stub.tell(api.Yielded(one, attempt, first, [len(d) for d in data]), b"".join(data))

    def credits():
        return [(m.attempt, m.taken) for m in stub.said(api.Credit)]

    say(7, 0, 100)
    stub.wait(lambda: (7, 96) in credits())
    say(9, 0, 64)  # nothing of it is new, and it waits for more credit
    stub.wait(lambda: credits()[-1] == (9, 64))
    say(9, 64, 120)
    stub.wait(lambda: credits()[-1] >= (9, 96))
    before = len(credits())
    stub.drop()
    stub.wait(lambda: len(credits()) > before)
    assert (9, 96) <= credits()[-1] <= (9, 120)
    say(9, 120, 150)
    reader.join(10)
    assert got == list(range(150))
    items.close()


def test_lost_items_are_an_error(deploy, stub):
    import pickle

    f = deploy(count)
    stub.hold = True
    items = f.remote_gen(4)
    from concurrent.futures import ThreadPoolExecutor

    one = ThreadPoolExecutor(1).submit(next, items)
    stub.wait(lambda: stub.said(api.PutInputs))
    data = pickle.dumps(1)
    stub.tell(api.Yielded(stub.said(api.PutInputs)[0].call + ":0", 0, 5, [len(data)]), data)
    with pytest.raises(ConnectionError, match="lost"):
        one.result(5)


def test_the_wrong_way(deploy):
    f, g = deploy(count, plain)
    for way in (f.remote, f.spawn, f.map, f.spawn_map):
        with pytest.raises(InvalidError, match="remote_gen"):
            way([1])
    with pytest.raises(InvalidError, match=r"\.remote\("):
        g.remote_gen(1)
    assert f.is_generator and not g.is_generator
