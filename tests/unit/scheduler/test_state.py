from unit.scheduler.driver import Driver, spec

from ingle.model.resources import Resources
from ingle.scheduler import commands
from ingle.scheduler.state import BUSY, GONE, IDLE, STOPPING, Cluster, Container, Function, Node


def test_a_container_keeps_its_room_until_it_is_gone():
    cluster, node = Cluster("x-"), Node("no-1", "b", Resources(1000, 1000))
    function = Function(spec("fu-1", 250, 100), True)
    container = cluster.new_container(function, node)
    assert (node.free_cpu, node.free_memory) == (750, 900)
    for state in (IDLE, BUSY, STOPPING):
        cluster.move(container, state)
        assert (node.free_cpu, node.free_memory) == (750, 900)
        assert (node.idle_cpu, node.freeing_cpu) == (250 * (state == IDLE), 250 * (state == STOPPING))
    cluster.move(container, GONE)
    assert (node.free_cpu, node.free_memory, node.freeing_cpu) == (1000, 1000, 0)
    assert not cluster.containers and not node.containers and not function.containers


def test_what_is_said_of_the_same_container_or_end_is_merged():
    cluster = Cluster()
    container = Container("co-1", Function(spec("fu-1"), True), Node("no-1", "b", Resources()), 0.0)
    cluster.send(container, ["a"])
    cluster.send(container, ["b"])
    cluster.end(["c"], "answered")
    cluster.end(["d"], "answered")
    cluster.end(["e"], "cancelled")
    assert cluster.out == [
        commands.SendInputs("co-1", "no-1", ["a", "b"]),
        commands.EndInputs(["c", "d"], "answered"),
        commands.EndInputs(["e"], "cancelled"),
    ]


def test_a_node_changes_its_size():
    node = Node("no-1", "b", Resources(1000, 1000))
    node.free_cpu -= 600
    node.resize(Resources(2000, 500))
    assert (node.free_cpu, node.free_memory) == (1400, 500)


def test_timers_come_in_order_of_time():
    told = Driver()
    told.cluster.timers.clear()
    told.cluster.at(3.0, "backoff", "a")
    told.cluster.at(1.0, "backoff", "b")
    assert told.cluster.timers[0][3] == "b"
