import sys

from unit.scheduler.driver import Driver, ended, of, spec

from ingle.model.resources import Resources
from ingle.scheduler import commands, events
from ingle.scheduler.machine import Scheduler


def test_names_of_containers_carry_the_prefix_and_are_new():
    names = set()
    for prefix in ("abc-", "def-"):
        scheduler = Scheduler(prefix)
        scheduler.handle(events.NodeJoined("no-1", "b", Resources(2000, 2000)))
        scheduler.handle(events.FunctionAdded(spec("fu-1"), True))
        for command in scheduler.handle(events.InputsQueued("fu-1", ["a", "b"])):
            assert command.container.startswith("co-" + prefix)
            names.add(command.container)
    assert len(names) == 4


def test_events_about_strangers_do_nothing():
    told = Driver()
    for event in (
        events.ContainerReady("co-x"),
        events.ContainerExited("co-x", running="fc-1:0", fault="oom"),
        events.AttemptsEnded("co-x", [events.Attempt("fc-1:0", True, 0.1)]),
        events.InputsRecalled("co-x", ["fc-1:0"]),
        events.ContainerStopAsked("co-x"),
        events.InputsCancelled(["fc-1:0"]),
        events.InputsQueued("fu-x", ["fc-1:0"]),
        events.FunctionRemoved("fu-x"),
        events.NodeLost("no-x"),
        events.Tick(0.0),
    ):
        assert told.tell(event) == []


def test_a_removed_function_takes_its_containers_with_it_and_is_silent_about_its_inputs():
    told = Driver()
    told.add()
    containers = told.warm(2)
    told.ask(5)
    out = told.tell(events.FunctionRemoved("fu-1"))
    assert {c.container for c in of(out, commands.StopContainer)} >= set(containers) and not ended(out)
    assert told.end(containers[0], "fc-1:0") == []
    for container in list(told.cluster.containers):
        told.tell(events.ContainerExited(container))
    assert not told.cluster.inputs and not told.cluster.containers
    assert not of(told.pass_s(30.0), commands.StartContainer)


def test_the_same_events_give_the_same_commands():
    def story() -> list[commands.Command]:
        told = Driver()
        for i in range(5):
            told.add(f"fu-{i}", buffer_containers=i)
            told.ask(10, f"fu-{i}", f"fc-{i}")
        told.pass_s(3.0)
        return told.said

    assert story() == story()


def lines(act, *arguments) -> int:
    """How many lines of the scheduler run during a call: work without a clock."""
    count = 0

    def trace(frame, what, _):
        nonlocal count
        if "scheduler" not in frame.f_code.co_filename:
            return None
        count += what == "line"
        return trace

    sys.settrace(trace)
    try:
        act(*arguments)
    finally:
        sys.settrace(None)
    return count


def crowd(containers: int, functions: int, queued: int) -> tuple[Scheduler, str]:
    """A cluster with idle and busy containers, other functions that wait, and a long queue."""
    scheduler = Scheduler()
    handle = scheduler.handle
    handle(events.Tick(1.0))
    held = [events.Held(f"co-x{i}", "fu-1", True, (f"fc-x:{i}",) if i % 2 else ()) for i in range(containers)]
    handle(events.FunctionAdded(spec("fu-1"), True))
    handle(events.InputsQueued("fu-1", [f"fc-x:{i}" for i in range(1, containers, 2)]))
    handle(events.NodeJoined("no-1", "b", Resources(125 * containers, 128 * containers), tuple(held)))
    for n in range(functions):
        handle(events.FunctionAdded(spec(f"fu-w{n}", memory_mib=128 * containers), True))
        handle(events.InputsQueued(f"fu-w{n}", [f"fc-w{n}:0"]))
    handle(events.FunctionAdded(spec("fu-q", max_containers=1, cpu_milli=0, memory_mib=0), True))
    (start,) = of(handle(events.InputsQueued("fu-q", [f"fc-q:{i}" for i in range(queued)])), commands.StartContainer)
    handle(events.ContainerReady(start.container))
    return scheduler, start.container


def test_an_event_costs_the_same_in_a_crowd():
    costs = []
    for containers, functions, queued in ((100, 20, 100), (10_000, 200, 10_000)):
        scheduler, container = crowd(containers, functions, queued)
        handle = scheduler.handle
        handle(events.Tick(1.01))
        cost = {
            "tick": lines(handle, events.Tick(1.02)),
            "queue": lines(handle, events.InputsQueued("fu-1", ["fc-new:0"])),
            "end": lines(handle, events.AttemptsEnded(container, [events.Attempt("fc-q:0", True, 1.0)])),
            "cancel": lines(handle, events.InputsCancelled(["fc-q:50"])),
            "exit": lines(handle, events.ContainerExited(container, running="fc-q:1")),
            "end idle": lines(handle, events.AttemptsEnded("co-x1", [events.Attempt("fc-x:1", True, 1.0)])),
            "stop": lines(handle, events.ContainerStopAsked("co-x3")),
        }
        costs.append(cost)
    small, large = costs
    for what in small:
        assert large[what] <= 1.5 * small[what] + 20, (what, small, large)
