"""What the scheduler itself costs per input: queue, send, end, in one process with nobody else. Run: python bench/scheduler.py."""

import time

from ingle.model.function import FunctionSpec
from ingle.model.image import ImageSpec
from ingle.model.resources import Resources
from ingle.scheduler import commands, events
from ingle.scheduler.machine import Scheduler

INPUTS = 200_000
OUTSTANDING = 1000


def main() -> None:
    for run_s in (0.00005, 0.5):
        print(f"runs of {run_s * 1000:g} ms: {one_map(run_s):.2f} µs per input")


def one_map(run_s: float) -> float:
    """A map that keeps OUTSTANDING inputs under way; answers come in packs of what a container was given."""
    scheduler = Scheduler()
    scheduler.handle(events.Tick(0.0))
    scheduler.handle(events.NodeJoined("no-1", "boot", Resources(2000, 8192)))
    scheduler.handle(events.FunctionAdded(FunctionSpec("fu-1", "ap-1", "f", "m", "f", ImageSpec("3.11")), True))
    ids = [f"fc-1234567890abcdef:{i}" for i in range(INPUTS)]
    given, ended, now_s = 0, 0, 0.0
    began = time.perf_counter()
    todo = list(scheduler.handle(events.InputsQueued("fu-1", ids[:OUTSTANDING])))
    given = OUTSTANDING
    while ended < INPUTS:
        now_s += 0.002
        batch, todo = todo, []
        todo += scheduler.handle(events.Tick(now_s))
        back = 0
        for command in batch:
            if type(command) is commands.StartContainer:
                todo += scheduler.handle(events.ContainerReady(command.container))
            elif type(command) is commands.SendInputs:
                attempts = [events.Attempt(id, True, run_s) for id in command.inputs]
                todo += scheduler.handle(events.AttemptsEnded(command.container, attempts))
            elif type(command) is commands.EndInputs:
                back += len(command.inputs)
        ended += back
        if given < INPUTS and back:
            todo += scheduler.handle(events.InputsQueued("fu-1", ids[given : given + back]))
            given += back
    return (time.perf_counter() - began) / INPUTS * 1e6


if __name__ == "__main__":
    main()
