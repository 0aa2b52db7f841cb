"""Whole programs measured from outside: edit and run, `import ingle`, idle footprint."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, Row
from local_platform import INGLE, TOP, LocalPlatform, below, cpu_s, memory_mb
from worker import Worker, plain_env

PYTHON = str(TOP / ".venv" / "bin" / "python")

HELLO = """
import ingle

app = ingle.App("hello")

@app.function()
def hello(name):
    return f"hello {name} {NUMBER}"

@app.local_entrypoint()
def main():
    print(hello.remote("world"))
"""
PLAIN = """
def hello(name):
    return f"hello {name} {NUMBER}"

print(hello("world"))
"""


def edit_and_run(platform: LocalPlatform, rounds: int) -> Row:
    """Each round edits a line of hello.py, then runs it as a whole process: with Ingle, and as plain Python."""
    ours, plain = [], []
    with tempfile.TemporaryDirectory(prefix="ingle-bench-") as folder:
        for number in range(rounds + 1):  # the first makes no figure: caches of bytecode and pages
            for text, argv, took in (
                (HELLO, [str(INGLE), "run", "hello.py"], ours),
                (PLAIN, [sys.executable, "hello.py"], plain),
            ):
                Path(folder, "hello.py").write_text(text.replace("{NUMBER}", str(number)))
                start = time.perf_counter()
                done = subprocess.run(argv, cwd=folder, env=platform.env(), capture_output=True, text=True, timeout=120)
                took.append(time.perf_counter() - start)
                if f"hello world {number}" not in done.stdout:
                    raise RuntimeError(f"{argv} printed {done.stdout!r}\n{done.stderr}")
            platform.wait_quiet()
    row = Row("edit a line, `ingle run hello.py` to its end", "s", Figure.of("Ingle", ours[1:]), [Figure.of("python hello.py", plain[1:])])
    row.at_most(0.6)
    return row


#: What is imported at first use counts as well.
SMALL_APP = """
import ingle
app = ingle.App("small")
@app.function()
def double(x): return 2 * x
"""


def import_cost(rounds: int) -> Row:
    """CPU milliseconds of `import ingle`, the bare interpreter taken off."""
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(_cpu_ms([PYTHON, "-c", "pass"]))
        ours.append(_cpu_ms([PYTHON, "-c", SMALL_APP]))
    floor = Figure.of("bare python", bare)
    over = Figure.of("Ingle", [ms - floor.p50 for ms in ours])
    row = Row("`import ingle`, an app and a function, over bare Python (CPU)", "ms", over, [floor])
    row.at_most(60)
    return row


def idle(platform: LocalPlatform, ray: Worker | None, seconds: float) -> list[Row]:
    """Memory and CPU of what runs while nothing is to do, over the same seconds."""
    ours = [platform.pids.server, platform.pids.node]
    supervisor = [platform.pids.supervisor]
    rays = below(ray.pid) if ray else []
    begin = time.monotonic()
    before = [cpu_s(pids) for pids in (ours, supervisor, rays)]
    time.sleep(seconds)
    after = [cpu_s(pids) for pids in (ours, supervisor, rays)]
    percent = [100 * (b - a) / (time.monotonic() - begin) for a, b in zip(before, after, strict=False)]
    memory = Row("server + node, idle: resident memory", "MB", _one("Ingle", memory_mb(ours)))
    memory.more = {"pss_mb": memory_mb(ours, False), "server_mb": memory_mb(ours[:1]), "node_mb": memory_mb(ours[1:])}
    memory.peers.append(_one("besides, Ingle's supervisor", memory_mb(supervisor)))
    if spares := platform.containers():
        memory.peers.append(_one("besides, Ingle's spare containers", memory_mb(spares)))
    cpu = Row("server + node, idle: of one core", "%", _one("Ingle", percent[0]))
    cpu.peers.append(_one("besides, Ingle's supervisor", percent[1]))
    if rays:
        memory.peers.append(_one("Ray", memory_mb(rays)))
        memory.more["ray_pss_mb"] = memory_mb(rays, False)
        cpu.peers.append(_one("Ray", percent[2]))
        memory.note = " Ray: its head and its warm idle workers, without dashboard."
    memory.at_most(120)
    cpu.at_most(1)
    return [memory, cpu]


def _one(who: str, value: float) -> Figure:
    return Figure.of(who, [value])


def _cpu_ms(argv: list[str]) -> float:
    process = os.posix_spawn(argv[0], argv, plain_env())
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{argv} failed")
    return (usage.ru_utime + usage.ru_stime) * 1e3
