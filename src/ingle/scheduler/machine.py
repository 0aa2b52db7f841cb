"""Scheduler.handle(event) -> commands.

Pure: no clock, no dice, no waiting. The same events in the same order give the same commands, so a simulation that failed
is replayed from its seed. What an event costs depends on what it says, not on how many containers, functions or
inputs there are: whatever is looked for is in a queue, a set or a heap of its own (state.py), and only the functions to which
something happened are settled (dispatch.py).
"""

import heapq
from collections.abc import Callable
from typing import Any

from ingle.scheduler import autoscale, dispatch, events, fleet, inputs, nodes, room
from ingle.scheduler.commands import Command
from ingle.scheduler.state import BUSY, ENDED, STOPPING, Cluster, Container, Function, Input


class Scheduler:
    """`prefix` becomes part of the names of containers: give another one after every restart."""

    def __init__(self, prefix: str = ""):
        self.cluster = Cluster(prefix)

    def handle(self, event: events.Event) -> list[Command]:
        """Take in one event, return what to do about it, in order."""
        cluster = self.cluster
        _HANDLERS[type(event)](cluster, event)
        if cluster.room_changed:  # before anything else, so that who has waited longest gets it
            room.retry_blocked(cluster)
        _settle_dirty(cluster)
        if cluster.room_changed:
            room.retry_blocked(cluster)
            _settle_dirty(cluster)
            cluster.room_changed = False
        out = cluster.out
        if out:
            cluster.out = []
        return out


def _settle_dirty(cluster: Cluster) -> None:
    dirty = cluster.dirty
    while dirty:
        _, function = dirty.popitem()
        dispatch.settle(cluster, function)


# ---- time


_TIMERS: dict[str, Callable[[Cluster, str, str], None]] = {
    inputs.RETRY_DUE: inputs.retry_due,
    inputs.CANCEL_UNHEARD: lambda cluster, container, id: _cancel_unheard(cluster, container, id),
    fleet.STOP_UNHEARD: lambda cluster, container, _: fleet.stop_unheard(cluster, container),
    fleet.BACKOFF_OVER: lambda cluster, function, _: _touch(cluster, function),
    dispatch.SCALEDOWN: lambda cluster, function, _: dispatch.scale_down(cluster, function),
    room.GRACE_OVER: lambda cluster, _, __: _grace_over(cluster),
}


def _tick(cluster: Cluster, event: events.Tick) -> None:
    seen_s = cluster.now_s
    if event.now_s > cluster.now_s:
        cluster.now_s = event.now_s
    if cluster.first_s is None:
        seen_s = cluster.first_s = cluster.now_s
        cluster.at(cluster.first_s + room.JOIN_GRACE_S, room.GRACE_OVER, "")
    timers = cluster.timers
    while timers and timers[0][0] <= cluster.now_s:
        _, _, what, whom, which = heapq.heappop(timers)
        _TIMERS[what](cluster, whom, which)
    if cluster.progressing or cluster.recalling or cluster.standing:
        dispatch.notice_slowness(cluster, seen_s)
    if cluster.blocked:
        room.help_inner(cluster)
    if cluster.blocked or cluster.claim is not None:
        room.consider_claims(cluster)


def _touch(cluster: Cluster, id: str) -> None:
    function = cluster.functions.get(id)
    if function is not None:
        cluster.dirty[id] = function


def _grace_over(cluster: Cluster) -> None:
    cluster.room_changed = True


def _cancel_unheard(cluster: Cluster, container_id: str, id: str) -> None:
    """Nothing was heard of a cancel: whoever waits is told, and the container is stopped unless another input runs in it."""
    container = cluster.containers.get(container_id)
    input = container.held.get(id) if container is not None else None
    if container is None or input is None:
        return
    if input.state != ENDED and input.container is container:
        inputs.end(cluster, input, "cancelled")
    else:
        inputs.say_cancel(cluster, container, id)
    if next(iter(container.held)) == id:
        fleet.stop(cluster, container, "a cancelled input did not end")
    else:
        dispatch.recall(cluster, container)


# ---- functions and inputs


def _function_added(cluster: Cluster, event: events.FunctionAdded) -> None:
    function = cluster.functions.get(event.spec.id)
    if function is None:
        function = cluster.functions[event.spec.id] = Function(event.spec, event.fail_fast)
    else:
        function.change(event.spec, event.fail_fast)
    cluster.dirty[function.id] = function


def _function_removed(cluster: Cluster, event: events.FunctionRemoved) -> None:
    function = cluster.functions.pop(event.function, None)
    if function is None:
        return
    function.removed = True
    inputs.forget_all(cluster, function)
    for container in list(function.containers.values()):
        fleet.stop(cluster, container, "its function is removed")
    function.explained = ""  # nobody wants to hear of it
    room.unblock(cluster, function)
    cluster.standing.pop(function.id, None)


def _inputs_queued(cluster: Cluster, event: events.InputsQueued) -> None:
    function = cluster.functions.get(event.function)
    if function is not None:
        inputs.queue(cluster, function, event.inputs, event.inside)


def _inputs_cancelled(cluster: Cluster, event: events.InputsCancelled) -> None:
    for id in event.inputs:
        inputs.cancel(cluster, id)


# ---- containers


def _container_ready(cluster: Cluster, event: events.ContainerReady) -> None:
    container = cluster.containers.get(event.container)
    if container is not None:
        fleet.ready(cluster, container)


def _container_stop_asked(cluster: Cluster, event: events.ContainerStopAsked) -> None:
    container = cluster.containers.get(event.container)
    if container is not None:
        fleet.stop(cluster, container, "someone asked for it")


def _attempts_ended(cluster: Cluster, event: events.AttemptsEnded) -> None:
    """The hot path: no function calls for an input that simply ends."""
    container = cluster.containers.get(event.container)
    if container is None or container.state == STOPPING:
        for attempt in event.attempts:
            _ended_elsewhere(cluster, attempt)
        return
    held, known = container.held, cluster.inputs
    ended: list[str] = []
    count, total_s, longest_s = 0, 0.0, 0.0
    for attempt in event.attempts:
        id = attempt.input
        input = held.get(id)
        if input is None or input.container is not container:
            inputs.drop(container, id)
            _ended_elsewhere(cluster, attempt)
            continue
        del held[id]
        count += 1
        total_s += attempt.run_s
        if attempt.run_s > longest_s:
            longest_s = attempt.run_s
        if attempt.good and not input.also and id in known:
            del known[id]
            input.state, input.container = ENDED, None
            ended.append(id)
        else:
            _ended_unusually(cluster, input, attempt.good)
    container.function.held -= count
    if ended:
        cluster.end(ended, "answered")
    _after_attempts(cluster, container, count, total_s, longest_s)


def _after_attempts(cluster: Cluster, container: Container, count: int, total_s: float, longest_s: float) -> None:
    """What the container does next, and what was learnt."""
    function = container.function
    cluster.dirty[function.id] = function
    if count:
        container.served += count
        function.run_s = autoscale.learn_run(function.run_s, total_s / count, count)
        function.streak = min(autoscale.BATCH_MAX, function.streak + count) if longest_s <= autoscale.SHORT_S else 0
    if container.state != BUSY:
        return
    if not container.held:
        fleet.rest(cluster, container)
        return
    cluster.progressed(container)
    if not container.recalled and 2 * len(container.held) < autoscale.holds_at_most(function):
        function.hungry[container.id] = container


def _ended_unusually(cluster: Cluster, input: Input, good: bool) -> None:
    """It ended where it was held, but bad, or while it runs elsewhere as well, or before anybody asked for it."""
    if cluster.orphans.pop(input.id, None):
        input.state, input.container = ENDED, None
    elif good:
        input.container = None
        inputs.end(cluster, input, "answered")
    else:
        inputs.failed(cluster, input, "answered")


def _ended_elsewhere(cluster: Cluster, attempt: events.Attempt) -> None:
    """An answer from where we did not expect it: a good one is as good as any."""
    input = cluster.inputs.get(attempt.input)
    if input is not None and attempt.good:
        inputs.end(cluster, input, "answered")


def _inputs_recalled(cluster: Cluster, event: events.InputsRecalled) -> None:
    container = cluster.containers.get(event.container)
    if container is None or container.state != BUSY:
        return
    container.recalled = False
    cluster.recalling.pop(container.id, None)
    back = [input for id in event.inputs if (input := inputs.drop(container, id)) is not None]
    inputs.run_again(cluster, container, back)
    cluster.dirty[container.function.id] = container.function
    if not container.held:
        fleet.rest(cluster, container)


_HANDLERS: dict[type, Callable[[Cluster, Any], None]] = {
    events.Tick: _tick,
    events.NodeJoined: nodes.joined,
    events.NodeLost: lambda cluster, event: nodes.lost(cluster, event.node),
    events.FunctionAdded: _function_added,
    events.FunctionRemoved: _function_removed,
    events.InputsQueued: _inputs_queued,
    events.InputsCancelled: _inputs_cancelled,
    events.ContainerReady: _container_ready,
    events.ContainerExited: fleet.exited,
    events.AttemptsEnded: _attempts_ended,
    events.InputsRecalled: _inputs_recalled,
    events.ContainerStopAsked: _container_stop_asked,
}
