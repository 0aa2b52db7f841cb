"""Apps that end, and apps that live on."""

import os
import time

import ingle

app = ingle.App("lives")


@app.function(max_containers=1)
def work(seconds):
    print("working", flush=True)
    time.sleep(seconds)
    return "worked"


@app.local_entrypoint()
def long(seconds: float = 120.0):
    work.remote(seconds)


@app.local_entrypoint()
def crash():
    call = work.spawn(120.0)
    print("spawned", call.object_id, flush=True)
    time.sleep(1.0)
    os._exit(5)


@app.local_entrypoint()
def leave(seconds: float = 2.0):
    """For --detach: the call goes on without this program."""
    call = work.spawn(seconds)
    print("call", call.object_id, flush=True)


@app.local_entrypoint()
def idle():
    print("idle", flush=True)
    time.sleep(120)


@app.local_entrypoint()
def fetch(call: str, timeout: float = 30.0):
    print("result", ingle.FunctionCall.from_id(call).get(timeout=timeout), flush=True)


if __name__ == "__main__":
    with app.run():
        print("script", work.remote(0), flush=True)
