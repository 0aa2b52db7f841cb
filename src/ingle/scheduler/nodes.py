"""Nodes that come, come back and go, and what they bring along."""

from ingle.scheduler import fleet, inputs
from ingle.scheduler.commands import StopContainer
from ingle.scheduler.events import Held, NodeJoined
from ingle.scheduler.state import BUSY, ENDED, HELD, IDLE, STOPPING, Cluster, Container, Function, Input, Node


def joined(cluster: Cluster, event: NodeJoined) -> None:
    """A new node, the same one on a new connection, or the same machine started anew."""
    node = cluster.nodes.get(event.node)
    if node is None:
        node = cluster.nodes[event.node] = Node(event.node, event.boot, event.capacity)
    said = {one.container for one in event.held}
    for container in list(node.containers.values()):
        if node.boot != event.boot:
            fleet.lose(cluster, container)
        elif container.id not in said:
            fleet.lose(cluster, container)
            # It is not there; but the order to start it may still be on its way, if this is said twice.
            cluster.say(StopContainer(container.id, node.id, "it was given up"))
    node.boot, node.up = event.boot, True
    node.resize(event.capacity)
    for one in event.held:
        bring(cluster, node, one)
    cluster.room_changed = True
    for function in cluster.functions.values():  # a node is a rare event, and changes what is possible for all
        cluster.dirty[function.id] = function


def lost(cluster: Cluster, id: str) -> None:
    """It is away with all that it has; if it comes back with the same boot, it brings that along."""
    node = cluster.nodes.get(id)
    if node is None:
        return
    node.up = False
    for container in list(node.containers.values()):
        fleet.lose(cluster, container)
    cluster.room_changed = True  # those that waited for this node may have to say so


def bring(cluster: Cluster, node: Node, one: Held) -> None:
    container = cluster.containers.get(one.container)
    if container is None:
        function = cluster.functions.get(one.function)
        if function is None:
            cluster.say(StopContainer(one.container, node.id, "its function is removed"))
            return
        over = function.cpu > node.free_cpu
        if (over and not one.inputs) or function.memory > node.free_memory:
            cluster.say(StopContainer(one.container, node.id, "its room was given to others"))
            return
        container = adopt(cluster, function, node, one)
        container.over = over
        if function.spec.single_use and one.ready and not one.inputs:  # it may have had its one input
            fleet.stop(cluster, container, "it may have run its one input")
            return
    elif container.node is not node:
        return
    if container.state == STOPPING:
        cluster.say(StopContainer(container.id, node.id, "it was to stop"))
    elif one.ready:
        fleet.ready(cluster, container)
        reconcile(cluster, container, one.inputs)


def adopt(cluster: Cluster, function: Function, node: Node, one: Held) -> Container:
    """A container that an earlier server started, or that was given up with its node."""
    container = cluster.add_container(Container(one.container, function, node, cluster.now_s))
    if one.ready:
        cluster.move(container, IDLE)
    return container


def reconcile(cluster: Cluster, container: Container, said: tuple[str, ...]) -> None:
    """The container holds exactly what its node says, in that order."""
    missing = [input for id, input in container.held.items() if id not in said]
    for input in missing:
        inputs.drop(container, input.id)
    for id in said:
        if id not in container.held:
            take(cluster, container, id)
    container.held = {id: container.held[id] for id in said if id in container.held}
    if container.held and container.state == IDLE:
        cluster.move(container, BUSY)
    if container.recalled:
        container.recalled = False
        cluster.recalling.pop(container.id, None)
    inputs.run_again(cluster, container, missing)
    for input in container.held.values():
        if input.cancelled or input.state == ENDED:  # it may not have been told
            inputs.say_cancel(cluster, container, input.id)
    if not container.held and container.state == BUSY:
        fleet.rest(cluster, container)


def take(cluster: Cluster, container: Container, id: str) -> None:
    """The node says that this container holds an input of which we thought otherwise."""
    input = cluster.inputs.get(id) or cluster.orphans.get(id)
    if input is None:
        input = cluster.orphans[id] = Input(id, container.function, cluster.now_s)
        input.state = HELD
        input.container = container
        container.held[id] = input
        container.function.held += 1
    elif input.function is not container.function:
        return
    elif input.state == HELD:
        inputs.haunt(input, container)
        container.held[id] = input
        container.function.held += 1
    else:
        inputs.hold(cluster, container, input)
