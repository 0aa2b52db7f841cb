"""Generators, sync and async, near and far."""

import asyncio
import time

import ingle

app = ingle.App("generators")
STATE = []


@app.function(max_containers=1)
def numbers(count, pause=0.0):
    for i in range(count):
        yield i
        time.sleep(pause)


@app.function()
async def numbers_async(count):
    for i in range(count):
        await asyncio.sleep(0)
        yield i


@app.function()
def stamps(count):
    for _ in range(count):
        yield time.time()


@app.function()
def breaks():
    yield 1
    yield 2
    raise LookupError("after two")


@app.function()
def plain():
    return 1


@app.function(max_containers=1)
def unfinished(ask=False):
    if ask:
        yield list(STATE)
        return
    try:
        yield from range(1_000_000)
    finally:
        STATE.append("closed")


def expect(kind, call, *args):
    try:
        value = call(*args)
    except kind as error:
        return error
    raise AssertionError(f"it returned {value!r}")


@app.local_entrypoint()
def yields_as_the_remote_yields():
    start = time.monotonic()
    items = numbers.remote_gen(4, 1.0)
    assert next(items) == 0
    assert time.monotonic() - start < 10
    first = time.monotonic()
    assert next(items) == 1
    assert 0.5 < time.monotonic() - first < 3
    assert list(items) == [2, 3]
    assert list(numbers.remote_gen(3000)) == list(range(3000))
    assert list(numbers.remote_gen(0)) == []


@app.local_entrypoint()
def async_generators():
    assert list(numbers_async.remote_gen(300)) == list(range(300))

    async def main():
        assert [i async for i in numbers_async.remote_gen.aio(100)] == list(range(100))

    asyncio.run(main())


@app.local_entrypoint()
def the_far_end_waits_for_us():
    items = stamps.remote_gen(2000)
    next(items)
    time.sleep(1.5)
    late = [next(items) for _ in range(400)][-1]
    held = time.time()
    assert held - late < 1.0, f"item 400 was made {held - late:.1f} s ago, while nobody asked for it"


@app.local_entrypoint()
def an_error_in_the_middle():
    got = []
    try:
        for item in breaks.remote_gen():
            got.append(item)
    except LookupError as error:
        assert error.args == ("after two",)
    else:
        raise AssertionError("the error is lost")
    assert got == [1, 2]


@app.local_entrypoint()
def leaving_early_ends_the_far_end():
    items = unfinished.remote_gen()
    assert next(items) == 0
    items.close()
    assert list(unfinished.remote_gen(ask=True)) in ([["closed"]], [[]])  # [[]]: another container, the first was killed


@app.local_entrypoint()
def the_wrong_way_to_call():
    invalid = ingle.exceptions.InvalidError
    for call in (numbers.remote, numbers.spawn):
        assert "remote_gen" in str(expect(invalid, call, 1))
    assert "remote_gen" in str(expect(invalid, lambda: list(numbers.map([1]))))
    assert "remote" in str(expect(invalid, lambda: list(plain.remote_gen())))
