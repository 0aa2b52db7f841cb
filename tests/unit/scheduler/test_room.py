from unit.scheduler.driver import Driver, ended, of, sent

from ingle.scheduler import commands, events
from ingle.scheduler.machine import Scheduler
from ingle.scheduler.room import JOIN_GRACE_S


def test_what_can_never_fit_ends_at_once_and_says_why():
    told = Driver(memory_mib=24000)
    told.add(memory_mib=999999)
    out = told.ask(2)
    reason = "needs 999999 MiB of memory; the largest node has 24000 MiB"
    assert out == [commands.EndInputs(["fc-1:0", "fc-1:1"], "unplaceable", reason)]


def test_without_a_node_inputs_wait():
    told = Driver(nodes=0)
    told.add(memory_mib=999999)
    assert told.ask() == [commands.Explain("fu-1", "no node has joined yet")]
    assert ended(told.join())


def test_a_restarted_server_gives_its_nodes_time_to_come_back():
    told = Driver(nodes=0)
    told.scheduler = Scheduler("u-")
    told.cluster = told.scheduler.cluster
    told.tell(events.Tick(500.0))
    told.add(memory_mib=8000)
    told.join("no-small")
    assert not ended(told.ask())
    assert ended(told.pass_s(JOIN_GRACE_S + 0.1)) == {"fc-1:0": "unplaceable"}


def test_waiting_is_explained_once_and_taken_back():
    told = Driver(memory_mib=1024)
    told.add("fu-1", memory_mib=1000)
    (container,) = told.warm()
    told.ask(1)
    told.add("fu-2", memory_mib=512)
    text = "waiting for memory: needs 512 MiB, 24 free"
    assert told.ask(1, "fu-2", "fc-2") == [commands.Explain("fu-2", text)]
    assert told.ask(1, "fu-2", "fc-3") == []
    assert told.pass_s(1.0) == []
    out = told.tell(events.ContainerExited(container, running="fc-1:0"))
    assert commands.Explain("fu-2", "") in out and of(out, commands.StartContainer)[0].function == "fu-2"


def test_an_idle_container_of_another_function_makes_room():
    told = Driver(cpu_milli=1000)
    told.add("fu-1", cpu_milli=500)
    containers = told.warm(2)
    told.add("fu-2", cpu_milli=500)
    out = told.ask(1, "fu-2", "fc-2")
    assert [c.container for c in of(out, commands.StopContainer)] == containers[:1]
    assert not of(told.ask(1, "fu-2", "fc-2"), commands.StopContainer)  # it is on its way out: no second victim
    out = told.tell(events.ContainerExited(containers[0]))
    assert [c.function for c in of(out, commands.StartContainer)] == ["fu-2"]


def test_min_containers_of_others_are_left_alone():
    told = Driver(cpu_milli=1000)
    told.add("fu-1", cpu_milli=1000, min_containers=1)
    told.ready(*told.cluster.containers)
    told.add("fu-2", cpu_milli=1000)
    assert not of(told.ask(1, "fu-2", "fc-2"), commands.StopContainer)
    assert not of(told.pass_s(300.0), commands.StopContainer)


def test_the_one_that_has_waited_longest_gets_the_room():
    told = Driver(cpu_milli=1000)
    told.add("fu-1", cpu_milli=1000)
    (container,) = told.warm()
    told.ask(1)
    for id in ("fu-2", "fu-3"):
        told.add(id, cpu_milli=1000)
        told.ask(1, id, "fc-" + id)
        told.pass_s(0.2)
    out = told.tell(events.ContainerExited(container, running="fc-1:0"))
    assert [c.function for c in of(out, commands.StartContainer)] == ["fu-2"]


def test_a_function_without_a_container_is_not_starved_by_one_that_is_never_idle():
    told = Driver(cpu_milli=1000)
    told.add("fu-1", cpu_milli=250)
    starts = of(told.ask(1000), commands.StartContainer)
    told.ready(*(start.container for start in starts))
    told.add("fu-2", cpu_milli=500)
    told.ask(1, "fu-2", "fc-2")
    for _ in range(8):
        told.pass_s(0.5)
        for container in list(told.cluster.functions["fu-1"].busy.values()):
            out = told.end(container.id, *container.held)
            for stop in of(out, commands.StopContainer):
                told.tell(events.ContainerExited(stop.container))
    (start,) = [c for c in of(told.said, commands.StartContainer) if c.function == "fu-2"]
    assert sent(told.ready(start.container)) == {start.container: ["fc-2:0"]}
    assert told.cluster.functions["fu-1"].alive() == 2


def test_a_smaller_need_may_pass_a_larger_one_for_a_while():
    told = Driver(memory_mib=2048)
    told.add("fu-1", memory_mib=1024)
    told.warm()
    told.ask(1)
    told.add("fu-2", memory_mib=2048)
    told.ask(1, "fu-2", "fc-2")
    told.add("fu-3", memory_mib=512)
    assert of(told.ask(1, "fu-3", "fc-3"), commands.StartContainer)


def full_of_waiting(told):
    """Every container of fu-1 runs an input that calls fu-2."""
    told.add("fu-1", cpu_milli=500, memory_mib=100)
    starts = of(told.ask(10), commands.StartContainer)
    told.ready(*(start.container for start in starts))
    told.add("fu-2", cpu_milli=500, memory_mib=100)
    return [start.container for start in starts]


def test_what_containers_wait_for_starts_beyond_the_cpu():
    told = Driver(cpu_milli=1000, memory_mib=1000)
    parents = full_of_waiting(told)
    assert len(parents) == 2
    told.tell(events.InputsQueued("fu-2", ["fc-2:0", "fc-2:1"], inside=True))
    (start,) = of(told.pass_s(0.7), commands.StartContainer)
    assert start.function == "fu-2"
    assert sent(told.ready(start.container)) == {start.container: ["fc-2:0"]}
    told.end(start.container, "fc-2:0")
    for parent in parents:
        out = told.end(parent, *told.cluster.containers[parent].held)
    assert of(out, commands.SendInputs)


def test_what_people_call_waits_for_cpu():
    told = Driver(cpu_milli=1000, memory_mib=1000)
    full_of_waiting(told)
    told.ask(1, "fu-2", "fc-2")
    assert not of(told.pass_s(30.0), commands.StartContainer)


def test_not_even_inner_calls_go_beyond_the_memory():
    told = Driver(cpu_milli=1000, memory_mib=350)
    full_of_waiting(told)
    told.tell(events.InputsQueued("fu-2", ["fc-2:0"], inside=True))
    (start,) = of(told.pass_s(1.0), commands.StartContainer)
    told.ready(start.container)
    told.tell(events.InputsQueued("fu-2", ["fc-3:0"], inside=True))
    assert not of(told.pass_s(10.0), commands.StartContainer)


def test_a_function_that_calls_itself_goes_on_as_far_as_memory_goes():
    told = Driver(cpu_milli=1000, memory_mib=1000)
    told.add("fu-1", cpu_milli=500, memory_mib=100)
    starts = of(told.ask(50), commands.StartContainer)
    told.ready(*(start.container for start in starts))
    for depth in range(5):  # each inner input calls once more; the calls of people stand behind them
        told.tell(events.InputsQueued("fu-1", [f"fc-in{depth}:0"], inside=True))
        (start,) = of(told.pass_s(0.7), commands.StartContainer)
        assert sent(told.ready(start.container)) == {start.container: [f"fc-in{depth}:0"]}


def test_a_container_beyond_the_cpu_outlives_the_server():
    told = Driver(cpu_milli=1000, memory_mib=1000, nodes=0)
    told.add("fu-1", cpu_milli=500, memory_mib=100)
    held = tuple(events.Held(f"co-{n}", "fu-1", True, (f"fc-1:{n}",)) for n in range(3))
    out = told.join(held=(*held, events.Held("co-idle", "fu-1", True, ())))
    assert [stop.container for stop in of(out, commands.StopContainer)] == ["co-idle"]
