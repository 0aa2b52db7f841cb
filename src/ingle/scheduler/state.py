"""The cluster as the scheduler believes it to be: values, where each stands, and the few moves that keep the books straight.

An input that has not ended stands in exactly one place::

    QUEUED    in its function's `queue`, in the order in which inputs start
    DELAYED   in its function's `delayed`, until its retry is due
    HELD      given to `container`, in that container's `held`; the first of them runs

A container may also hold a *ghost*: an input that stands elsewhere or has ended, yet is known to be running here (an answer came
from another container first; a node came back with what had been given up). A ghost's `container` is not the one that
holds it. An input that a node brought along and nobody has queued yet (a restarted server) is an *orphan*: HELD, but in `orphans`
instead of `inputs`.

A container is in exactly one of its function's `starting`, `idle` and `busy`, or it is STOPPING; it takes room on its node until
it has exited. STARTING -> IDLE <-> BUSY; any of them -> STOPPING -> gone.
"""

import heapq
from collections import OrderedDict

from ingle.model.function import FunctionSpec
from ingle.model.resources import Resources
from ingle.scheduler.autoscale import START_S
from ingle.scheduler.commands import Command, EndInputs, Explain, SendInputs

QUEUED, DELAYED, HELD, ENDED = "queued", "delayed", "held", "ended"
STARTING, IDLE, BUSY, STOPPING, GONE = "starting", "idle", "busy", "stopping", "gone"


class Input:
    """One set of arguments on its way to an end."""

    __slots__ = ("also", "cancelled", "container", "failures", "function", "id", "inside", "lost", "queued_s", "state")

    def __init__(self, id: str, function: "Function", queued_s: float, inside: bool = False):
        self.id = id
        self.inside = inside  #: a container waits for it
        self.function = function
        self.queued_s = queued_s  #: when it came; kept when it runs again
        self.state = QUEUED
        self.container: Container | None = None  #: where it is HELD
        self.also: list[Container] | None = None  #: those that hold it as a ghost
        self.failures = 0  #: attempts that ended bad
        self.lost = 0  #: containers that died while it ran in them
        self.cancelled = False

    def __repr__(self) -> str:
        return f"<{self.id} {self.state}{' cancelled' if self.cancelled else ''}>"


class Node:
    """A machine; `free` is its capacity less what all its containers were promised, until they have exited."""

    def __init__(self, id: str, boot: str, capacity: Resources):
        self.id = id
        self.boot = boot
        self.up = True  #: False: known, but away
        self.cpu = self.free_cpu = capacity.cpu_milli
        self.memory = self.free_memory = capacity.memory_mib
        self.freeing_cpu = self.freeing_memory = 0  #: of containers that are STOPPING
        self.containers: dict[str, Container] = {}
        self.idle: OrderedDict[str, Container] = OrderedDict()  #: longest idle first
        self.idle_cpu = self.idle_memory = 0

    def resize(self, capacity: Resources) -> None:
        self.free_cpu += capacity.cpu_milli - self.cpu
        self.free_memory += capacity.memory_mib - self.memory
        self.cpu, self.memory = capacity.cpu_milli, capacity.memory_mib


class Container:
    __slots__ = (
        "cpu",
        "function",
        "held",
        "id",
        "memory",
        "node",
        "over",
        "progress_s",
        "recalled",
        "served",
        "since_s",
        "slow",
        "state",
    )

    def __init__(self, id: str, function: "Function", node: Node, now_s: float):
        self.id = id
        self.function = function
        self.node = node
        self.cpu, self.memory = function.cpu, function.memory  #: as promised, whatever becomes of the spec
        self.over = False  #: more than the node's cpu was promised for it: see room.help_inner
        self.state = STARTING
        self.since_s = now_s  #: in this state
        self.held: dict[str, Input] = {}
        self.served = 0  #: attempts that ended in it
        self.progress_s = 0.0  #: when its first input began, as far as we know
        self.slow = False  #: no progress for PROGRESS_S
        self.recalled = False  #: asked to give back what has not begun, no answer yet

    def __repr__(self) -> str:
        return f"<{self.id} of {self.function.id} on {self.node.id} {self.state} {list(self.held)}>"


class Function:
    def __init__(self, spec: FunctionSpec, fail_fast: bool):
        self.id = spec.id
        self.change(spec, fail_fast)
        self.removed = False
        self.queue: OrderedDict[str, Input] = OrderedDict()
        self.delayed: dict[str, Input] = {}
        self.containers: dict[str, Container] = {}  #: all that have not exited
        self.starting: dict[str, Container] = {}
        self.idle: OrderedDict[str, Container] = OrderedDict()  #: longest idle first; the last is used first
        self.busy: dict[str, Container] = {}
        self.hungry: OrderedDict[str, Container] = OrderedDict()  #: busy, and below half of a batch
        self.held = 0  #: entries in all `held` of its containers that are not STOPPING
        self.slow = 0  #: of its busy containers
        # What was learnt; see autoscale.
        self.run_s: float | None = None
        self.streak = 0  #: short runs in a row
        self.start_s = START_S
        # Starts that fail.
        self.start_failures = 0
        self.backoff_until_s = float("-inf")
        self.failed_s = float("-inf")  #: last failed start; starts begun before it say nothing new
        self.start_error: str | None = (
            None  #: for inputs that come during a backoff in which waiting ones were given up
        )
        self.scaledown_due = False  #: a timer is set
        self.blocked_s = 0.0  #: since when it waits for room
        self.explained = ""

    def change(self, spec: FunctionSpec, fail_fast: bool) -> None:
        self.spec = spec
        self.fail_fast = fail_fast
        self.scaling = spec.scaling
        self.cpu = max(0, spec.resources.cpu_milli)
        self.memory = max(0, spec.resources.memory_mib)

    def alive(self) -> int:
        """Containers that serve it, now or soon."""
        return len(self.starting) + len(self.idle) + len(self.busy)

    def __repr__(self) -> str:
        return f"<{self.id}: {len(self.queue)} queued, {len(self.idle)} idle, {len(self.busy)} busy, {len(self.starting)} starting>"


class Claim:
    """One function's right to the next room on one node, because it has waited long enough. `strict`: it has no container at
    all, so nobody else may start there meanwhile."""

    def __init__(self, function: Function, node: Node, until_s: float, strict: bool):
        self.function = function
        self.node = node
        self.until_s = until_s
        self.strict = strict


class Cluster:
    def __init__(self, prefix: str = ""):
        self.prefix = prefix
        self.started = 0  #: containers ever started: names the next one
        self.now_s = 0.0
        self.first_s: float | None = None  #: the first time that was told
        self.nodes: dict[str, Node] = {}
        self.functions: dict[str, Function] = {}
        self.containers: dict[str, Container] = {}
        self.inputs: dict[str, Input] = {}
        self.orphans: dict[str, Input] = {}
        self.dirty: dict[str, Function] = {}  #: to be settled before this event is over
        self.progressing: OrderedDict[str, Container] = (
            OrderedDict()
        )  #: busy and not slow; longest without progress first
        self.recalling: OrderedDict[str, float] = OrderedDict()  #: container -> when it was asked; longest ago first
        self.standing: OrderedDict[str, float] = OrderedDict()  #: function with a queue -> when something was last sent
        self.blocked: OrderedDict[str, Function] = OrderedDict()  #: wait for room; longest first
        self.room_changed = False  #: a blocked function may have luck now
        self.claim: Claim | None = None
        self.timers: list[tuple[float, int, str, str, str]] = []  #: heap: due, order, what, about whom, which
        self.timer_order = 0
        self.out: list[Command] = []

    # ---- saying

    def say(self, command: Command) -> None:
        self.out.append(command)

    def end(self, inputs: list[str], verdict: str, reason: str = "") -> None:
        last = self.out[-1] if self.out else None
        if type(last) is EndInputs and last.verdict == verdict and last.reason == reason:
            last.inputs.extend(inputs)
        else:
            self.out.append(EndInputs(inputs, verdict, reason))

    def send(self, container: Container, inputs: list[str]) -> None:
        last = self.out[-1] if self.out else None
        if type(last) is SendInputs and last.container == container.id:
            last.inputs.extend(inputs)
        else:
            self.out.append(SendInputs(container.id, container.node.id, inputs))

    def explain(self, function: Function, text: str) -> None:
        if text != function.explained:
            function.explained = text
            self.out.append(Explain(function.id, text))

    def at(self, due_s: float, what: str, whom: str, which: str = "") -> None:
        """Set a timer. Timers are never taken back: what they are about is looked up again when they are due."""
        self.timer_order += 1
        heapq.heappush(self.timers, (due_s, self.timer_order, what, whom, which))

    # ---- containers

    def new_container(self, function: Function, node: Node) -> Container:
        while True:
            self.started += 1
            id = f"co-{self.prefix}{self.started:06x}"
            if id not in self.containers:
                break
        return self.add_container(Container(id, function, node, self.now_s))

    def add_container(self, container: Container) -> Container:
        """It takes its room, as STARTING."""
        node, function = container.node, container.function
        self.containers[container.id] = node.containers[container.id] = function.containers[container.id] = container
        function.starting[container.id] = container
        node.free_cpu -= container.cpu
        node.free_memory -= container.memory
        return container

    def move(self, container: Container, state: str) -> None:
        """To another state, with all the books. The inputs that it holds are the caller's business."""
        function, node, id = container.function, container.node, container.id
        if container.state == STARTING:
            del function.starting[id]
        elif container.state == IDLE:
            del function.idle[id], node.idle[id]
            node.idle_cpu -= container.cpu
            node.idle_memory -= container.memory
        elif container.state == BUSY:
            del function.busy[id]
            function.hungry.pop(id, None)
            self.recalling.pop(id, None)
            container.recalled = False
            if container.slow:
                container.slow = False
                function.slow -= 1
            else:
                del self.progressing[id]
        elif container.state == STOPPING:
            node.freeing_cpu -= container.cpu
            node.freeing_memory -= container.memory
        container.state, container.since_s = state, self.now_s
        if state == IDLE:
            function.idle[id] = node.idle[id] = container
            node.idle_cpu += container.cpu
            node.idle_memory += container.memory
        elif state == BUSY:
            function.busy[id] = self.progressing[id] = container
            container.progress_s = self.now_s
        elif state == STOPPING:
            node.freeing_cpu += container.cpu
            node.freeing_memory += container.memory
        elif state == GONE:
            del self.containers[id], node.containers[id], function.containers[id]
            node.free_cpu += container.cpu
            node.free_memory += container.memory
            self.room_changed = True

    def progressed(self, container: Container) -> None:
        """The first of its inputs is another one now."""
        container.progress_s = self.now_s
        if container.slow:
            container.slow = False
            container.function.slow -= 1
            self.progressing[container.id] = container
        else:
            self.progressing.move_to_end(container.id)
