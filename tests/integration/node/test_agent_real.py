"""A node with real containers and a stub server."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from unit.node.stub import TOKEN, StubServer, arguments, function, put_source, until

from ingle.model.resources import Limits
from ingle.node.agent import Agent, NodeConfig
from ingle.testing import find_leftovers
from ingle.wire import node as w
from ingle.wire.errors import unpack_failure

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("crun"), reason="real containers need root and crun"),
]

USER = r"""
import os, sys, mmap
from helper import add
def double(x): return add(x, x)
def state(n): return open("/tmp/state", "w").write("x" * n) if n else os.path.exists("/tmp/state")
def eat(mib): return len(b"x" * (mib << 20))
def big(n): return b"x" * n
def crash(): import ctypes; ctypes.string_at(0)
def fork_and_print():
    os.system("echo from a child")
    return os.getpid()
def spam():
    os.system("(while true; do echo spam; done) &")
"""


@pytest.fixture
async def node(monkeypatch):
    from ingle.node.runtime import choose

    place = Path(tempfile.mkdtemp(prefix="ingle-node-test-"))
    monkeypatch.setenv("INGLE_LAYERS_DIR", os.environ.get("INGLE_LAYERS_DIR") or "/var/lib/ingle/node/layers")
    server = StubServer(place / "blobs")
    await server.start()
    put_source(server, "so-1", {"user.py": USER, "helper.py": "def add(a, b): return a + b\n", "pkg/data.txt": "data"})
    state = place / "state"
    config = NodeConfig(state, server.url, TOKEN, "real", choose(state / "node" / "runtime"), spare_delay_s=0.05)
    agent = Agent(config)
    await agent.start()
    server.agent = agent
    if not agent.ground.has_image(function().image):
        await server.tell(w.EnsureImage(function().image))
        await asyncio.wait_for(asyncio.gather(*agent._builds.values()), 300)
    yield server
    await agent.stop()
    await server.stop()
    assert find_leftovers(state) == []
    shutil.rmtree(place)


async def start(server, name, container="co-1", **more):
    more.setdefault("source", "so-1")
    await server.tell(w.StartContainer(container, function(name, **more), {}, 0.0, "app"))
    return (await server.heard(w.ContainerReady, lambda m: m.container == container))[0]


async def send(server, input, *args, container="co-1"):
    await server.tell(w.SendInputs(container, [input], [len(arguments(*args))]), arguments(*args))


async def call(server, input, *args, container="co-1"):
    await send(server, input, *args, container=container)
    return await server.output(input)


async def exited(server, container="co-1"):
    return (await server.heard(w.ContainerExited, lambda m: m.container == container))[0]


async def test_a_function_runs_in_a_container_and_leaves_nothing(node):
    ready = await start(node, "double")
    assert all(ready.phases_ms[name] >= 0 for name in ("image", "mounts", "process", "import", "ready"))
    assert await call(node, "fc-1:0", 21) == ("returned", 42)
    assert await call(node, "fc-1:1", 3) == ("returned", 6)


async def test_values_by_file_both_ways(node):
    await start(node, "big")
    for n, size in enumerate((50_000, 200_000, 5 << 20)):
        assert await call(node, f"fc-1:{n}", size) == ("returned", b"x" * size)
    await start(node, "double", container="co-2")
    assert await call(node, "fc-2:0", b"y" * 500_000, container="co-2") == ("returned", b"y" * 1_000_000)


async def test_lines_of_children_belong_to_their_input(node):
    await start(node, "fork_and_print")
    assert await call(node, "fc-1:0") == ("returned", 1)
    assert ("stdout", "fc-1:0", "from a child") in node.lines()


async def test_out_of_memory_is_said_with_the_limit(node):
    await start(node, "eat", limits=Limits(memory_mib=64))
    assert await call(node, "fc-1:0", 1) == ("returned", 1 << 20)
    await send(node, "fc-1:1", 200)
    end = await exited(node)
    assert (end.cause, end.message, end.running) == ("out_of_memory", "killed at its memory limit of 64 MiB", "fc-1:1")


async def test_a_crash_is_said_with_its_signal(node):
    await start(node, "crash")
    await send(node, "fc-1:0")
    end = await exited(node)
    assert end.cause == "exited" and "SIGSEGV" in end.message and end.running == "fc-1:0"


async def test_a_spare_is_adopted_with_limits_and_source_and_no_state(node):
    assert not (await start(node, "state")).from_spare
    assert await call(node, "fc-1:0", 5) == ("returned", 5)
    await until(lambda: node.agent.spares.count() == 1)
    ready = await start(node, "state", container="co-2", limits=Limits(memory_mib=64))
    assert ready.from_spare
    assert await call(node, "fc-2:0", 0, container="co-2") == ("returned", False)
    await until(lambda: node.agent.spares.count() == 1)
    assert (await start(node, "eat", container="co-3", limits=Limits(memory_mib=64))).from_spare
    await send(node, "fc-3:0", 200, container="co-3")
    assert "64 MiB" in (await exited(node, "co-3")).message


async def test_a_spare_without_network_is_another_spare(node):
    await start(node, "double")
    await until(lambda: node.agent.spares.count() == 1)
    assert not (await start(node, "double", container="co-2", block_network=True)).from_spare


async def test_stop_ends_every_process(node):
    await start(node, "spam")
    await call(node, "fc-1:0")
    await node.tell(w.StopContainer("co-1", "enough", 0.5))
    assert (await exited(node)).cause == "stopped"
    await until(lambda: not list((node.agent.ground.containers).glob("co-1")))


async def test_exec(node):
    await start(node, "double")
    await node.tell(w.StartExec("ex-1", "co-1", ["sh", "-c", "cat; echo err >&2; pwd; exit 3"]))
    await node.tell(w.ExecInput("ex-1", eof=True), b"hello\n")
    end, _ = await node.heard(w.ExecOutput, lambda m: m.exec == "ex-1" and m.code is not None)
    said = [(m.stream, p) for m, p in node.said if type(m) is w.ExecOutput and m.code is None]
    assert end.code == 3
    assert b"".join(p for stream, p in said if stream == 1) == b"hello\n/root\n"
    assert b"".join(p for stream, p in said if stream == 2) == b"err\n"


async def test_exec_with_a_terminal(node):
    await start(node, "double")
    await node.tell(w.StartExec("ex-1", "co-1", ["sh", "-c", "echo ready; read line; stty size; echo got $line"], True, 30, 100))
    await node.heard(w.ExecOutput)
    await node.tell(w.ExecInput("ex-1"), b"this\n")
    end, _ = await node.heard(w.ExecOutput, lambda m: m.code is not None)
    text = b"".join(p for m, p in node.said if type(m) is w.ExecOutput)
    assert end.code == 0 and b"30 100" in text and b"got this" in text


async def test_exec_that_cannot_be(node):
    await start(node, "double")
    await node.tell(w.StartExec("ex-1", "co-1", ["no-such-program"]))
    await node.tell(w.StartExec("ex-2", "co-9", ["true"]))
    for name in ("ex-1", "ex-2"):
        end, _ = await node.heard(w.ExecOutput, lambda m, name=name: m.exec == name and m.code is not None)
        assert end.code != 0
    await node.tell(w.StartExec("ex-3", "co-1", ["sleep", "100"]))
    await node.tell(w.ExecInput("ex-3", gone=True))
    await node.heard(w.ExecOutput, lambda m: m.exec == "ex-3" and m.code)


async def test_a_source_that_is_not_there_fails_the_start(node):
    await node.tell(w.StartContainer("co-1", function("double", source="so-none"), {}, 0.0, "app"))
    end, payload = await node.heard(w.ContainerExited)
    assert end.cause == "start_failed" and unpack_failure(payload).code == "server"
