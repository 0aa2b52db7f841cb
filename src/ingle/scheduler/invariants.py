"""What must hold after every event; slow, for tests."""

from ingle.scheduler import autoscale
from ingle.scheduler.state import (
    BUSY,
    DELAYED,
    ENDED,
    HELD,
    IDLE,
    QUEUED,
    STARTING,
    STOPPING,
    Cluster,
    Container,
    Function,
    Node,
)


def check(cluster: Cluster) -> None:
    """Raises:
    AssertionError: the books do not agree with each other, or something stands idle that should not.
    """
    assert not cluster.dirty and not cluster.out, "something was left undone"
    for node in cluster.nodes.values():
        _check_node(cluster, node)
    for function in cluster.functions.values():
        _check_function(cluster, function)
    for container in cluster.containers.values():
        _check_container(cluster, container)
    _check_inputs(cluster)
    _check_lists(cluster)


def _check_node(cluster: Cluster, node: Node) -> None:
    containers = list(node.containers.values())
    assert node.up or not containers, f"{node.id} is away and has containers"
    assert node.cpu - node.free_cpu == sum(c.cpu for c in containers), f"{node.id}: cpu is not accounted for"
    assert node.memory - node.free_memory == sum(c.memory for c in containers), (
        f"{node.id}: memory is not accounted for"
    )
    over = sum(c.cpu for c in containers if c.over)
    assert node.free_cpu + over >= 0 and node.free_memory >= 0, f"{node.id} is overfull"
    stopping = [c for c in containers if c.state == STOPPING]
    assert node.freeing_cpu == sum(c.cpu for c in stopping) and node.freeing_memory == sum(
        c.memory for c in stopping
    ), node.id
    idle = {c.id for c in containers if c.state == IDLE}
    assert set(node.idle) == idle, f"{node.id}: idle {set(node.idle) ^ idle}"
    assert node.idle_cpu == sum(c.cpu for c in node.idle.values()), node.id
    assert node.idle_memory == sum(c.memory for c in node.idle.values()), node.id
    assert all(cluster.containers[c.id] is c and c.node is node for c in containers)


def _check_function(cluster: Cluster, function: Function) -> None:
    most = function.scaling.max_containers
    alive = function.alive()
    assert most is None or alive <= most or alive == len(function.busy), f"{function} has more than {most} containers"
    assert function.held == sum(len(c.held) for c in function.containers.values()), (
        f"{function}: holds not {function.held}"
    )
    assert function.slow == sum(c.slow for c in function.containers.values()), function
    for state, books in ((STARTING, function.starting), (IDLE, function.idle), (BUSY, function.busy)):
        assert set(books) == {c.id for c in function.containers.values() if c.state == state}, f"{function}: {state}"
    assert set(function.hungry) <= set(function.busy), function
    if not function.queue:
        return
    if autoscale.holds_at_most(function) == 1:
        assert not function.idle, f"{function} has an idle container and inputs that wait"
    elif function.idle:
        assert len(function.busy) > function.slow, (
            f"{function}: only occupied containers, an idle one, and inputs that wait"
        )
    assert function.alive() or _may_have_none(cluster, function), f"{function} has inputs, no container, and none comes"


def _may_have_none(cluster: Cluster, function: Function) -> bool:
    most = function.scaling.max_containers
    return (
        function.id in cluster.blocked
        or cluster.now_s < function.backoff_until_s
        or (most is not None and len(function.containers) >= most)  # those are being stopped
    )


def _check_container(cluster: Cluster, container: Container) -> None:
    function = container.function
    assert function.containers[container.id] is container and container.node.containers[container.id] is container
    assert (container.state == BUSY) == bool(container.held), container
    assert function.removed == (cluster.functions.get(function.id) is not function), container
    assert not function.removed or container.state == STOPPING, f"{container} lives on without its function"
    assert not function.spec.single_use or len(container.held) <= 1, f"{container} is for one input"
    assert not function.spec.single_use or container.state == STOPPING or not container.served, (
        f"{container} is used again"
    )
    for id, input in container.held.items():
        assert input.id == id and input.function is function, container
        if input.container is not container:
            assert input.also and container in input.also, f"{container} holds {input}, which does not know it"


def _check_inputs(cluster: Cluster) -> None:
    queued = {id: f for f in cluster.functions.values() for id in f.queue}
    delayed = {id: f for f in cluster.functions.values() for id in f.delayed}
    assert sum(len(f.queue) + len(f.delayed) for f in cluster.functions.values()) == len(queued) + len(delayed)
    for id, input in (*cluster.inputs.items(), *cluster.orphans.items()):
        assert input.id == id and input.state != ENDED, input
        assert (input.state == QUEUED) == (id in queued), f"{input}: queued {id in queued}"
        assert (input.state == DELAYED) == (id in delayed), f"{input}: delayed {id in delayed}"
        assert (input.state == HELD) == (input.container is not None), input
        if input.container is not None:
            assert input.container.held.get(id) is input, f"{input} is not where it should be"
            assert cluster.containers.get(input.container.id) is input.container, (
                f"{input} is in a container that is gone"
            )
        assert not input.cancelled or input.state == HELD, f"{input} waits, and is cancelled"
        for other in input.also or ():
            assert other.held.get(id) is input and other is not input.container, input
    assert not set(cluster.inputs) & set(cluster.orphans)
    assert set(queued) | set(delayed) <= set(cluster.inputs), "an input that has ended waits"
    assert all(input.state == HELD for input in cluster.orphans.values()), cluster.orphans


def _check_lists(cluster: Cluster) -> None:
    busy = {c.id for c in cluster.containers.values() if c.state == BUSY}
    slow = {c.id for c in cluster.containers.values() if c.slow}
    assert slow <= busy and set(cluster.progressing) == busy - slow
    assert set(cluster.recalling) == {c.id for c in cluster.containers.values() if c.recalled} <= busy
    for function in cluster.blocked.values():
        assert not function.removed
    assert set(cluster.standing) <= {f.id for f in cluster.functions.values() if f.queue}
    claim = cluster.claim
    assert claim is None or (claim.function.id in cluster.blocked and claim.node.id in cluster.nodes)
