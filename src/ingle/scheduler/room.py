"""Room that several functions want: who gets it, who waits, who must give some up.

A function for which nothing fits is *blocked*. Blocked functions are tried again whenever room may have changed, the one that has
waited longest first, one container a turn. A smaller need may pass a larger one, so that a large one does not leave
machines empty; for the large one there is the second means, the *claim*: a function that has been blocked for FAIR_S claims a node,
and containers of others there are stopped as soon as they hold nothing, until it fits. Idle containers of others are stopped
at once for an input that waits. No container is stopped below its function's `min_containers`.

A container whose program calls functions keeps its room until they have answered. When such containers fill the cluster,
what they wait for never starts; so for these inner calls containers are started beyond the cpu that there is, one each
INNER_S, as far as memory goes: those that wait use none of theirs.
"""

from itertools import islice

from ingle.scheduler import autoscale, fleet, inputs
from ingle.scheduler.placement import choose_node, fitting, holds, why_never, why_waiting
from ingle.scheduler.state import Claim, Cluster, Container, Function, Node

#: So many blocked functions are tried when room changes.
BLOCKED_TRIES = 16
#: Blocked for so long, a function makes a claim; it holds for CLAIM_S, then the next one has its turn.
FAIR_S = 2.0
CLAIM_S = 60.0
CLAIM_S_SOFT = 10.0
#: Inner calls that have been blocked for so long get a container beyond the cpu that there is.
INNER_S = 0.5
#: Inputs of a queue that are looked at for inner calls; these go to its front.
INNER_SCAN_MAX = 16
#: Idle containers looked at to make room for one.
EVICTION_SCAN_MAX = 64
#: After the first event so long, nodes of a restarted server may still be on their way back: nothing is unplaceable.
JOIN_GRACE_S = 2.0

# Timers.
GRACE_OVER = "grace"


def start(cluster: Cluster, function: Function) -> bool:
    """Start one container of it, if there is room."""
    claim = cluster.claim
    reserved = claim.node if claim is not None and claim.strict and claim.function is not function else None
    node = choose_node(cluster.nodes.values(), function, reserved)
    if node is None:
        return False
    fleet.start(cluster, function, node)
    if claim is not None and claim.function is function:
        cluster.claim = None
        cluster.room_changed = True
    return True


def wait(cluster: Cluster, function: Function, count: int) -> None:
    """So many containers do not fit: the function is blocked, unless waiting is in vain."""
    never = why_never(cluster.nodes.values(), function)
    if never and cluster.first_s is not None and cluster.now_s - cluster.first_s >= JOIN_GRACE_S:
        for input in list(function.queue.values()):
            inputs.end(cluster, input, "unplaceable", never)
        unblock(cluster, function)
        if function.scaling.min_containers:
            cluster.explain(function, never)
        return
    if function.id not in cluster.blocked:
        cluster.blocked[function.id] = function
        function.blocked_s = cluster.now_s
    if function.queue:
        make_room(cluster, function, min(count, len(function.queue)))
    cluster.explain(function, why_waiting(cluster.nodes.values(), function))


def unblock(cluster: Cluster, function: Function) -> None:
    if cluster.blocked.pop(function.id, None) is not None:
        cluster.explain(function, "")
    if cluster.claim is not None and cluster.claim.function is function:
        cluster.claim = None
        cluster.room_changed = True


def retry_blocked(cluster: Cluster) -> None:
    """Room may have changed: one container a turn, until nobody has luck any more."""
    cluster.room_changed = False
    lucky = True
    while lucky:
        lucky = False
        for function in list(islice(cluster.blocked.values(), BLOCKED_TRIES)):
            count = autoscale.missing(function, cluster.now_s)
            if count <= 0:
                unblock(cluster, function)
            elif start(cluster, function):
                lucky = True
                function.blocked_s = cluster.now_s
                if count == 1:
                    unblock(cluster, function)
                else:
                    cluster.blocked.move_to_end(function.id)
            else:
                wait(cluster, function, count)
                if function.id not in cluster.blocked:
                    lucky = True
                elif not function.queue:  # only wants a reserve: lets others pass
                    cluster.blocked.move_to_end(function.id)


# ---- calls from inside containers


def help_inner(cluster: Cluster) -> None:
    """One container for each function that has been blocked for long while a container waits for it."""
    claim = cluster.claim
    for function in list(islice(cluster.blocked.values(), BLOCKED_TRIES)):
        if cluster.now_s - function.blocked_s < INNER_S or autoscale.missing(function, cluster.now_s) <= 0:
            continue
        if not any(input.inside for input in islice(function.queue.values(), INNER_SCAN_MAX)):
            continue
        reserved = claim.node if claim is not None and claim.strict and claim.function is not function else None
        nodes = [node for node in cluster.nodes.values() if holds(node, function)]
        node = choose_node(nodes, function, reserved, over=True)
        if node is None:
            continue
        fleet.start(cluster, function, node, over=True)
        function.blocked_s = cluster.now_s
        if autoscale.missing(function, cluster.now_s) <= 0:
            unblock(cluster, function)


# ---- taking room


def make_room(cluster: Cluster, function: Function, count: int) -> None:
    """Stop idle containers of others, longest idle first, until so many of this function's fit when all that stops is gone."""
    claim = cluster.claim
    nodes = [node for node in cluster.nodes.values() if holds(node, function)]
    if claim is not None and claim.strict and claim.function is not function:
        nodes = [node for node in nodes if node is not claim.node]
    count -= sum(fitting(node, function) for node in nodes)
    for node in nodes:
        while count > 0 and node.up and (victims := _victims(node, function)):
            for victim in victims:
                fleet.stop(cluster, victim, "its room is needed by another function")
            count -= 1


def _victims(node: Node, function: Function) -> list[Container]:
    """The idle containers to stop so that one more of the function's fits; none if that is not enough."""
    more = fitting(node, function) + 1
    cpu = function.cpu * more - node.free_cpu - node.freeing_cpu
    memory = function.memory * more - node.free_memory - node.freeing_memory
    if cpu > node.idle_cpu or memory > node.idle_memory:
        return []
    victims: list[Container] = []
    taken: dict[str, int] = {}
    for container in islice(node.idle.values(), EVICTION_SCAN_MAX):
        if cpu <= 0 and memory <= 0:
            break
        other = container.function
        left = other.alive() - taken.get(other.id, 0)
        if other is function or other.queue or left <= other.scaling.min_containers:
            continue
        taken[other.id] = taken.get(other.id, 0) + 1
        victims.append(container)
        cpu -= container.cpu
        memory -= container.memory
    return victims if cpu <= 0 and memory <= 0 else []


# ---- claims


def attainable(node: Node, function: Function) -> bool:
    """Would one more fit if everybody here yielded that has to (see `fleet.must_yield`)? Looks at every container of the
    node, so it is asked at most once in FAIR_S for a function."""
    alive = function.alive()
    cpu, memory = node.cpu - function.cpu, node.memory - function.memory
    kept: dict[str, int] = {}
    for container in node.containers.values():
        other = container.function
        equal = alive and other.alive() <= alive + 1
        if other is function or equal or kept.get(other.id, 0) < other.scaling.min_containers:
            kept[other.id] = kept.get(other.id, 0) + 1
            cpu -= container.cpu
            memory -= container.memory
    return cpu >= 0 and memory >= 0


def consider_claims(cluster: Cluster) -> None:
    """Give the function that has been blocked longest its right, and take an old one away. Cheap when nobody is blocked."""
    claim = cluster.claim
    if claim is not None:
        function = claim.function
        if function.id in cluster.blocked and function.queue and claim.node.up and cluster.now_s < claim.until_s:
            return
        cluster.claim = None
        if function.id in cluster.blocked:
            function.blocked_s = cluster.now_s
            cluster.blocked.move_to_end(function.id)
        cluster.room_changed = True
    for function in islice(cluster.blocked.values(), BLOCKED_TRIES):
        if not function.queue or cluster.now_s - function.blocked_s < FAIR_S:
            continue
        able = [node for node in cluster.nodes.values() if node.up and attainable(node, function)]
        if not able:
            function.blocked_s = cluster.now_s  # ask again later
            continue
        node = max(able, key=lambda node: (node.free_cpu + node.freeing_cpu) / (node.cpu or 1)
                   + (node.free_memory + node.freeing_memory) / (node.memory or 1))  # fmt: skip
        strict = not function.alive()
        cluster.claim = Claim(function, node, cluster.now_s + (CLAIM_S if strict else CLAIM_S_SOFT), strict)
        return
