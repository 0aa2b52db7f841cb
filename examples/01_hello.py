"""The first five minutes: run it with `ingle run examples/01_hello.py`."""

import ingle

app = ingle.App("hello")


@app.function()
def square(x: int) -> int:
    print(f"  squaring {x} {'here' if ingle.is_local() else 'in a container'}")
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
    print(f"computed here: {square.local(x)}")
    print(f"computed in a container: {square.remote(x)}")
    print(f"computed in parallel: {list(square.map(range(count)))}")

    try:
        careful_square.remote(10_000)
    except TooLarge as error:
        print(f"raised there, caught here by its own type: {error!r}")
