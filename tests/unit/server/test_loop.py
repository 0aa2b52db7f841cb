"""Commands are carried out in order, inputs to one container in one frame."""

from types import SimpleNamespace

import pytest

from ingle.scheduler import commands, events
from ingle.server.container import Containers
from ingle.server.events import Events
from ingle.server.function import Functions
from ingle.server.input import Input
from ingle.server.loop import Loop
from ingle.server.session import Sessions
from ingle.wire import node as wire


class FakeScheduler:
    """Answers each event with what was laid ready."""

    def __init__(self):
        self.heard = []
        self.answers = {}

    def handle(self, event):
        self.heard.append(event)
        return self.answers.pop(type(event), [])


class FakeCalls:
    def __init__(self):
        self.ended = []
        self.flushed = 0

    def take(self, container, input_ids):
        found = [Input(i, None, 0, i.encode()) for i in input_ids if "gone" not in i]
        return found, [i for i in input_ids if "gone" in i]

    def end(self, *args):
        self.ended.append(args)

    def flush(self):
        self.flushed += 1


@pytest.fixture
def world():
    sent = []
    posted, scheduler, calls = Events(), FakeScheduler(), FakeCalls()
    nodes = SimpleNamespace(send=lambda node, message, payload=b"": sent.append((node, message, payload)))
    loop = Loop(scheduler, posted, Functions(), Containers(), calls, None, nodes, Sessions())
    return SimpleNamespace(sent=sent, posted=posted, scheduler=scheduler, calls=calls, loop=loop)


def test_the_time_is_told_first(world):
    world.posted.post(events.ContainerReady("co-1"))
    assert [type(e) for e in world.scheduler.heard] == [events.Tick, events.ContainerReady]
    assert world.calls.flushed == 1


def test_inputs_of_a_batch_go_in_one_frame(world):
    world.scheduler.answers[events.ContainerReady] = [
        commands.SendInputs("co-1", "no-1", ["a"]),
        commands.SendInputs("co-2", "no-1", ["b"]),
        commands.SendInputs("co-1", "no-1", ["c"]),
    ]
    world.posted.post(events.ContainerReady("co-1"))
    assert world.sent == [
        ("no-1", wire.SendInputs("co-1", ["a", "c"], [1, 1], []), [b"a", b"c"]),
        ("no-1", wire.SendInputs("co-2", ["b"], [1], []), [b"b"]),
    ]


def test_a_cancel_does_not_overtake_its_input(world):
    world.scheduler.answers[events.ContainerReady] = [
        commands.SendInputs("co-1", "no-1", ["a"]),
        commands.CancelInput("co-1", "no-1", "a"),
    ]
    world.posted.post(events.ContainerReady("co-1"))
    assert [type(m) for _, m, _ in world.sent] == [wire.SendInputs, wire.CancelInput]


def test_what_happens_meanwhile_comes_next(world):
    world.scheduler.answers[events.ContainerReady] = [commands.EndInputs(["a"], "answered")]
    world.calls.end = lambda *args: world.posted.post(events.InputsCancelled(["b"]))
    world.posted.post(events.ContainerReady("co-1"), events.NodeLost("no-1"))
    assert [type(e) for e in world.scheduler.heard] == [
        events.Tick, events.ContainerReady, events.NodeLost, events.InputsCancelled,
    ]  # fmt: skip


def test_inputs_that_are_gone_are_not_waited_for(world):
    world.scheduler.answers[events.ContainerReady] = [commands.SendInputs("co-1", "no-1", ["gone"])]
    world.posted.post(events.ContainerReady("co-1"))
    assert world.scheduler.heard[-2:] == [events.InputsCancelled(["gone"]), events.InputsRecalled("co-1", ["gone"])]


def test_a_failure_stops_neither_the_others_nor_the_loop(world, caplog):
    world.scheduler.answers[events.ContainerReady] = [
        commands.EndInputs(["a"], "answered"),
        commands.StopContainer("co-1", "no-1", "why"),
    ]

    def broken(*args):
        raise RuntimeError("a bug")

    world.calls.end = broken
    world.posted.post(events.ContainerReady("co-1"))
    assert world.sent == [("no-1", wire.StopContainer("co-1", "why"), b"")]
    assert "a bug" in caplog.text
    world.posted.post(events.NodeLost("no-1"))
    assert world.scheduler.heard[-1] == events.NodeLost("no-1")
