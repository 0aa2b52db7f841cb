"""Spawned calls of a detached app, and the program that comes for their results later."""

import time

import ingle

app = ingle.App("kept")


@app.function(cpu=0.05, memory=64, max_containers=4)
def work(x):
    time.sleep(0.02)
    return x * 3 + 1


@app.local_entrypoint()
def leave(count: int):
    call = work.spawn_map(range(count))
    print("calls", call.object_id, flush=True)


@app.local_entrypoint()
def fetch(call: str):
    values = list(ingle.FunctionCall.from_id(call).iter())
    assert values == [x * 3 + 1 for x in range(len(values))], values
    print(f"all {len(values)} are right")
