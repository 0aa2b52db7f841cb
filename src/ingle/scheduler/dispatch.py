"""Settling a function after something happened to it: inputs to containers, then containers to inputs."""

from ingle.scheduler import autoscale, fleet, room
from ingle.scheduler.commands import RecallInputs
from ingle.scheduler.state import BUSY, HELD, Cluster, Container, Function

#: An unanswered recall is said again after this.
RECALL_AGAIN_S = 2.0
#: An idle container that must be kept beyond its window is looked at again so late, at least.
SCALEDOWN_S_MIN = 1.0

# Timers.
SCALEDOWN = "scaledown"


def settle(cluster: Cluster, function: Function) -> None:
    if function.removed:
        return
    fleet.trim(cluster, function)
    if function.queue:
        hopeless = function.start_error is not None and cluster.now_s < function.backoff_until_s
        if hopeless and not (function.idle or function.busy):
            fleet.give_up(cluster, function)
        dispatch(cluster, function)
    scale(cluster, function)
    if cluster.blocked and function.idle and not function.queue:
        cluster.room_changed = True  # these may be stopped for others
    if not function.queue:
        cluster.standing.pop(function.id, None)
    elif function.run_s is not None and function.id not in cluster.standing:
        cluster.standing[function.id] = cluster.now_s


# ---- inputs to containers


def dispatch(cluster: Cluster, function: Function) -> None:
    """One input to every idle container; while runs are short, several, and to no more containers than that keeps busy."""
    queue, idle = function.queue, function.idle
    most = autoscale.holds_at_most(function)
    if most == 1:
        while queue and idle:
            give(cluster, next(reversed(idle.values())), 1)
        return
    width = autoscale.containers_for(len(queue) + function.held - function.slow, function.run_s, autoscale.BATCH_S)
    while queue and idle:
        wanted = width - len(function.busy) + function.slow
        if wanted <= 0:
            break
        share = -(-len(queue) // min(wanted, len(idle)))
        give(cluster, next(reversed(idle.values())), min(most, share))
    hungry = function.hungry
    while queue and hungry:
        share = -(-len(queue) // len(hungry))
        _, container = hungry.popitem()
        count = min(share, most - len(container.held))
        if (
            count > 0
            and not container.recalled
            and not (cluster.claim is not None and fleet.must_yield(cluster, container))
        ):
            give(cluster, container, count)


def give(cluster: Cluster, container: Container, count: int) -> None:
    """The first of the queue, so many, to this container."""
    function = container.function
    queue, held = function.queue, container.held
    if container.state != BUSY:
        cluster.move(container, BUSY)
    ids = []
    for _ in range(min(count, len(queue))):
        id, input = queue.popitem(last=False)
        input.state, input.container = HELD, container
        if input.also and container in input.also:  # it runs here already
            input.also.remove(container)
            continue
        held[id] = input
        ids.append(id)
    function.held += len(ids)
    if ids:
        cluster.send(container, ids)
    if function.id in cluster.standing:
        cluster.standing[function.id] = cluster.now_s
        cluster.standing.move_to_end(function.id)


# ---- containers to inputs


def scale(cluster: Cluster, function: Function) -> None:
    count = autoscale.missing(function, cluster.now_s)
    if count <= 0:
        room.unblock(cluster, function)
        if function.explained and not function.queue and autoscale.target(function) <= function.alive():
            cluster.explain(function, "")
        if function.idle and not function.scaledown_due:
            await_scaledown(cluster, function)
        return
    if function.id in cluster.blocked:  # tried again when room changes, not at every event
        return
    while count and room.start(cluster, function):
        count -= 1
    if count:
        room.wait(cluster, function, count)


def await_scaledown(cluster: Cluster, function: Function) -> None:
    """Look again when the container that has been idle longest has been so for the whole window."""
    function.scaledown_due = True
    oldest = next(iter(function.idle.values()))
    cluster.at(oldest.since_s + function.scaling.scaledown_window_s, SCALEDOWN, function.id)


def scale_down(cluster: Cluster, id: str) -> None:
    """Stop those that have been idle for the window and are more than the function should have."""
    function = cluster.functions.get(id)
    if function is None:
        return
    function.scaledown_due = False
    window_s = function.scaling.scaledown_window_s
    while function.idle:
        oldest = next(iter(function.idle.values()))
        if cluster.now_s < oldest.since_s + window_s:
            await_scaledown(cluster, function)
            return
        if autoscale.missing(function, cluster.now_s) >= 0:
            function.scaledown_due = True
            cluster.at(cluster.now_s + max(window_s, SCALEDOWN_S_MIN), SCALEDOWN, id)
            return
        fleet.stop(cluster, oldest, f"idle for {window_s:g} s")


# ---- what stands still


def notice_slowness(cluster: Cluster, seen_s: float) -> None:
    """`seen_s`: everything that had happened by then has been told to us. Later would blame containers for news that was
    already on its way when the clock was read."""
    progressing = cluster.progressing
    while progressing:
        container = next(iter(progressing.values()))
        if seen_s - container.progress_s < autoscale.PROGRESS_S:
            break
        del progressing[container.id]
        function = container.function
        container.slow = True
        function.slow += 1
        if len(container.held) > 1:
            recall(cluster, container)
            function.streak = 0
            function.run_s = max(function.run_s or 0.0, autoscale.PROGRESS_S)
        cluster.dirty[function.id] = function
    recalling = cluster.recalling
    while recalling:
        id, asked_s = next(iter(recalling.items()))
        if seen_s - asked_s < RECALL_AGAIN_S:
            break
        recall(cluster, cluster.containers[id])
    standing = cluster.standing
    while standing:
        id, sent_s = next(iter(standing.items()))
        if seen_s - sent_s < autoscale.STALL_S:
            break
        del standing[id]
        function = cluster.functions[id]
        if function.busy:  # runs take longer than we thought: forget what we thought
            function.run_s, function.streak = None, 0
            cluster.dirty[id] = function


def recall(cluster: Cluster, container: Container) -> None:
    container.recalled = True
    container.function.hungry.pop(container.id, None)
    cluster.recalling[container.id] = cluster.now_s
    cluster.recalling.move_to_end(container.id)
    cluster.say(RecallInputs(container.id, container.node.id))
