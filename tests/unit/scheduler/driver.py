"""A scheduler with its answers sorted, for tests that tell it one thing after another."""

from simulation.world import spec

from ingle.model.resources import Resources
from ingle.scheduler import commands, events
from ingle.scheduler.invariants import check
from ingle.scheduler.machine import Scheduler

__all__ = ["Driver", "spec"]


class Driver:
    """`tell` returns the commands; `said` keeps all of them."""

    def __init__(self, cpu_milli: int = 2000, memory_mib: int = 4096, nodes: int = 1):
        self.scheduler = Scheduler("t-")
        self.cluster = self.scheduler.cluster
        self.said: list[commands.Command] = []
        self.tell(events.Tick(100.0))
        self.capacity = Resources(cpu_milli, memory_mib)
        for i in range(nodes):
            self.join(f"no-{i}")
        self.pass_s(5.0)

    def tell(self, *happened: events.Event) -> list[commands.Command]:
        out = []
        for event in happened:
            out += self.scheduler.handle(event)
            check(self.cluster)
        self.said += out
        return out

    def join(self, node: str = "no-0", boot: str = "b", held: tuple[events.Held, ...] = ()) -> list[commands.Command]:
        return self.tell(events.NodeJoined(node, boot, self.capacity, held))

    def pass_s(self, seconds: float) -> list[commands.Command]:
        """Time passes in steps as small as the server's."""
        out = []
        until_s = self.cluster.now_s + seconds
        while self.cluster.now_s < until_s - 1e-9:
            out += self.tell(events.Tick(min(until_s, self.cluster.now_s + 0.1)))
        return out

    def add(self, id: str = "fu-1", fail_fast: bool = True, **how) -> list[commands.Command]:
        return self.tell(events.FunctionAdded(spec(id, **how), fail_fast))

    def ask(self, count: int = 1, function: str = "fu-1", call: str = "fc-1") -> list[commands.Command]:
        return self.tell(events.InputsQueued(function, [f"{call}:{i}" for i in range(count)]))

    def ready(self, *containers: str) -> list[commands.Command]:
        return self.tell(*(events.ContainerReady(container) for container in containers))

    def end(self, container: str, *inputs: str, good: bool = True, run_s: float = 1.0) -> list[commands.Command]:
        return self.tell(events.AttemptsEnded(container, [events.Attempt(one, good, run_s) for one in inputs]))

    def warm(self, count: int = 1, function: str = "fu-1", run_s: float = 1.0) -> list[str]:
        """So many containers that have each run one input and are idle."""
        starts = of(self.ask(count, function, "fc-warm-" + function), commands.StartContainer)
        assert len(starts) == count
        containers = [start.container for start in starts]
        self.ready(*containers)
        for i, container in enumerate(containers):
            self.end(container, *(list(self.cluster.containers[container].held)), run_s=run_s)
            assert i < count
        return containers

    def short(self, function: str = "fu-1", count: int = 1) -> list[str]:
        """The same, and its runs are known to be very short."""
        containers = self.warm(count, function, 0.0001)
        self.cluster.functions[function].streak = 64
        return containers


def of(out: list[commands.Command], kind: type) -> list:
    return [command for command in out if isinstance(command, kind)]


def sent(out: list[commands.Command]) -> dict[str, list[str]]:
    """Inputs by container."""
    return {command.container: command.inputs for command in of(out, commands.SendInputs)}


def ended(out: list[commands.Command]) -> dict[str, str]:
    """Verdicts by input."""
    return {one: command.verdict for command in of(out, commands.EndInputs) for one in command.inputs}
