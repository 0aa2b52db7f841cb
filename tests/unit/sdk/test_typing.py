"""mypy knows the parameters and the result of every way to call a function."""

import subprocess
import sys

PROGRAM = """
from collections.abc import AsyncIterator, Iterator
import ingle

app = ingle.App("typed")

@app.function(cpu=1, retries=2)
def double(x: int, loud: bool = False) -> str:
    return str(x)

@app.function()
async def wait(x: int) -> float:
    return 1.0

@app.function()
def count(to: int) -> Iterator[int]:
    yield 1

@app.function()
async def count_async(to: int) -> AsyncIterator[bytes]:
    yield b""

@app.local_entrypoint()
def main(x: int) -> None: ...

async def use() -> None:
    reveal_type(double.remote(1))  # str
    reveal_type(double.local(1))  # str
    reveal_type(await double.local.aio(1))  # str
    reveal_type(await wait.local.aio(1))  # float
    reveal_type(await double.remote.aio(1, loud=True))  # str
    reveal_type(double.spawn(1))  # FunctionCall[str]
    reveal_type(double.spawn(1).get(timeout=1))  # str
    reveal_type(await double.spawn(1).get.aio())  # str
    reveal_type(list(double.map([1])))  # list[str]
    reveal_type([r async for r in double.map.aio([1])])  # list[str]
    reveal_type(double.spawn_map([1]))  # FunctionCall[str]
    reveal_type(wait.remote(1))  # float
    reveal_type(wait.local(1))  # Coroutine[Any, Any, float]
    reveal_type(next(iter(count.remote_gen(3))))  # int
    reveal_type([r async for r in count_async.remote_gen.aio(3)])  # list[bytes]
    reveal_type(main(3))  # None

double.remote("one")  # error: incompatible type "str"; expected "int"
double.spawn(1, quiet=True)  # error: Unexpected keyword argument "quiet"
double.remote()  # error: Missing positional argument "x"
app.function(cpu="two")  # error: incompatible type "str"
"""


def test_mypy(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    lines = done.stdout.splitlines()
    for number, source in enumerate(PROGRAM.splitlines(), 1):
        said = [line for line in lines if line.startswith(f"program.py:{number}: ")]
        if "# error: " in source:
            assert any(source.partition("# error: ")[2] in line for line in said), (source, said)
        elif "reveal_type" in source:
            wanted = source.partition("# ")[2]
            revealed = "\n".join(said)
            for module in ("builtins.", "typing.", "ingle.sdk.function_call."):
                revealed = revealed.replace(module, "")
            assert f'"{wanted}"' in revealed, (source, said)
        else:
            assert not said, said
