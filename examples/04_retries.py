"""An attempt may fail, run too long, or be cancelled; each has its own end."""

import time

import ingle

app = ingle.App("retries")


attempts = 0  # a container lives on between calls, and its globals with it


@app.function(retries=ingle.Retries(max_retries=5, initial_delay=0.1, backoff_coefficient=2))
def unreliable() -> str:
    global attempts
    attempts += 1
    if attempts < 3:
        print(f"attempt {attempts}: no luck")
        raise RuntimeError("unlucky")
    return f"attempt {attempts}: worked"


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
