"""How many containers a function should have, and how many inputs one container gets at once: arithmetic only.

What is learnt of a function is how long its runs take (`run_s`, a moving average; None while nothing is known) and how
long its containers take to start. From these, two questions are answered with the same sum, work / horizon:

* Is another *start* worth it? Only if the queue will not be empty anyway by the time the container is there, so the horizon is
  the start time. A thousand no-ops want one container, a thousand runs of a minute want a thousand.
* Is one more *warm* container worth waking? The horizon is one batch.

An average can be wrong about the inputs that come next. Three things keep that harmless: a container that makes no progress for
PROGRESS_S counts as occupied, not as fast; what it was given ahead is taken back; and a queue that stands still for
STALL_S makes the average forgotten, which means one container per input.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingle.scheduler.state import Function

#: Runs are short below this, and a container is given several inputs at once.
SHORT_S = 0.005
#: What a container may hold ahead, in expected seconds and in inputs.
BATCH_S = 0.025
BATCH_MAX = 64
#: What an input costs at least, however short its run is.
INPUT_COST_S = 0.00005
#: A container whose input has run so long is occupied: others must not wait behind it.
PROGRESS_S = 0.05
#: A queue of which nothing was sent for so long is standing still.
STALL_S = 0.2
#: What a start is thought to take before one was seen, and the bounds of what is learnt.
START_S, START_S_MIN, START_S_MAX = 0.2, 0.1, 1.0
#: Weight of one new measurement in a moving average.
_WEIGHT = 0.2


def batch(run_s: float | None, streak: int) -> int:
    """How many inputs one container may hold: 1 unless runs are known to be short. `streak` short runs must have been
    seen in a row, so that trust grows as quickly as evidence."""
    if run_s is None or run_s > SHORT_S:
        return 1
    return max(1, min(BATCH_MAX, int(BATCH_S / max(run_s, INPUT_COST_S)), streak))


def containers_for(inputs: int, run_s: float | None, horizon_s: float) -> int:
    """Containers that would finish these inputs within the horizon; one each while nothing is known."""
    if run_s is None or inputs <= 1:
        return inputs
    return min(inputs, int(inputs * max(run_s, INPUT_COST_S) / horizon_s) + 1)


def learn_run(run_s: float | None, mean_s: float, count: int) -> float:
    """The moving average after `count` more runs of `mean_s` seconds each."""
    if run_s is None:
        return mean_s
    return run_s + (mean_s - run_s) * (1.0 - (1.0 - _WEIGHT) ** count)


def learn_start(start_s: float, seen_s: float) -> float:
    """The moving average of start times; an image build must not make us think that every start takes minutes."""
    seen_s = min(max(seen_s, START_S_MIN), START_S_MAX)
    return start_s + (seen_s - start_s) * _WEIGHT


def target(function: "Function") -> int:
    """How many containers the function should have now, before `max_containers` and the room."""
    scaling, queued, busy = function.scaling, len(function.queue), len(function.busy)
    needed = busy
    if queued and (function.run_s is None or function.spec.single_use):
        needed = busy + queued
    elif queued:
        ahead = queued + max(0, function.held - function.slow)
        needed = max(busy, function.slow + containers_for(ahead, function.run_s, function.start_s))
    if needed:
        needed += scaling.buffer_containers
    return max(needed, scaling.min_containers)


def missing(function: "Function", now_s: float) -> int:
    """How many containers to start now, if there is room; negative: so many are more than the target."""
    count = target(function) - function.alive()
    if count <= 0:
        return count
    if function.removed or now_s < function.backoff_until_s:
        return 0
    if function.scaling.max_containers is not None:  # one that is being stopped may still run something
        count = min(count, max(0, function.scaling.max_containers - len(function.containers)))
    return count


def holds_at_most(function: "Function") -> int:
    """How many inputs each of its containers may hold now."""
    if function.spec.single_use or function.spec.is_generator:
        return 1
    return batch(function.run_s, function.streak)
