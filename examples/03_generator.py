"""A function that yields: items arrive as they are made."""

import time

import ingle

app = ingle.App("countdown")


@app.function()
def countdown(start: int):
    for n in range(start, 0, -1):
        yield n
        time.sleep(0.2)


@app.local_entrypoint()
def main(start: int = 5):
    for n in countdown.remote_gen(start):
        print(n, end=" … ", flush=True)
    print("lift-off")
