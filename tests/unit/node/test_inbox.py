"""Feeding, taking back, interrupting: against a runner that a test plays."""

import asyncio
import socket

import pytest
from unit.node.stub import until

from ingle.node import inbox as inboxes
from ingle.node.blob import Blobs
from ingle.node.inbox import Inbox, Packets
from ingle.runner import wire


class Play:
    """The node's Inbox and, on the other side, the runner's ends."""

    def __init__(self, directory, timeout_s=60.0):
        self.overdue, self.lost, self.signals, self.interrupts = [], [], [], []
        self.may_feed = True
        self.inbox = Inbox(
            directory,
            Blobs("http://127.0.0.1:1", ""),
            timeout_s,
            on_interrupt=lambda: self.interrupts.append(1),
            on_overdue=lambda *said: self.overdue.append(said),
            on_lost_input=lambda *said: self.lost.append(said),
            may_feed=lambda: self.may_feed,
        )
        node, self.runner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.packets = Packets(control)
        self.inbox.attach(node, self.runner, self.packets, self.signals.append)
        self.socks = (node, control, self.runner, self.control)

    def read(self):
        """What the runner's next read gives; None if there is nothing."""
        try:
            return wire.unpack(self.runner.recv(1 << 20, socket.MSG_DONTWAIT))[1:]
        except BlockingIOError:
            return None

    def told(self):
        try:
            return wire.unpack(self.control.recv(1 << 20, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return None

    def close(self):
        self.inbox.close()
        self.packets.close()
        for sock in self.socks:
            sock.close()


@pytest.fixture
async def play(tmp_path):
    play = Play(tmp_path)
    yield play
    play.close()


async def test_inputs_go_out_in_order_and_the_first_runs(play):
    play.inbox.put("a:0", b"one")
    play.inbox.put("a:1", b"two")
    play.inbox.put("a:1", b"said twice")
    assert play.inbox.running == "a:0" and play.inbox.held() == ["a:0", "a:1"]
    assert play.read() == [b"a:0", b"one", b""] and play.read() == [b"a:1", b"two", b""] and play.read() is None
    assert play.inbox.answered("a:0") == ""
    assert play.inbox.running == "a:1" and play.inbox.held() == ["a:1"]


async def test_a_full_socket_is_waited_for(play):
    for n in range(100):
        play.inbox.put(f"a:{n}", b"x" * 50_000)
    got = []

    def read():
        packet = play.read()
        if packet is not None:
            got.append(packet[0])
        return len(got) == 100

    await until(read)
    assert got == [b"a:%d" % n for n in range(100)]


async def test_what_is_large_goes_by_file_and_the_file_goes_with_the_answer(play, tmp_path):
    play.inbox.put("a:0", b"x" * 200_000)
    _, payload, name = play.read()
    assert payload == b"" and (tmp_path / name.decode()).read_bytes() == b"x" * 200_000
    play.inbox.answered("a:0")
    assert list(tmp_path.iterdir()) == []


async def test_an_answer_to_what_was_not_given(play):
    play.inbox.put("a:0", b"")
    for name in ("a:1", ""):
        with pytest.raises(KeyError):
            play.inbox.answered(name)
    play.inbox.answered("a:0")
    with pytest.raises(KeyError):
        play.inbox.answered("a:0")


async def test_recall_takes_exactly_what_was_not_read(play):
    for n in range(10):
        play.inbox.put(f"a:{n}", b"")
    assert play.read()[0] == b"a:0"
    assert play.inbox.recall() == [f"a:{n}" for n in range(1, 10)]
    assert play.read() is None and play.inbox.held() == ["a:0"]
    assert play.inbox.recall() == []


async def test_cancel_of_one_that_waits_leaves_the_others_in_order(play):
    for n in range(4):
        play.inbox.put(f"a:{n}", b"")
    assert play.read()[0] == b"a:0"
    assert play.inbox.cancel("a:2")
    assert [play.read()[0] for _ in range(2)] == [b"a:1", b"a:3"] and play.read() is None
    assert not play.inbox.cancel("a:2") and not play.inbox.cancel("b:0")
    assert play.signals == []


async def test_cancel_of_the_running_one(play):
    play.inbox.put("a:0", b"")
    play.read()
    assert not play.inbox.cancel("a:0")
    assert play.told() == [wire.CANCEL, b"a:0", b"cancelled"] and play.signals == [wire.CANCEL_SIGNAL]
    assert play.interrupts == [1]
    assert play.inbox.answered("a:0") == "cancelled"
    assert play.inbox.interrupted is None


async def test_cancel_of_one_that_was_read_before_its_predecessor_answered(play):
    play.inbox.put("a:0", b"")
    play.inbox.put("a:1", b"")
    play.read(), play.read()
    assert not play.inbox.cancel("a:1")
    assert play.told() is None
    assert play.inbox.answered("a:0") == ""
    assert play.told() == [wire.CANCEL, b"a:1", b"cancelled"]


async def test_time_out_and_what_ignores_it(tmp_path, monkeypatch):
    monkeypatch.setattr(inboxes, "CANCEL_GRACE_S", 0.02)
    play = Play(tmp_path, timeout_s=0.05)
    play.inbox.put("a:0", b"")
    play.read()
    await until(lambda: play.overdue)
    assert play.told() == [wire.CANCEL, b"a:0", b"timeout"] and play.overdue == [("a:0", "timeout")]
    play.close()


async def test_the_clock_of_each_input_starts_with_its_body(tmp_path):
    play = Play(tmp_path, timeout_s=0.2)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for n in range(5):
        play.inbox.put(f"a:{n}", b"")
    for n in range(4):
        end = loop.time() + 0.1
        await until(lambda end=end: loop.time() > end)
        assert play.inbox.answered(f"a:{n}") == ""
    assert loop.time() - begun > 0.3 and play.signals == []
    await until(lambda: play.signals)
    assert play.inbox.answered("a:4") == "timeout"
    play.close()


async def test_no_feeding_while_the_node_is_full(play):
    play.may_feed = False
    play.inbox.put("a:0", b"")
    assert play.read() is None and play.inbox.running == ""
    play.may_feed = True
    play.inbox.feed()
    assert play.read()[0] == b"a:0"


async def test_what_a_dead_runner_never_read_has_not_begun(play):
    play.inbox.put("a:0", b"")
    play.inbox.put("a:1", b"")
    play.inbox.close()
    assert play.inbox.running_at_the_end() == "" and play.inbox.held() == ["a:0", "a:1"]


async def test_credit_goes_to_the_generator_that_runs(play):
    play.inbox.put("a:0", b"")
    play.inbox.grant("a:0", 5)
    play.inbox.grant("b:0", 5)
    assert play.told() == [wire.CREDIT, b"a:0", b"5"] and play.told() is None
