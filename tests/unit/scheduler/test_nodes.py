from unit.scheduler.driver import Driver, ended, of, sent

from ingle.scheduler import commands, events
from ingle.scheduler.events import Held


def test_a_lost_node_gives_its_inputs_back_in_order():
    told = Driver(nodes=2)
    told.add(max_containers=1)
    (container,) = told.short()
    told.ask(5)
    node = told.cluster.containers[container].node.id
    out = told.tell(events.NodeLost(node))
    assert [c.function for c in of(out, commands.StartContainer)] == ["fu-1"]
    assert list(told.cluster.inputs) == [f"fc-1:{i}" for i in range(5)]
    assert list(told.cluster.functions["fu-1"].queue) == [f"fc-1:{i}" for i in range(5)]
    assert not told.tell(events.NodeLost(node))


def test_the_same_boot_brings_its_containers_back_and_nothing_runs_twice():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.ask()
    told.tell(events.NodeLost("no-0"))
    out = told.join(held=(Held(container, "fu-1", True, ("fc-1:0",)),))
    assert not sent(out) and not of(out, commands.StartContainer)
    assert ended(told.end(container, "fc-1:0")) == {"fc-1:0": "answered"}


def test_another_boot_has_lost_everything():
    told = Driver()
    told.add()
    told.warm()
    told.ask()
    out = told.join(boot="c")
    assert len(of(out, commands.StartContainer)) == 1


def test_joining_twice_changes_nothing():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.ask()
    held = (Held(container, "fu-1", True, ("fc-1:0",)),)
    assert told.join(held=held) == told.join(held=held) == []


def test_a_restarted_server_attaches_inputs_to_the_containers_that_run_them():
    for first_inputs in (True, False):
        told = Driver(nodes=0)
        told.add()
        held = (Held("co-old1", "fu-1", True, ("fc-1:0",)), Held("co-old2", "fu-1", True, ()))
        if first_inputs:
            told.ask()
            told.join(held=held)
        else:
            told.join(held=held)
            told.ask()
        assert not sent(told.said) and not of(told.said, commands.StartContainer)
        assert sent(told.ask(1, call="fc-2")) == {"co-old2": ["fc-2:0"]}
        assert ended(told.end("co-old1", "fc-1:0")) == {"fc-1:0": "answered"}


def test_containers_of_unknown_functions_are_stopped():
    told = Driver(nodes=0)
    out = told.join(held=(Held("co-old", "fu-gone", True, ("fc-1:0",)),))
    assert [c.container for c in of(out, commands.StopContainer)] == ["co-old"]


def test_inputs_that_were_lost_on_the_way_are_sent_again():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.ask()
    out = told.join(held=(Held(container, "fu-1", True, ()),))
    assert sent(out) == {container: ["fc-1:0"]}


def test_a_container_that_the_node_does_not_have_is_lost_and_told_to_stop_to_be_sure():
    told = Driver()
    told.add()
    (start,) = told.ask()
    out = told.join()
    assert [c.container for c in of(out, commands.StopContainer)] == [start.container]
    assert len(of(out, commands.StartContainer)) == 1


def test_a_cancel_and_a_stop_are_said_again_on_a_new_connection():
    told = Driver()
    told.add()
    first, second = told.warm(2)
    told.ask(1)
    (busy,) = [c for c in (first, second) if told.cluster.containers[c].held]
    other = second if busy == first else first
    told.tell(events.InputsCancelled(["fc-1:0"]), events.ContainerStopAsked(other))
    out = told.join(held=(Held(busy, "fu-1", True, ("fc-1:0",)), Held(other, "fu-1", True, ())))
    assert of(out, commands.CancelInput) == [commands.CancelInput(busy, "no-0", "fc-1:0")]
    assert [c.container for c in of(out, commands.StopContainer)] == [other]


def test_an_input_that_runs_in_two_places_ends_with_the_first_answer_and_the_other_run_is_cancelled():
    told = Driver(nodes=2)
    told.add(max_containers=2)
    (container,) = told.warm()
    told.ask()
    node = told.cluster.containers[container].node.id
    (start,) = of(told.tell(events.NodeLost(node)), commands.StartContainer)
    told.ready(start.container)
    told.join(node, held=(Held(container, "fu-1", True, ("fc-1:0",)),))
    out = told.end(container, "fc-1:0")
    assert ended(out) == {"fc-1:0": "answered"}
    assert [c.container for c in of(out, commands.CancelInput)] == [start.container]
    assert ended(told.end(start.container, "fc-1:0", good=False)) == {}
    assert set(told.cluster.functions["fu-1"].idle) == {container, start.container}


def test_a_late_good_answer_of_a_given_up_container_is_accepted():
    told = Driver(nodes=1)
    told.add()
    (container,) = told.warm()
    told.ask()
    told.tell(events.NodeLost("no-0"))
    assert ended(told.end(container, "fc-1:0", good=False)) == {}
    assert ended(told.end(container, "fc-1:0")) == {"fc-1:0": "answered"}
    assert not told.cluster.inputs
