"""Whatever fails, every input ends, once; waiting is bounded; nothing is left over.

Every event is checked against the invariants. To replay a failure: SEED=123 pytest tests/simulation.
"""

import os

import pytest
from simulation.world import Kind, Machine, World, spec

from ingle.model.resources import Resources
from ingle.model.retries import Retries
from ingle.scheduler import placement
from ingle.scheduler.state import STARTING

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else range(int(os.environ.get("SEEDS", "300")))
FAULTS_S = 25.0
#: With the faults over, so long may it take until the last input ends; and so much longer for each that is left, as a small
#: machine may have to take them one by one.
WAIT_S_MAX = 100.0
WAIT_S_EACH_MAX = 8.0


def make_kind(world: World, number: int) -> Kind:
    dice = world.random
    cpu = dice.choice([0, 125, 125, 125, 500, 1000, 2000, 64000])
    memory = dice.choice([128, 128, 512, 4096])
    scaling = {
        "min_containers": dice.choice([0, 0, 0, 1, 2]),
        "max_containers": dice.choice([None, None, 2, 5]),
        "buffer_containers": dice.choice([0, 0, 0, 2]),
        "scaledown_window_s": dice.choice([0.0, 2.0, 10.0, 10_000.0]),
        "single_use": dice.random() < 0.15,
        "is_generator": dice.random() < 0.1,
    }
    if scaling["min_containers"]:  # these are kept whoever waits, so they must not fill a node for good
        cpu, memory = 0, 128
    retries = dice.choice([Retries(0), Retries(2), Retries(3, 0.0), Retries(2, 0.5, 2.0)])
    run_s = dice.choice([(0.0001, 0.001), (0.0001, 0.001), (0.001, 0.01), (0.01, 0.1), (0.5, 3.0)])
    return Kind(
        spec(f"fu-{number}", cpu, memory, retries, **scaling),
        fail_fast=dice.random() < 0.5,
        run_s=run_s,
        long_share=dice.choice([0.0, 0.0, 0.02, 0.2]) if run_s[1] < 0.1 else 0.0,
        bad_share=dice.choice([0.0, 0.0, 0.1, 0.5]),
        broken=dice.random() < 0.1,
    )


def populate(world: World) -> None:
    dice = world.random
    for i in range(dice.randint(1, 3)):
        machine = world.machines[f"no-{i}"] = Machine(
            f"no-{i}", Resources(dice.choice([2000, 4000]), dice.choice([2048, 8192]))
        )
        world.at(dice.uniform(0, 2), world.connect, machine)
        for _ in range(dice.randint(0, 3)):
            when = dice.uniform(2, FAULTS_S - 3)
            noticed = dice.random() < 0.7
            world.at(when, dice.choice([world.cut, world.cut, world.crash]), machine, noticed)
            world.at(when + dice.uniform(0.01, 3.0), world.connect, machine)
        if dice.random() < 0.3:
            world.at(dice.uniform(1, FAULTS_S), world.connect, machine)
    asked = 0
    for number in range(dice.randint(1, 4)):
        kind = make_kind(world, number)
        world.at(0.0, world.add, kind)
        for _ in range(dice.randint(1, 5)):
            count = dice.choice([1, 1, 2, 20, 100])
            ids = [f"fc-{asked + i}" for i in range(count)]
            asked += count
            when = dice.uniform(0.0, FAULTS_S - 5)
            world.at(when, world.ask, kind.spec.id, ids)
            if dice.random() < 0.2:
                world.at(when + dice.uniform(0, 5), world.call_off, ids[: dice.randint(1, count)])
        if dice.random() < 0.1:
            world.at(dice.uniform(1, FAULTS_S), world.remove, kind.spec.id)
    for _ in range(dice.randint(0, 4)):
        world.at(dice.uniform(1, FAULTS_S), world.stop_one)
    for _ in range(dice.randint(0, 10)):
        world.at(dice.uniform(1, FAULTS_S), world.call_off_held)
    if dice.random() < 0.4:
        world.at(dice.uniform(2, FAULTS_S - 3), world.restart_server)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_input_ends_once_whatever_fails(seed):
    world = World(seed)
    populate(world)
    world.at(0.0, world.ticking)
    world.run(FAULTS_S)
    world.faults = False
    for machine in world.machines.values():
        if not machine.connection:
            world.connect(machine)
    until_s = FAULTS_S + WAIT_S_MAX + WAIT_S_EACH_MAX * len(world.pending)
    while world.pending and world.now_s < until_s:
        world.run(world.now_s + 5.0)
    assert not world.pending, (
        f"{len(world.pending)} inputs wait for ever: {list(world.scheduler.cluster.functions.values())}"
    )
    world.run(world.now_s + 100.0)  # longer than any window and backoff
    nothing_is_left_over(world)


def nothing_is_left_over(world: World) -> None:
    cluster = world.scheduler.cluster
    assert not cluster.inputs and not cluster.orphans
    for function in cluster.functions.values():
        assert not function.queue and not function.delayed
        wanted = function.scaling.min_containers
        if function.scaling.scaledown_window_s < 100:
            assert function.alive() <= wanted, f"{function} has more than its {wanted} containers"
        never = placement.why_never(cluster.nodes.values(), function)
        if not world.kinds[function.id].broken and function.id not in cluster.blocked and not never:
            assert function.alive() >= wanted, f"{function} has not its {wanted} containers"
    real = {id for machine in world.machines.values() for id in machine.boxes}
    lasting = {id for id, container in cluster.containers.items() if container.state != STARTING}
    assert lasting <= real <= set(cluster.containers), (
        f"not there, or known to nobody: {real ^ set(cluster.containers)}"
    )
    assert len(cluster.timers) < 50, len(cluster.timers)
    for id, text in world.explained.items():
        function = cluster.functions.get(id)
        assert not text or function is None or function.scaling.min_containers, f"{id} waits for nothing: {text}"
