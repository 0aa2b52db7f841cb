"""An attempt may fail, run too long, or be cancelled; each has its own end."""

import random
import time

import ingle

app = ingle.App("retries")


@app.function(retries=ingle.Retries(max_retries=5, initial_delay=0.1))
def unreliable() -> str:
    if random.random() < 0.5:
        print("no luck this time")
        raise RuntimeError("unlucky five times")
    return "worked"


@app.function(timeout=1)
def slow() -> None:
    time.sleep(60)


@app.local_entrypoint()
def main():
    print(unreliable.remote())

    try:
        slow.remote()
    except ingle.exceptions.FunctionTimeoutError as error:
        print(f"timed out: {error}")

    call = slow.spawn()
    try:
        call.get(timeout=0)
    except TimeoutError:
        print("no result yet")
    call.cancel()
