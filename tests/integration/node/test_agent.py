"""A node and a stub server: what crosses the wire, with plain processes in the place of containers."""

import asyncio
import os
import pickle
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from unit.node.stub import TOKEN, StubServer, arguments, function, put_source

from ingle.exceptions import SetupError
from ingle.node import agent as agents
from ingle.node.agent import Agent, NodeConfig
from ingle.node.runtime.fake import FakeRuntime
from ingle.wire import api
from ingle.wire import node as w
from ingle.wire.errors import unpack_failure

USER = r"""
import os, sys, time, asyncio
def double(x): return 2 * x
def echo(x): return x
def shout(x):
    print("out", x); print("err", x, file=sys.stderr); return x
def raises(): raise ValueError("no")
def sleep(s): print("asleep"); time.sleep(s); return s
def stubborn():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try: time.sleep(end - time.monotonic())
        except BaseException: pass
def die(code): os._exit(code)
def count(n):
    for i in range(n): yield i
def printer():
    while True: print("x" * 1000)
def big(n): return b"x" * n
def pid(): return os.getpid()
def mailboxes():
    import socket, stat
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                sock = socket.socket(fileno=os.dup(fd))
                if sock.type == socket.SOCK_SEQPACKET: found.append(sock)
        except OSError: pass
    return found
def attack(how):
    from ingle.runner import wire
    io = os.environ["INGLE_IO_DIR"]
    messages = {
        "garbage": [b"\xff" * 500],
        "unknown": [wire.pack(b"hello")],
        "forged": [wire.pack(wire.OUTPUTS, b"fc-other:0", b"returned", b"1", b"", b"")],
        "twice": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"returned", b"1", b"", b"")] * 2,
        "outcome": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"failed", b"1", b"", b"")],
        "number": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"returned", b"one", b"", b"")],
        "items": [wire.pack(wire.YIELDED, b"fc-1:1", b"0", b"x", b"")],
        "path": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"returned", b"1", b"", b"../node.sock")],
        "link": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"returned", b"1", b"", b"link")],
        "fifo": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"returned", b"1", b"", b"fifo")],
        "large": [wire.pack(wire.OUTPUTS, b"fc-1:1", b"returned", b"1", b"x" * 180_000, b"")],
    }
    os.symlink("/etc/passwd", io + "/out/link")
    os.mkfifo(io + "/out/fifo")
    if how == "endless":
        while True:
            for sock in mailboxes():
                sock.send(wire.pack(wire.READY))
    for message in messages[how]:
        for sock in mailboxes():
            sock.send(message)
    time.sleep(30)
kept = []
def client(frames):
    import socket, struct
    from ingle.runner import wire
    sock = socket.socket(socket.AF_UNIX)
    kept[:] = [sock]
    sock.connect(os.environ["INGLE_IO_DIR"] + "/node.sock")
    sock.sendall(wire.pack(wire.HELLO, b"client", b"1", b"3.11"))
    for frame in frames: sock.sendall(struct.pack("<I", len(frame)) + frame)
    with sock.makefile("rb") as file:
        (size,) = struct.unpack("<I", file.read(4))
        return file.read(size)
def client_with_file(frame, content):
    with open(os.environ["INGLE_IO_DIR"] + "/out/arg", "wb") as file: file.write(content)
    answer = client([frame])
    name = answer[answer.index(b"file:") + 5:].decode()
    with open(os.environ["INGLE_IO_DIR"] + "/in/" + name, "rb") as file: return file.read()
def strangers():
    import socket
    socks = []
    for n in range(40):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.environ["INGLE_IO_DIR"] + "/node.sock")
        try:
            if n % 2:
                sock.sendall(b"\xff\xff\xff\xff")
        except OSError:
            pass  # one too many: shown out before it spoke
        socks.append(sock)
    return True
def progress():
    sys.stdout.write("10%\r50%\r100%"); sys.stdout.flush()
    os.write(1, b"\nbad \xff byte\n" + b"y" * 100_000 + b"\nlast")
    return 1
async def nap(s): await asyncio.sleep(s); return s
"""


SLOW = "import time; time.sleep(30)"
DYING = "import os, sys; print('last words', file=sys.stderr, flush=True); os._exit(7)"


class Place:
    def __init__(self, agent: Agent, server: StubServer):
        self.agent, self.server = agent, server
        self._n = 0

    async def start(self, name: str, *, container: str = "co-1", wait: bool = True, **more) -> w.ContainerReady | None:
        more.setdefault("source", "so-1")
        spec = function(name, **more)
        await self.server.tell(w.StartContainer(container, spec, {name: "fu-1"}, 1.5, "app"))
        if wait:
            return (await self.server.heard(w.ContainerReady, lambda m: m.container == container))[0]
        return None

    async def send(self, *inputs: tuple[str, bytes], container: str = "co-1") -> None:
        names, payloads = zip(*inputs, strict=True)
        await self.server.tell(w.SendInputs(container, list(names), [len(p) for p in payloads]), list(payloads))

    async def call(self, *args, container: str = "co-1", **kwargs):
        self._n += 1
        input = f"fc-0:{self._n}"
        await self.send((input, arguments(*args, **kwargs)), container=container)
        return await self.server.output(input)

    async def exited(self, container: str = "co-1") -> tuple[w.ContainerExited, bytes]:
        return await self.server.heard(w.ContainerExited, lambda m: m.container == container)


@asynccontextmanager
async def place(directory: Path, **more):
    server = StubServer(directory / "blobs")
    await server.start()
    put_source(server, "so-1", {"user.py": USER, "slow.py": SLOW, "dying.py": DYING})
    more.setdefault("spares", False)
    agent = Agent(NodeConfig(directory / "state", server.url, TOKEN, "here", FakeRuntime(), **more))
    await agent.start()
    try:
        yield Place(agent, server)
    finally:
        await agent.stop()
        await server.stop()
    assert not list((directory / "state" / "node" / "containers").iterdir())


@pytest.fixture
async def here(tmp_path):
    async with place(tmp_path) as p:
        yield p


async def test_a_function_runs(here):
    ready = await here.start("double")
    assert ready.phases_ms["queued"] == 1.5 and ready.phases_ms["process"] > 0
    assert await here.call(21) == ("returned", 42)
    assert await here.call("ab") == ("returned", "abab")


async def test_many_inputs_in_one_frame(here):
    await here.start("double")
    inputs = [(f"fc-9:{n}", arguments(n)) for n in range(500)]
    await here.send(*inputs)
    for n, (input, _) in enumerate(inputs):
        assert await here.server.output(input) == ("returned", 2 * n)


async def test_a_raised_exception_is_passed_on(here):
    await here.start("raises")
    outcome, payload = await here.call()
    assert outcome == "raised" and b"ValueError" in payload


async def test_logs_come_before_the_output_and_under_their_input(here):
    await here.start("shout")
    for n in range(3):
        await here.call(n)
        kinds = [type(m) for m, _ in here.server.said if type(m) in (w.NodeLogs, w.NodeOutputs)]
        assert kinds[-1] is w.NodeOutputs
        assert ("stdout", f"fc-0:{n + 1}", f"out {n}") in here.server.lines()
        assert ("stderr", f"fc-0:{n + 1}", f"err {n}") in here.server.lines()


async def test_an_import_that_fails_is_a_failed_start(here):
    await here.start("missing", wait=False)
    exited, payload = await here.exited()
    assert (exited.cause, exited.outcome) == ("start_failed", "raised")
    assert b"AttributeError" in payload


async def test_a_process_that_exits_is_reported_with_its_input(here):
    await here.start("die")
    await here.send(("fc-1:0", arguments(3)), ("fc-1:1", arguments(3)))
    exited, _ = await here.exited()
    assert exited.cause == "exited" and "code 3" in exited.message
    assert exited.running == "fc-1:0" and exited.lost == ["fc-1:1"]


async def test_stop(here):
    await here.start("sleep")
    await here.send(("fc-1:0", arguments(30)), ("fc-1:1", arguments(0)))
    await here.server.heard(w.NodeLogs)
    await here.server.tell(w.StopContainer("co-1", "enough"))
    exited, _ = await here.exited()
    assert (exited.cause, exited.message) == ("stopped", "enough")
    assert exited.running == "fc-1:0" and exited.lost == ["fc-1:1"]


async def test_a_time_out_interrupts_and_the_container_lives_on(here):
    await here.start("sleep", timeout_s=0.3)
    outcome, payload = await here.call(30)
    assert outcome == "failed" and unpack_failure(payload).code == "timeout"
    assert await here.call(0) == ("returned", 0)


async def test_a_function_that_ignores_its_interruption_is_killed(here):
    await here.start("stubborn", timeout_s=0.3)
    await here.send(("fc-1:0", arguments()), ("fc-1:1", arguments()))
    exited, _ = await here.exited()
    assert exited.cause == "timeout" and exited.running == "fc-1:0" and exited.lost == ["fc-1:1"]


async def test_cancel_of_what_runs_and_of_what_waits(here):
    await here.start("sleep")
    await here.send(("fc-1:0", arguments(30)), ("fc-1:1", arguments(0)), ("fc-1:2", arguments(0.01)))
    await here.server.tell(w.CancelInput("co-1", "fc-1:1"))
    outcome, payload = await here.server.output("fc-1:1")
    assert outcome == "failed" and unpack_failure(payload).code == "cancelled"
    await here.server.tell(w.CancelInput("co-1", "fc-1:0"))
    outcome, payload = await here.server.output("fc-1:0")
    assert outcome == "failed" and unpack_failure(payload).code == "cancelled"
    assert await here.server.output("fc-1:2") == ("returned", 0.01)


async def test_recall_takes_back_what_has_not_begun(here):
    await here.start("sleep")
    await here.call(0)
    await here.send(("fc-2:0", arguments(0.5)), *((f"fc-2:{n}", arguments(0)) for n in range(1, 50)))
    await here.server.tell(w.RecallInputs("co-1"))
    recalled, _ = await here.server.heard(w.Recalled)
    assert len(recalled.inputs) in (49, 50)
    if "fc-2:0" not in recalled.inputs:
        assert await here.server.output("fc-2:0") == ("returned", 0.5)


@pytest.mark.parametrize("share_disk", [True, False])
async def test_large_values_go_around_the_call_path(tmp_path, share_disk):
    async with place(tmp_path) as here:
        here.server.share_disk = share_disk
        await here.server.cut()
        await here.server.heard(w.NodeHello, after=1)
        await here.start("echo")
        for size in (90_000, 200_000, 3 << 20):
            value = b"z" * size
            outcome, got = await here.call(value)
            assert outcome == "returned" and got == value
        (here.server.blobs / "bl-in").write_bytes(arguments(b"y" * 2_000_000))
        await here.server.tell(w.SendInputs("co-1", ["fc-3:0"], [5], [0]), b"bl-in")
        assert await here.server.output("fc-3:0") == ("returned", b"y" * 2_000_000)
        await here.server.tell(w.SendInputs("co-1", ["fc-3:1"], [7], [0]), b"bl-none")
        outcome, _ = await here.server.output("fc-3:1")
        assert outcome == "failed"
        life = here.agent.lives["co-1"]
        assert not list(life.container.io_in.iterdir()) and not list((life.container.io / "out").iterdir())


async def test_a_generator_yields_as_far_as_it_is_granted(here):
    await here.start("count", is_generator=True)
    await here.send(("fc-1:0", arguments(200)))

    def items():
        found = []
        for message, payload in here.server.said:
            if type(message) is w.NodeYielded:
                at = 0
                for n, size in enumerate(message.sizes):
                    found.append((message.first + n, pickle.loads(payload[at : at + size])))
                    at += size
        return found

    await here.server.heard(w.NodeYielded, lambda m: m.first + len(m.sizes) == 64)
    for taken in (10, 10, 5):  # said again, and late
        await here.server.tell(w.GrantYields("co-1", "fc-1:0", taken))
    await here.server.heard(w.NodeYielded, lambda m: m.first + len(m.sizes) == 74)
    mark = len(here.server.said)
    await here.server.cut()  # the node says again what was not taken, and no more
    await here.server.heard(w.NodeYielded, lambda m: m.first == 73, after=mark)
    assert [first for first, _ in items()][74:] == list(range(10, 74))
    await here.server.tell(w.GrantYields("co-1", "fc-1:0", 200))
    assert (await here.server.output("fc-1:0"))[0] == "returned"
    assert items()[:74] + items()[138:] == [(n, n) for n in range(200)]


async def test_an_endless_printer_waits_for_the_server(here):
    here.server.acknowledge_logs = False
    await here.start("printer", timeout_s=1.0)
    await here.send(("fc-1:0", arguments()))
    outcome, _ = await here.server.output("fc-1:0")
    assert outcome == "failed"
    assert sum(len(line[2]) for line in here.server.lines()) < 8 << 20


async def test_the_server_goes_away_and_comes_back(here):
    await here.start("sleep")
    await here.send(("fc-1:0", arguments(0.3)))
    here.server.acknowledge = False
    mark = len(here.server.said)
    await here.server.stop()
    await asyncio.sleep(0)
    await here.server.start()
    hello, _ = await here.server.heard(w.NodeHello, after=mark)
    assert [c.container for c in hello.containers] == ["co-1"]
    assert hello.containers[0].inputs == ["fc-1:0"] and hello.containers[0].state == "ready"
    assert await here.server.output("fc-1:0") == ("returned", 0.3)
    mark = len(here.server.said)
    here.server.acknowledge = True
    await here.server.cut()
    await here.server.heard(w.NodeOutputs, lambda m: m.inputs == ["fc-1:0"], after=mark)
    assert await here.call(0) == ("returned", 0)


async def test_an_unwanted_container_is_stopped(here):
    await here.start("sleep")
    here.server.unwanted = ["co-1"]
    await here.server.cut()
    exited, _ = await here.exited()
    assert exited.cause == "stopped"


async def test_what_the_node_does_not_have_is_said(here):
    await here.send(("fc-1:0", arguments(1)), container="co-9")
    exited, _ = await here.exited("co-9")
    assert exited.lost == ["fc-1:0"]


async def test_everything_may_be_said_twice(here):
    await here.start("double")
    await here.start("double")
    here.server.acknowledge = False
    assert await here.call(4) == ("returned", 8)
    mark = len(here.server.said)
    await here.send(("fc-0:1", arguments(4)))
    await here.server.heard(w.NodeOutputs, lambda m: m.inputs == ["fc-0:1"], after=mark)
    assert len(here.server.all(w.ContainerReady)) == 2


async def test_a_spare_is_adopted(tmp_path):
    async with place(tmp_path, spares=True, spare_delay_s=0.01) as here:
        assert not (await here.start("pid")).from_spare
        _, first = await here.call()
        while not here.agent.spares.count():
            await asyncio.sleep(0.02)
        assert (await here.start("pid", container="co-2")).from_spare
        _, second = await here.call(container="co-2")
        assert first != second
        await here.server.tell(w.StopContainer("co-2", ""))
        await here.exited("co-2")


async def test_a_single_use_container_ends_after_one_input(here):
    await here.start("double", single_use=True)
    assert await here.call(4) == ("returned", 8)
    exited, _ = await here.exited()
    assert exited.cause == "stopped" and not exited.running


@pytest.mark.parametrize(
    "how",
    ["garbage", "unknown", "forged", "twice", "outcome", "number", "items", "path", "link", "fifo", "large", "endless"],
)
async def test_a_hostile_container_is_killed_and_the_node_stays_up(here, how):
    await here.start("attack")
    await here.start("double", container="co-2")
    await here.send(("fc-1:1", arguments(how)))
    exited, _ = await here.exited()
    assert exited.cause == "killed" and "broke the rules" in exited.message
    assert await here.call(2, container="co-2") == ("returned", 4)
    assert not any(b"root:" in payload for _, payload in here.server.said)


async def test_strangers_at_the_door_are_shown_out(here):
    await here.start("strangers")
    assert await here.call() == ("returned", True)
    assert await here.call() == ("returned", True)


async def test_a_client_inside_is_relayed_and_told_its_app(here):
    await here.start("client")
    hello = api.CODEC.encode(api.Hello("se-1", 1, "ap-forged"))
    watch = api.CODEC.encode(api.WatchCall("fc-5"))
    await here.send(("fc-1:1", arguments([hello, watch])), ("fc-1:2", arguments([])))
    message, frame = await here.server.heard(w.FromClient)
    assert api.CODEC.decode(frame)[0] == api.Hello("se-1", 1, "ap-1")
    _, frame = await here.server.heard(w.FromClient, after=here.server.said.index((message, frame)) + 1)
    assert frame == watch
    answer = api.CODEC.encode(api.CallState("fc-5", False))
    await here.server.tell(w.ToClient("co-1", message.client), answer)
    assert await here.server.output("fc-1:1") == ("returned", answer)
    await here.server.heard(w.FromClient, lambda m: m.closed)


async def test_files_of_a_client_become_blobs_and_blobs_files(here):
    await here.start("client_with_file")
    put = api.CODEC.encode(api.PutInputs("fc-5", "fu-1", "remote", 0, [8], [0]), b"file:arg")
    await here.send(("fc-1:1", arguments(put, b"content" * 100)))
    message, frame = await here.server.heard(w.FromClient)
    seen, payload = api.CODEC.decode(frame)
    assert (here.server.blobs / bytes(payload).decode()).read_bytes() == b"content" * 100 and seen.blobs == [0]
    (here.server.blobs / "bl-answer").write_bytes(b"answer" * 100)
    answer = api.CODEC.encode(api.Outputs(["fc-5:0"], ["returned"], [9], [0]), b"bl-answer")
    await here.server.tell(w.ToClient("co-1", message.client), answer)
    assert await here.server.output("fc-1:1") == ("returned", b"answer" * 100)


async def test_a_client_that_says_nonsense_is_cut_off_alone(here):
    await here.start("client")
    await here.send(("fc-1:1", arguments([b"nonsense"])))
    outcome, _ = await here.server.output("fc-1:1")
    assert outcome == "raised"


async def test_odd_lines(here):
    await here.start("progress")
    assert await here.call() == ("returned", 1)
    texts = [text for _, _, text in here.server.lines()]
    assert texts[:2] == ["100%", "bad \ufffd byte"] and texts[-1] == "last"
    assert "".join(texts[2:-1]) == "y" * 100_000


async def test_start_takes_too_long(here):
    await here.start("f", module="slow", startup_timeout_s=0.3, wait=False)
    exited, payload = await here.exited()
    assert (exited.cause, unpack_failure(payload).code) == ("start_failed", "startup_timeout")


async def test_a_process_that_dies_at_its_start_says_its_last_words(here):
    await here.start("f", module="dying", wait=False)
    exited, _ = await here.exited()
    assert exited.cause == "start_failed" and "last words" in exited.message and "code 7" in exited.message


async def test_a_container_that_is_stopped_while_it_starts(here):
    await here.start("f", module="slow", wait=False)
    await here.server.tell(w.StopContainer("co-1", "no more"))
    exited, _ = await here.exited()
    assert (exited.cause, exited.message) == ("stopped", "no more")


async def test_killed_from_outside_with_nothing_begun(here):
    await here.start("pid")
    _, pid = await here.call()
    os.kill(pid, signal.SIGKILL)
    exited, _ = await here.exited()
    assert exited.cause == "killed" and exited.running == ""


async def test_cancelled_while_it_yields_nothing_and_waits_for_credit(here):
    await here.start("count", is_generator=True)
    await here.send(("fc-1:0", arguments(200)))
    await here.server.heard(w.NodeYielded, lambda m: m.first + len(m.sizes) == 64)
    await here.server.tell(w.CancelInput("co-1", "fc-1:0"))
    outcome, payload = await here.server.output("fc-1:0")
    assert outcome == "failed" and unpack_failure(payload).code == "cancelled"


async def test_a_wrong_token_is_logged_clearly_and_dialled_again(tmp_path, caplog):
    async with place(tmp_path) as here:
        here.server.refuse = 401
        await here.server.cut()
        while "refused this node's token" not in caplog.text:
            await asyncio.sleep(0.02)
        here.server.refuse = None
        await here.server.heard(w.NodeHello, after=1)
        await here.start("double")


async def test_two_nodes_do_not_share_a_state_directory(here, monkeypatch):
    monkeypatch.setattr(agents, "LOCK_WAIT_S", 0.1)
    other = Agent(here.agent.config)
    with pytest.raises(SetupError, match=f"process {os.getpid()}"):
        await other.start()
    await here.start("double")
