"""The platform that tests use, with functions as plain processes."""

import subprocess
import sys

from ingle.testing import Platform

PROGRAM = """
import ingle
app = ingle.App("small")

@app.function()
def double(x):
    print("doubling", x)
    return 2 * x

@app.local_entrypoint()
def main():
    print(double.remote(4), list(double.map(range(3))))
"""


async def test_a_program_runs_on_it(tmp_path):
    import asyncio

    (tmp_path / "small_program.py").write_text(PROGRAM)
    async with Platform() as p:
        argv = [sys.executable, "-m", "ingle", "run", "-q", str(tmp_path / "small_program.py")]
        done = await asyncio.to_thread(
            subprocess.run, argv, env=p.env(), capture_output=True, text=True, timeout=60, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        assert "8 [0, 2, 4]" in done.stdout and done.stdout.count("doubling") == 4
        state = p.state
    assert not state.exists()


async def test_faults_are_configuration(tmp_path):
    import asyncio

    from ingle.node.runtime.fake import FakeRuntime

    (tmp_path / "small_program.py").write_text(PROGRAM)
    async with Platform(nodes=2, runtime=lambda: FakeRuntime(start="fails")) as p:
        assert len(p.nodes) == 2
        argv = [sys.executable, "-m", "ingle", "run", "-q", str(tmp_path / "small_program.py")]
        done = await asyncio.to_thread(
            subprocess.run, argv, env=p.env(), capture_output=True, text=True, timeout=100, cwd="/"
        )
        assert done.returncode == 1 and "it was told to fail" in done.stderr, done.stderr
