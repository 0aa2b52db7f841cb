"""The first five minutes: run it with `ingle run examples/01_hello.py`."""

import os
import socket

import ingle

app = ingle.App("hello")


@app.function()
def square(x: int) -> int:
    print(f"squaring {x} in container {socket.gethostname()}, process {os.getpid()}")
    return x * x


class TooLarge(ValueError):
    """An exception of our own."""


@app.function()
def careful_square(x: int) -> int:
    if x > 1000:
        raise TooLarge(f"{x} is more than I can do")
    return x * x


@app.local_entrypoint()
def main(x: int = 7, count: int = 20):
    print(f"here:            square({x}) = {square.local(x)}")
    print(f"in a container:  square({x}) = {square.remote(x)}")

    squares = list(square.map(range(count)))
    print(f"{count} in parallel:  {squares}")

    try:
        careful_square.remote(10_000)
    except TooLarge as error:
        print(f"raised there, caught here: {type(error).__name__}: {error}")
