"""`.remote` and `.spawn`: values and errors come home, waiting ends."""

import asyncio
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

import ingle
from ingle.exceptions import ConnectionError, InvalidError
from ingle.model.call import INLINE_BYTES_MAX
from ingle.sdk import connection, output
from ingle.sdk.connection import current
from ingle.testing.waiting import wait_until
from ingle.wire import api


def double(x, plus=0):
    return 2 * x + plus


def test_remote(deploy, stub):
    f = deploy(double)
    assert f.remote(4) == 8
    assert f.remote(4, plus=1) == 9
    assert f.local(5) == 10
    put = stub.said(api.PutInputs)[0]
    assert put.kind == "remote" and put.function == "fu-double" and put.first == 0


def test_remote_aio(deploy):
    f = deploy(double)

    async def main():
        assert await asyncio.gather(*(f.remote.aio(i) for i in range(50))) == [2 * i for i in range(50)]

    asyncio.run(main())


def test_many_threads(deploy):
    f = deploy(double)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(f.remote, range(300))) == [2 * i for i in range(300)]


@pytest.mark.parametrize("size", [0, 100, 20_000, (1 << 20) - 200, 1 << 20, 5 << 20])
def test_sizes(deploy, size):
    f = deploy(lambda x: x, name="echo")
    data = bytes(size)
    assert f.remote(data) == data
    assert f.spawn(data).get(timeout=10) == data


def test_what_is_raised_comes_home(deploy):
    def fail(how):
        if how == "key":
            raise KeyError("a", 7)
        raise SystemExit(3)

    f = deploy(fail)
    with pytest.raises(KeyError) as caught:
        f.remote("key")
    assert caught.value.args == ("a", 7)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[0] == "test_what_is_raised_comes_home" and names[-1] == "fail"
    with pytest.raises(SystemExit) as left:
        f.remote("exit")
    assert left.value.code == 3


def test_a_returned_exception_is_a_value(deploy):
    f = deploy(lambda: ValueError(1), name="f")
    assert type(f.remote()) is ValueError


def test_spawn(deploy, stub):
    f = deploy(double)
    call = f.spawn(4)
    assert call.object_id.startswith("fc-") and call.get() == 8 and call.get(timeout=0) == 8
    assert ingle.FunctionCall.from_id(call.object_id).get(timeout=5) == 8
    assert call.num_inputs() == 1
    assert pickle.loads(pickle.dumps(call)) == call

    async def main():
        again = await f.spawn.aio(5)
        assert await again.get.aio(timeout=5) == 10
        assert await again.num_inputs.aio() == 1

    asyncio.run(main())


def test_get_without_a_result(deploy, stub):
    f = deploy(double)
    stub.hold = True
    call = f.spawn(1)
    for timeout in (0, 0.05):
        with pytest.raises(TimeoutError) as caught:
            call.get(timeout=timeout)
        assert type(caught.value) is TimeoutError
    waiting = ThreadPoolExecutor(2)
    both = [waiting.submit(call.get) for _ in range(2)]
    stub.wait(lambda: len(stub.said(api.WatchCall)) >= 4)
    stub.release()
    assert [one.result(5) for one in both] == [2, 2]


def test_a_call_that_nobody_knows(deploy):
    deploy(double)
    with pytest.raises(ingle.exceptions.NotFoundError, match="fc-nobody"):
        ingle.FunctionCall.from_id("fc-nobody").get(timeout=0)
    for wrong in ("nobody", "fu-1", 5):
        with pytest.raises(InvalidError):
            ingle.FunctionCall.from_id(wrong)


def test_cancel(deploy, stub):
    f = deploy(double)
    stub.hold = True
    call = f.spawn(1)
    call.cancel()
    with pytest.raises(ingle.exceptions.CallCancelledError):
        call.get(timeout=5)


def test_a_caller_that_leaves_cancels_its_call(deploy, stub):
    f = deploy(double)
    stub.hold = True

    async def main():
        task = asyncio.ensure_future(f.remote.aio(1))
        await asyncio.get_running_loop().run_in_executor(None, stub.wait, lambda: stub.said(api.PutInputs))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    stub.wait(lambda: stub.said(api.CloseCall))
    assert not current().calls


def test_results_are_acknowledged(deploy, stub):
    f = deploy(double)
    for i in range(70):
        f.remote(i)
    stub.wait(lambda: sum(len(m.inputs) for m in stub.said(api.AckOutputs)) >= 70)


def test_the_connection_comes_back(deploy, stub):
    f = deploy(double)
    stub.hold = True
    pool = ThreadPoolExecutor(8)
    calls = [pool.submit(f.remote, i) for i in range(8)]
    stub.wait(lambda: len(stub.said(api.PutInputs)) == 8)
    stub.drop()
    stub.wait(lambda: len(stub.said(api.PutInputs)) == 16)
    assert len(stub.said(api.Attach)) == 2 and len({m.session for m in stub.said(api.Hello)}) == 1
    stub.release()
    assert [call.result(5) for call in calls] == [2 * i for i in range(8)]
    assert len(stub.runs) == 8


def test_the_connection_stays_away(deploy, stub, monkeypatch):
    f = deploy(double)
    monkeypatch.setenv("INGLE_RECONNECT_S", "0.2")
    stub.hold = True
    pool = ThreadPoolExecutor(1)
    call = pool.submit(f.remote, 1)
    stub.wait(lambda: stub.said(api.PutInputs))
    stub.refuse_ws = True
    stub.drop()
    with pytest.raises(ConnectionError):
        call.result(10)
    stub.refuse_ws = False


def test_a_server_that_is_away_is_spoken_of(deploy, stub, monkeypatch):
    class Shown:
        def __init__(self):
            self.notices = []

        def notice(self, kind, topic, text, done):
            self.notices.append((kind, text, done))

        def logs(self, app, lines): ...

    f = deploy(double)
    shown = Shown()
    monkeypatch.setattr(connection, "NOTICE_S", 0.0)
    with output.showing(shown):
        stub.hold = True
        call = ThreadPoolExecutor(1).submit(f.remote, 1)
        stub.wait(lambda: stub.said(api.PutInputs))
        stub.refuse_ws = True
        stub.drop()
        wait_until(lambda: any("is away" in text and not done for _, text, done in shown.notices), "the notice")
        stub.refuse_ws = False
        wait_until(lambda: any(done for _, _, done in shown.notices), "the notice's end")
        stub.release()
        assert call.result(10) == 2


def test_a_malformed_frame_is_an_error(deploy, stub):
    f = deploy(double)
    stub.hold = True
    call = ThreadPoolExecutor(1).submit(f.remote, 1)
    stub.wait(lambda: stub.said(api.PutInputs))
    stub.tell_raw(b"\xff\xff\xff\xffnonsense")
    with pytest.raises(ConnectionError, match="cannot read"):
        call.result(5)


def test_a_refused_call_fails(deploy, stub):
    f = deploy(double)
    stub.hold = True
    call = ThreadPoolExecutor(1).submit(f.remote, 1)
    stub.wait(lambda: stub.said(api.PutInputs))
    stub.tell(api.Refused("placement", "no node has 9 GiB", stub.said(api.PutInputs)[0].call))
    with pytest.raises(ingle.exceptions.PlacementError, match="9 GiB"):
        call.result(5)


def test_what_cannot_be_pickled(deploy):
    f = deploy(double)
    with pytest.raises(InvalidError, match="pickle"):
        f.remote(threading.Lock())


def test_functions_travel(deploy):
    f, g = deploy(double, call_it)
    assert g.remote(f, 4) == 8


def call_it(function, x):
    assert isinstance(function, ingle.Function) and function.object_id == "fu-double"
    return function.remote(x)


def test_not_running(stub):
    app = ingle.App("idle")
    f = app.function(serialized=True)(double)
    with pytest.raises(InvalidError, match="ingle run") as caught:
        f.remote(1)
    assert "app.run()" in str(caught.value)
    with pytest.raises(InvalidError, match=r"\.remote\("):
        f(1)


def test_a_large_result_is_acknowledged_when_it_has_been_fetched(deploy, stub):
    f = deploy(double)
    results = f.map([b"x" * INLINE_BYTES_MAX] * 2, kwargs={"plus": b""})  # doubled: blobs

    def acknowledged(number):
        return [i for m in stub.said(api.AckOutputs) for i in m.inputs if i.endswith(f":{number}")]

    assert len(next(results)) == 2 * INLINE_BYTES_MAX
    stub.wait(lambda: acknowledged(0))
    assert not acknowledged(1)
    assert len(next(results)) == 2 * INLINE_BYTES_MAX
    stub.wait(lambda: acknowledged(1))
