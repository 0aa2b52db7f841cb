import pytest
from unit.scheduler.driver import Driver

from ingle.scheduler.invariants import check


def busy() -> Driver:
    told = Driver()
    told.add(max_containers=2)
    told.warm(2)
    told.ask(5)
    return told


def lose_memory(cluster):
    cluster.nodes["no-0"].free_memory -= 1


def queue_what_runs(cluster):
    function = cluster.functions["fu-1"]
    function.queue["fc-1:0"] = cluster.inputs["fc-1:0"]


def forget_what_waits(cluster):
    del cluster.inputs["fc-1:4"]


def stand_idle(cluster):
    function = cluster.functions["fu-1"]
    container = next(iter(function.busy.values()))
    input = container.held.popitem()[1]
    function.held -= 1
    input.state, input.container = "queued", None
    function.queue[input.id] = input
    cluster.move(container, "idle")


def leave_work(cluster):
    cluster.dirty["fu-1"] = cluster.functions["fu-1"]


@pytest.mark.parametrize("damage", [lose_memory, queue_what_runs, forget_what_waits, stand_idle, leave_work])
def test_damage_is_noticed(damage):
    told = busy()
    check(told.cluster)
    damage(told.cluster)
    with pytest.raises(AssertionError):
        check(told.cluster)
