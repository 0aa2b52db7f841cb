"""Arguments and results of any size."""

import hashlib
import os

import ingle

app = ingle.App("sizes")
MIB = 1 << 20


@app.function(memory=1024)
def echo(data):
    return data


@app.function(memory=1024)
def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


@app.function(memory=1024)
def make(size):
    return os.urandom(1) * size


@app.function(memory=512)
def pieces(count, size):
    for i in range(count):
        yield bytes([i % 256]) * size


@app.function()
def refuses(data):
    raise ValueError(data)


@app.local_entrypoint()
def around_the_bound():
    for size in (0, 1, 65536, 96 << 10, (96 << 10) + 1, 160 << 10, MIB - 100, MIB - 1, MIB, MIB + 1, 3 * MIB):
        data = os.urandom(size)
        assert echo.remote(data) == data, size


@app.local_entrypoint()
def sixty_four_mebibytes_both_ways():
    data = os.urandom(64 * MIB)
    assert digest.remote(data) == (len(data), hashlib.sha256(data).hexdigest())
    got = make.remote(64 * MIB)
    assert len(got) == 64 * MIB and got == got[:1] * len(got)
    call = digest.spawn(data)
    assert call.get(timeout=60)[0] == len(data)


@app.local_entrypoint()
def large_items_and_large_errors():
    got = list(pieces.remote_gen(6, 2 * MIB))
    assert [len(item) for item in got] == [2 * MIB] * 6 and got[5][:1] == b"\5"
    try:
        refuses.remote(b"x" * (2 * MIB))
    except ValueError as error:
        assert len(error.args[0]) == 2 * MIB
    else:
        raise AssertionError("no error arrived")


@app.local_entrypoint()
def what_cannot_be_pickled_is_said_at_once():
    import threading

    try:
        echo.remote(threading.Lock())
    except Exception as error:
        assert "pickle" in str(error).lower(), error
    else:
        raise AssertionError("a lock has travelled")
