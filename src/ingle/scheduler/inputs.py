"""What becomes of an input: queued, run again, ended, cancelled. Nothing here decides where it runs."""

from collections.abc import Iterable

from ingle.scheduler import retry
from ingle.scheduler.commands import CancelInput, RetryInput
from ingle.scheduler.state import DELAYED, ENDED, HELD, QUEUED, STARTING, Cluster, Container, Function, Input

#: A cancelled input of which nothing was heard for so long is ended, and its container stopped.
CANCEL_S_MAX = 10.0

# Timers.
RETRY_DUE = "retry"
CANCEL_UNHEARD = "cancel"


def queue(cluster: Cluster, function: Function, ids: Iterable[str], inside: bool = False) -> None:
    """New ones go to the back; those that a container waits for to the front, as its room is lost until they have ended.
    Those that are known already stay what they are; orphans have found their function."""
    new = []
    known, orphans, waiting, now_s = cluster.inputs, cluster.orphans, function.queue, cluster.now_s
    for id in ids:
        if id in known:
            continue
        if orphans and id in orphans:
            known[id] = orphans.pop(id)
            continue
        known[id] = waiting[id] = Input(id, function, now_s, inside)
        if inside:
            new.append(id)
    for id in reversed(new):
        waiting.move_to_end(id, last=False)
    cluster.dirty[function.id] = function


def end(cluster: Cluster, input: Input, verdict: str, reason: str = "") -> None:
    """It is over, wherever it stands, and forgotten. Containers in which it runs on are told to drop it."""
    if input.state == ENDED:
        return
    leave(input)
    known = cluster.inputs.pop(input.id, None)
    cluster.orphans.pop(input.id, None)
    input.state = ENDED
    if input.container is not None:
        haunt(input, input.container)
    input.container = None
    if known is not None:
        cluster.end([input.id], verdict, reason)
    for container in input.also or ():
        say_cancel(cluster, container, input.id)
    cluster.dirty[input.function.id] = input.function


def leave(input: Input) -> None:
    """Out of its function's queue, if it is there."""
    if input.state == QUEUED:
        del input.function.queue[input.id]
    elif input.state == DELAYED:
        del input.function.delayed[input.id]


def haunt(input: Input, container: Container) -> None:
    """From now on the container holds it as a ghost."""
    if input.also is None:
        input.also = []
    if container not in input.also:
        input.also.append(container)


def unhaunt(input: Input, container: Container) -> None:
    if input.also and container in input.also:
        input.also.remove(container)


def hold(cluster: Cluster, container: Container, input: Input) -> None:
    """It is in this container: the node says so."""
    leave(input)
    input.state, input.container = HELD, container
    container.held[input.id] = input
    container.function.held += 1
    cluster.dirty[input.function.id] = input.function


def drop(container: Container, id: str) -> Input | None:
    """The container does not hold it any more. What becomes of the input is the caller's business."""
    input = container.held.pop(id, None)
    if input is not None:
        container.function.held -= 1
        if input.container is not container:
            unhaunt(input, container)
    return input


def run_again(
    cluster: Cluster, container: Container, inputs: list[Input], running: str = "", blame: bool = True, how: str = ""
) -> None:
    """These, in order, are no longer in the container through no fault of theirs: to the front of the queue.
    `running`: the one that had begun. `blame`: it may have been the cause, so count how often that happens. `how`: how
    the container ended, in words."""
    for input in reversed(inputs):
        if input.container is not container:  # a ghost; `drop` has seen to it
            continue
        input.container = None
        began = input.id == running
        if began and blame:
            input.lost += 1
        if input.also:  # it runs elsewhere as well
            input.container = input.also.pop()
        elif cluster.orphans.pop(input.id, None):
            input.state = ENDED
        elif input.cancelled:
            end(cluster, input, "cancelled")
        elif input.lost >= retry.LOST_MAX:
            last = f"; the last time: {how}" if how else ""
            end(cluster, input, "lost", f"its container died {input.lost} times while it ran{last}")
        else:
            if began and input.function.spec.is_generator:  # the items that it has yielded are void
                cluster.say(RetryInput(input.id, input.failures + 1, 0.0))
            to_front(cluster, input)


def to_front(cluster: Cluster, input: Input) -> None:
    function = input.function
    input.state, input.container = QUEUED, None
    function.queue[input.id] = input
    function.queue.move_to_end(input.id, last=False)
    cluster.dirty[function.id] = function


def failed(cluster: Cluster, input: Input, verdict: str, reason: str = "") -> None:
    """An attempt ended bad, and the input is in no container now: another attempt, or the end with this verdict."""
    input.container = None
    if input.cancelled:
        end(cluster, input, "cancelled")
        return
    input.failures += 1
    delay_s = retry.next_delay_s(input.function.spec.retries, input.failures)
    if delay_s is None:
        end(cluster, input, verdict, reason)
        return
    cluster.say(RetryInput(input.id, input.failures + 1, delay_s))
    if delay_s == 0.0:
        to_front(cluster, input)
        return
    input.state = DELAYED
    input.function.delayed[input.id] = input
    cluster.at(cluster.now_s + delay_s, RETRY_DUE, input.id, str(input.failures))


def retry_due(cluster: Cluster, id: str, failures: str) -> None:
    input = cluster.inputs.get(id)
    if input is not None and input.state == DELAYED and str(input.failures) == failures:
        leave(input)
        to_front(cluster, input)


def cancel(cluster: Cluster, id: str) -> None:
    """What waits never runs; what may be running is told to stop, and ends when it answers."""
    input = cluster.inputs.get(id) or cluster.orphans.get(id)
    if input is None or input.cancelled:
        return
    if input.state != HELD:
        end(cluster, input, "cancelled")
        return
    input.cancelled = True
    assert input.container is not None and input.container.state != STARTING
    for container in (input.container, *(input.also or ())):
        say_cancel(cluster, container, id)


def say_cancel(cluster: Cluster, container: Container, id: str) -> None:
    cluster.say(CancelInput(container.id, container.node.id, id))
    cluster.at(cluster.now_s + CANCEL_S_MAX, CANCEL_UNHEARD, container.id, id)


def forget_all(cluster: Cluster, function: Function) -> None:
    """Its function is removed: whoever did that has ended them."""
    for input in (*function.queue.values(), *function.delayed.values()):
        cluster.inputs.pop(input.id, None)
        input.state = ENDED
    function.queue.clear()
    function.delayed.clear()
    for container in function.containers.values():
        for input in container.held.values():
            if input.function is function:
                cluster.inputs.pop(input.id, None)
                cluster.orphans.pop(input.id, None)
                input.state, input.container = ENDED, None
