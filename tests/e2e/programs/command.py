"""What the command line makes of signatures."""

import datetime
import sys
from typing import Literal

import ingle

app = ingle.App("command")


@app.function()
def add(left: int, right: int = 10):
    return left + right


@app.function()
def quiet():
    return None


@app.function()
def shout(word: str = "hey"):
    print(word + " out", flush=True)
    print(word + " err", file=sys.stderr, flush=True)
    return word


@app.function()
def some(count: int):
    yield from range(count)


@app.function()
def raw():
    return b"\x00bytes"


def inner():
    raise LookupError("from the far side")


@app.function()
def fails():
    inner()


@app.local_entrypoint()
def show(
    name: str,
    times: int = 1,
    ratio: float = 0.5,
    loud: bool = False,
    when: datetime.datetime | None = None,
    kind: Literal["small", "large"] = "small",
    two_words: str = "",
):
    print(repr((name, times, ratio, loud, when, kind, two_words)))


@app.local_entrypoint()
def local_error():
    raise KeyError("from here")


@app.local_entrypoint()
def remote_error():
    fails.remote()


@app.local_entrypoint()
def leaves(code: int):
    sys.exit(code)


@app.local_entrypoint()
def hears():
    print("local line")
    assert shout.remote() == "hey"


@app.local_entrypoint()
def waits():
    import time

    print("waiting", flush=True)
    time.sleep(60)
