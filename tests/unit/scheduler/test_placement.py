from unit.scheduler.driver import spec

from ingle.model.resources import Resources
from ingle.scheduler import placement
from ingle.scheduler.state import Function, Node


def node(id: str, cpu_milli: int, memory_mib: int, free: tuple[int, int] | None = None) -> Node:
    made = Node(id, "b", Resources(cpu_milli, memory_mib))
    if free:
        made.free_cpu, made.free_memory = free
    return made


def function(cpu_milli: int, memory_mib: int) -> Function:
    return Function(spec("fu-1", cpu_milli, memory_mib), True)


def test_the_fullest_node_with_room_is_chosen_and_none_that_is_away_or_reserved():
    empty, fuller, full = node("a", 4000, 8000), node("b", 4000, 8000, (1000, 1000)), node("c", 4000, 8000, (0, 0))
    nodes = [empty, full, fuller]
    assert placement.choose_node(nodes, function(500, 500)) is fuller
    assert placement.choose_node(nodes, function(2000, 500)) is empty
    assert placement.choose_node(nodes, function(500, 500), reserved=fuller) is empty
    assert placement.choose_node(nodes, function(8000, 500)) is None
    fuller.up = False
    assert placement.choose_node(nodes, function(500, 500)) is empty


def test_why_an_input_waits():
    assert placement.why_waiting([], function(1, 1)) == "no node has joined yet"
    away = node("a", 1, 1)
    away.up = False
    assert placement.why_waiting([away], function(1, 1)) == "no node is connected"
    busy = node("b", 2000, 8000, (500, 1024))
    assert placement.why_waiting([busy], function(100, 4096)) == "waiting for memory: needs 4096 MiB, 1024 free"
    assert placement.why_waiting([busy], function(1000, 128)) == "waiting for cpu: needs 1 core, 0.5 free"
    apart = [node("c", 2000, 8000, (2000, 100)), node("d", 2000, 8000, (0, 8000))]
    assert (
        placement.why_waiting(apart, function(1500, 200))
        == "waiting for room: no node has 1.5 cores and 200 MiB free together"
    )


def test_why_it_would_wait_for_ever():
    nodes = [node("a", 2000, 24000, (0, 0)), node("b", 4000, 1000)]
    assert placement.why_never([], function(99, 99)) == ""
    assert placement.why_never(nodes, function(2000, 24000)) == ""
    assert (
        placement.why_never(nodes, function(1, 999999)) == "needs 999999 MiB of memory; the largest node has 24000 MiB"
    )
    assert placement.why_never(nodes, function(8000, 1)) == "needs 8 cores; the largest node has 4 cores"
    assert "together" in placement.why_never(nodes, function(4000, 24000))


def test_how_many_fit_counts_what_is_being_freed():
    one = node("a", 2000, 1024, (500, 512))
    assert placement.fitting(one, function(125, 128)) == 4
    one.freeing_cpu, one.freeing_memory = 125, 512
    assert placement.fitting(one, function(125, 128)) == 5
    one.up = False
    assert placement.fitting(one, function(0, 0)) == 0
