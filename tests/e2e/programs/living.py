"""What a container is to the code in it: its memory, its facts, and the other functions."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import ingle

app = ingle.App("living")
TOKEN = os.urandom(8).hex()
COUNTER = 0
INSIDE = 0
MOST = 0


@app.function(max_containers=1)
def count():
    global COUNTER
    COUNTER += 1
    return COUNTER, TOKEN


@app.function(max_containers=1)
def crowded(seconds):
    global INSIDE, MOST
    INSIDE += 1
    MOST = max(MOST, INSIDE)
    time.sleep(seconds)
    INSIDE -= 1
    return MOST


@app.function(max_containers=1)
async def crowded_async(seconds):
    global INSIDE, MOST
    INSIDE += 1
    MOST = max(MOST, INSIDE)
    await asyncio.sleep(seconds)
    INSIDE -= 1
    return MOST


@app.function(env={"COLOUR": "red", "EMPTY": ""})
def facts():
    return {
        "local": ingle.is_local(),
        "python": sys.version_info[:2],
        "input": ingle.current_input_id(),
        "call": ingle.current_function_call_id(),
        "env": {k: os.environ.get(k) for k in ("COLOUR", "EMPTY", "HOME")},
        "file": __file__,
        "module": __name__,
        "cwd": os.getcwd(),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "argv": len(sys.argv),
    }


@app.function()
def square(x):
    return x * x


@app.function()
def sum_of_squares(count):
    return sum(square.map(range(count)))


@app.function()
def square_in_a_program_of_its_own(x):
    program = f"import living; print(living.square.remote({x}))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/root").stdout


@app.function()
def apply(function, value):
    return function.remote(value), function.local(value)


@app.function()
def compose(function, value):
    return function(function(value))


@app.function()
def spawn_inside(x):
    return square.spawn(x)


@app.function()
def gather_inside(count):
    async def main():
        return await asyncio.gather(*(square.remote.aio(i) for i in range(count)))

    return asyncio.run(main())


@app.function()
def items_inside(count):
    return list(items.remote_gen(count))


@app.function()
def items(count):
    yield from range(count)


@app.function()
def fails_inside():
    try:
        broken.remote()
    except ZeroDivisionError as error:
        return "caught " + str(error)


@app.function()
def broken():
    return 1 / 0


@app.function(single_use_containers=True)
def once():
    return TOKEN


@app.local_entrypoint()
def globals_persist():
    assert [count.remote()[0] for _ in range(3)] == [1, 2, 3]
    assert count.remote()[1] != TOKEN
    assert count.local() == (1, TOKEN)


@app.local_entrypoint()
def one_input_at_a_time():
    assert list(crowded.map([0.1] * 6)) == [1] * 6
    assert list(crowded_async.map([0.1] * 6)) == [1] * 6


@app.local_entrypoint()
def facts_inside():
    assert ingle.is_local() and ingle.current_input_id() is None and ingle.current_function_call_id() is None
    call = facts.spawn()
    got = call.get(timeout=60)
    assert got["local"] is False and got["python"] == sys.version_info[:2], got
    assert got["call"] == call.object_id and got["input"].startswith(call.object_id), got
    assert got["env"] == {"COLOUR": "red", "EMPTY": "", "HOME": "/root"}, got
    assert got["file"] == "/root/living.py" and got["module"] == "living" and got["cwd"] == "/root", got
    assert got["main_thread"], got


@app.local_entrypoint()
def calls_from_inside():
    assert sum_of_squares.remote(20) == sum(i * i for i in range(20))
    assert spawn_inside.remote(7).get(timeout=60) == 49
    assert gather_inside.remote(10) == [i * i for i in range(10)]
    assert items_inside.remote(100) == list(range(100))
    assert fails_inside.remote() == "caught division by zero"
    assert square_in_a_program_of_its_own.remote(6) == "36\n"


@app.local_entrypoint()
def functions_as_arguments():
    assert apply.remote(square, 5) == (25, 25)
    assert compose.remote(lambda x: x + 3, 4) == 10


@app.local_entrypoint()
def local_functions_when_serialized():
    offset = 41
    local = ingle.App("living-local")

    @local.function(serialized=True)
    def add(x):
        return x + offset

    with local.run():
        assert add.remote(1) == 42
        assert list(add.map(range(3))) == [41, 42, 43]


@app.local_entrypoint()
def a_container_for_each_input():
    tokens = {once.remote() for _ in range(3)} | set(once.map([]))
    assert len(tokens) == 3


@app.local_entrypoint()
def a_call_without_a_running_app():
    idle = ingle.App("living-idle")
    function = idle.function(name="facts")(facts.__wrapped__)
    try:
        function.remote()
    except ingle.exceptions.InvalidError as error:
        assert "run" in str(error)
    else:
        raise AssertionError("it ran")
