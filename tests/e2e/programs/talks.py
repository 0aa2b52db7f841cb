"""Functions that print."""

import os
import subprocess
import sys
import threading
import time

import ingle

app = ingle.App("talks")


@app.function(max_containers=1)
def lines(count, mark):
    for i in range(count):
        print(f"{mark} out {i}")
        print(f"{mark} err {i}", file=sys.stderr)
    return ingle.current_function_call_id()


@app.function()
def endless():
    while True:
        os.write(1, b"noise " * 200 + b"\n")


@app.function()
def quick(x):
    return x


@app.function()
def from_a_child():
    subprocess.run(["sh", "-c", "echo child out; echo child err >&2"], check=True)
    threading.Thread(target=print, args=("thread out",)).start()


@app.function()
def unfinished_line():
    sys.stdout.write("no newline at the end")


@app.function()
def wide():
    print("w" * 300_000)
    print(b"\xff\xfe bytes".decode("latin-1"))
    os.write(1, b"\xff\xfe raw\n")


@app.local_entrypoint()
def two_calls():
    print("calls", lines.remote(3, "first"), lines.remote(3, "second"))


@app.local_entrypoint()
def noise():
    call = endless.spawn()
    time.sleep(3)
    start = time.monotonic()
    for i in range(20):
        assert quick.remote(i) == i
    print(f"quick took {time.monotonic() - start:.2f}", file=sys.stderr)
    assert time.monotonic() - start < 10
    call.cancel()


@app.local_entrypoint()
def odd():
    from_a_child.remote()
    unfinished_line.remote()
    wide.remote()


@app.local_entrypoint()
def keeps_on():
    for i in range(100):
        lines.remote(1, f"round {i}")
        time.sleep(0.2)
