"""`app.run()`: an app lives as long as its block."""

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

import ingle
from ingle.exceptions import AuthError, ConnectionError, InvalidError, VersionError
from ingle.sdk import connection
from ingle.sdk.config import Config
from ingle.wire import api


def double(x):
    return 2 * x


def make(**options):
    app = ingle.App("test")
    return app, app.function(include_source=False, **options)(double)


def test_it_is_stopped_at_the_end(stub):
    app, f = make()
    assert app.app_id is None and f.object_id is None
    with app.run() as same:
        assert same is app and app.app_id == "ap-0" and f.object_id == "fu-double"
        assert stub.apps["ap-0"]["detached"] is False
        stub.wait(lambda: stub.said(api.Attach))
        assert stub.said(api.Attach)[0] == api.Attach("ap-0", True, False)
        with pytest.raises(InvalidError, match="running already"), app.run():
            pass
    assert stub.stopped == ["ap-0"] and app.app_id is None and f.object_id is None
    with pytest.raises(InvalidError, match="not running"):
        f.remote(1)
    with app.run():
        assert app.app_id == "ap-1"


def test_it_is_stopped_after_an_error(stub):
    app, _ = make()
    with pytest.raises(KeyboardInterrupt), app.run():
        raise KeyboardInterrupt
    assert stub.stopped == ["ap-0"]


def test_detached_it_lives_on(stub):
    app, _ = make()
    with app.run(detach=True):
        stub.wait(lambda: stub.said(api.Attach))
    assert stub.stopped == [] and stub.apps["ap-0"]["detached"] is True and not stub.said(api.Attach)[0].owner


def test_async(stub):
    app, f = make()
    stub.functions["fu-double"] = double

    async def main():
        async with app.run():
            assert await f.remote.aio(4) == 8

    asyncio.run(main())
    assert stub.stopped == ["ap-0"]


def test_stopped_by_somebody_else(stub):
    app, f = make()
    with app.run():
        stub.wait(lambda: stub.said(api.Attach))
        stub.tell(api.AppEnded("ap-0", "stopped with `ingle app stop`"))
        running = app._running
        running._has_ended.wait(10)
        assert running.end_reason == "stopped with `ingle app stop`"
        with pytest.raises(InvalidError, match="ingle app stop"):
            f.remote(1)
    assert stub.stopped == []


def test_two_apps_at_once(stub):
    stub.functions["fu-double"] = double
    (one, f), (two, g) = make(), make()
    with one.run(), two.run():
        assert f.remote(1) + g.remote(2) == 6
    assert stub.stopped == ["ap-1", "ap-0"] and len(stub.said(api.Hello)) == 1


def test_wrong_token_and_version(stub, monkeypatch):
    app, _ = make()
    monkeypatch.setenv("INGLE_TOKEN", "another")
    with pytest.raises(AuthError, match="INGLE_TOKEN"), app.run():
        pass
    monkeypatch.setenv("INGLE_TOKEN", "a-token")
    stub.version_error = True
    with pytest.raises(VersionError, match="wire version 9"), app.run():
        pass


def test_nobody_answers(monkeypatch):
    connection.disconnect()
    monkeypatch.setenv("INGLE_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("INGLE_TOKEN", "x")
    app, _ = make()
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"), app.run():
        pass
    monkeypatch.setenv("INGLE_RECONNECT_S", "soon")
    with pytest.raises(InvalidError, match="INGLE_RECONNECT_S"), app.run():
        pass


def test_the_server_is_away_at_the_end(stub, capsys):
    app, _ = make()
    running = app.run()
    running.__enter__()
    running._connection._http._locate = lambda: Config("http://127.0.0.1:9", "t", "x")
    import time

    start = time.monotonic()
    running.__exit__(None, None, None)
    assert time.monotonic() - start < 6 and app.app_id is None


def test_a_forked_child_has_a_session_of_its_own(deploy, stub):
    f = deploy(double)
    assert f.remote(1) == 2
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if f.remote(5) == 10 and list(f.map(range(3))) == [0, 2, 4] else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert f.remote(2) == 4
    assert len({m.session for m in stub.said(api.Hello)}) == 2 and stub.stopped == []


def test_a_program_that_exits(stub, tmp_path):
    """A program that ends inside the block still stops its app, and one whose threads wait still ends."""
    code = """
        import ingle, threading
        app = ingle.App("x")
        def f(): pass
        g = app.function(include_source=False)(f)
        with app.run():
            threading.Thread(target=g.remote, daemon=True).start()
            raise SystemExit(7)
    """
    stub.hold = True
    (tmp_path / "exits.py").write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, str(tmp_path / "exits.py")], timeout=30, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert stub.stopped == ["ap-0"]
