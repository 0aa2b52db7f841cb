"""The life of a container: started, ready, at rest, stopped, gone."""

from ingle.scheduler import autoscale, inputs, retry
from ingle.scheduler.commands import StartContainer, StopContainer
from ingle.scheduler.events import ContainerExited
from ingle.scheduler.placement import fitting
from ingle.scheduler.state import BUSY, ENDED, GONE, IDLE, STARTING, STOPPING, Cluster, Container, Function, Node

#: A container that was told to stop and has not exited is told again so often.
STOP_AGAIN_S = 10.0

# Timers.
STOP_UNHEARD = "stop"
BACKOFF_OVER = "backoff"


def start(cluster: Cluster, function: Function, node: Node, over: bool = False) -> None:
    container = cluster.new_container(function, node)
    container.over = over
    oldest = next(iter(function.queue.values()), None)
    queued_s = max(0.0, cluster.now_s - oldest.queued_s) if oldest else 0.0
    cluster.say(StartContainer(container.id, node.id, function.id, queued_s))


def ready(cluster: Cluster, container: Container) -> None:
    if container.state != STARTING:
        return
    function = container.function
    function.start_s = autoscale.learn_start(function.start_s, cluster.now_s - container.since_s)
    function.start_failures = 0
    function.backoff_until_s = function.failed_s = float("-inf")
    function.start_error = None
    if function.id not in cluster.blocked:
        cluster.explain(function, "")
    cluster.move(container, IDLE)
    cluster.dirty[function.id] = function


def rest(cluster: Cluster, container: Container) -> None:
    """It holds nothing any more: it becomes idle, or is of no further use."""
    function = container.function
    cluster.dirty[function.id] = function
    if function.spec.single_use:
        stop(cluster, container, "it has run its one input")
    elif function.alive() > (function.scaling.max_containers or function.alive()):
        stop(cluster, container, "there are more than `max_containers`")
    elif must_yield(cluster, container):
        stop(cluster, container, "another function has waited long for its room")
    else:
        cluster.move(container, IDLE)


def must_yield(cluster: Cluster, container: Container) -> bool:
    """Should it take no more inputs, because another function has a claim on its room? Shares are evened out, no more."""
    claim, function = cluster.claim, container.function
    if claim is None or container.node is not claim.node or function is claim.function:
        return False
    alive = function.alive()
    if alive <= function.scaling.min_containers:
        return False
    return (claim.strict or alive > claim.function.alive() + 1) and fitting(claim.node, claim.function) < 1


def trim(cluster: Cluster, function: Function) -> None:
    """A node that came back may have brought more than `max_containers`: stop those that hold nothing. The rest follow when they rest."""
    most = function.scaling.max_containers
    if most is None:
        return
    while function.alive() > most and (spare := function.starting or function.idle):
        stop(cluster, next(iter(spare.values())), "there are more than `max_containers`")


def stop(cluster: Cluster, container: Container, reason: str) -> None:
    """What it holds runs again elsewhere; its room is free when it has exited."""
    if container.state == STOPPING:
        return
    cluster.say(StopContainer(container.id, container.node.id, reason))
    cluster.at(cluster.now_s + STOP_AGAIN_S, STOP_UNHEARD, container.id)
    remove(cluster, container, STOPPING, next(iter(container.held), ""), blame=False)


def stop_unheard(cluster: Cluster, id: str) -> None:
    container = cluster.containers.get(id)
    if container is not None and container.state == STOPPING:
        cluster.say(StopContainer(id, container.node.id, "it was to stop and has not"))
        cluster.at(cluster.now_s + STOP_AGAIN_S, STOP_UNHEARD, id)


def lose(cluster: Cluster, container: Container) -> None:
    """It is gone without a word."""
    remove(cluster, container, GONE, next(iter(container.held), ""), blame=True)


def remove(cluster: Cluster, container: Container, state: str, running: str, blame: bool, how: str = "") -> None:
    held = list(container.held.values())
    for input in held:
        inputs.drop(container, input.id)
    cluster.move(container, state)
    cluster.dirty[container.function.id] = container.function
    inputs.run_again(cluster, container, held, running, blame, how)


def exited(cluster: Cluster, event: ContainerExited) -> None:
    container = cluster.containers.get(event.container)
    if container is None:
        return
    state, since_s = container.state, container.since_s
    guilty = container.held.get(event.running) if event.fault else None
    if guilty is not None and guilty.container is container:
        inputs.drop(container, guilty.id)
        guilty.container = None
    else:
        guilty = None
    remove(cluster, container, GONE, event.running, blame=True, how=event.how)
    if guilty is not None:
        if cluster.orphans.pop(guilty.id, None):  # nobody waits for it yet
            guilty.state = ENDED
        else:
            inputs.failed(cluster, guilty, "fault", event.fault)
    function = container.function
    if function.removed:
        return
    if state == STARTING:
        start_failed(cluster, function, since_s, event.start_error, event.user_error)
    elif state in (IDLE, BUSY) and not container.served and not event.running:
        start_failed(cluster, function, since_s, "", False)  # ready and dead at once: no loop of those


def start_failed(cluster: Cluster, function: Function, began_s: float, reason: str, user_error: bool) -> None:
    """Back off; and tell those who wait, if that is wanted and nothing else serves them."""
    if began_s > function.failed_s:  # those that were started together fail together, which counts once
        function.start_failures += 1
        function.failed_s = cluster.now_s
        delay_s = retry.backoff_s(function.start_failures)
        function.backoff_until_s = cluster.now_s + delay_s
        cluster.at(function.backoff_until_s, BACKOFF_OVER, function.id)
        if not user_error:
            cluster.explain(function, f"its containers fail to start; the next start is in {delay_s:g} s")
    if (
        not retry.give_up_waiting(function.fail_fast, user_error, function.start_failures)
        or function.idle
        or function.busy
    ):
        return
    function.start_error = reason
    give_up(cluster, function)


def give_up(cluster: Cluster, function: Function) -> None:
    """What waits ends with the error of the last start."""
    reason = function.start_error
    for input in list(function.queue.values()):
        if reason:
            inputs.end(cluster, input, "start_failed", reason)
        else:
            inputs.end(
                cluster, input, "lost", f"its container ended {function.start_failures} times before it was ready"
            )
