"""A made-up world for the scheduler: nodes, containers, clients and a server that restarts, with faults from a seed.

Two links join it to the scheduler. What goes over the connection of a node keeps its order per container and is dropped when
that connection ends; what arrives may be said again at once or much later. A node works on while it is not connected,
keeps the answers that nobody acknowledged, and says in its NodeJoined what it has at that moment.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field, replace

from ingle.model.function import FunctionSpec, Scaling
from ingle.model.image import ImageSpec
from ingle.model.resources import Resources
from ingle.model.retries import Retries
from ingle.scheduler import commands, events
from ingle.scheduler.invariants import check
from ingle.scheduler.machine import Scheduler


@dataclass
class Kind:
    """How a function behaves, and what was asked for it."""

    spec: FunctionSpec
    fail_fast: bool
    run_s: tuple[float, float]
    long_share: float = 0.0  #: of runs that take a hundred times as long
    bad_share: float = 0.0  #: of attempts that end bad
    broken: bool = False  #: its module cannot be imported
    removed: bool = False


@dataclass
class Box:
    """A container as it really is."""

    id: str
    function: str
    node: "Machine"
    ready: bool = False
    gone: bool = False
    stopping: bool = False
    inbox: deque = field(default_factory=deque)
    running: str = ""
    run: int = 0  #: number of the run, so that an end that was planned for an earlier one is not taken for this one's
    served: int = 0


@dataclass
class Machine:
    id: str
    capacity: Resources
    boot: int = 0
    on: bool = True
    connection: int = 0  #: 0: none
    boxes: dict[str, Box] = field(default_factory=dict)
    unheard: dict[tuple[str, str], events.Attempt] = field(default_factory=dict)  #: answers nobody has acknowledged


class World:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.faults = True
        self.now_s = 0.0
        self.agenda: list = []
        self.order = 0
        self.connections = 0
        self.servers = 0
        self.machines: dict[str, Machine] = {}
        self.kinds: dict[str, Kind] = {}
        self.pending: dict[str, str] = {}  #: input -> function
        self.cancelled: set[str] = set()
        self.ended: dict[str, str] = {}
        self.retries: dict[str, int] = {}
        self.explained: dict[str, str] = {}
        self.last_s: dict[tuple, float] = {}  #: when the last message on this link arrives
        self.events = 0
        self.new_scheduler()

    # ---- time

    def at(self, delay_s, act, *arguments):
        self.order += 1
        heapq.heappush(self.agenda, (self.now_s + delay_s, self.order, act, arguments))

    def run(self, until_s):
        while self.agenda and self.agenda[0][0] <= until_s:
            when, _, act, arguments = heapq.heappop(self.agenda)
            self.now_s = max(self.now_s, when)
            act(*arguments)
        self.now_s = max(self.now_s, until_s)

    def ticking(self):
        cluster = self.scheduler.cluster
        self.handle(events.Tick(self.now_s))
        self.at(0.1 if cluster.progressing or cluster.recalling or cluster.standing else 0.5, self.ticking)

    def chance(self, share):
        return self.faults and self.random.random() < share

    # ---- the server

    def new_scheduler(self):
        self.servers += 1
        self.scheduler = Scheduler(prefix=f"s{self.servers}-")
        self.given: set[str] = set()  #: containers this scheduler was told of or made

    def handle(self, event):
        self.events += 1
        for command in self.scheduler.handle(event):
            self.carry_out(command)
        check(self.scheduler.cluster)

    def hear(self, event):
        """Something happens at the server now; the time comes first, as in the real loop."""
        self.handle(events.Tick(self.now_s))
        self.handle(event)
        if self.chance(0.05):
            if isinstance(event, events.InputsQueued):  # the server knows which have ended, and queues those no more
                event = replace(event, inputs=[id for id in event.inputs if id in self.pending])
            self.handle(event)
        if self.chance(0.03) and isinstance(event, SAID_LATE):
            server = self.servers
            self.at(self.random.expovariate(0.3), lambda: self.servers == server and self.handle(event))

    def carry_out(self, command):
        match command:
            case commands.EndInputs(inputs, verdict, _):
                assert inputs and verdict in VERDICTS, command
                for id in inputs:
                    assert id not in self.ended, f"{id} ends twice: {self.ended[id]}, {verdict}"
                    assert id in self.pending, f"{id} is not ours to end"
                    assert verdict != "cancelled" or id in self.cancelled, f"{id} was never cancelled"
                    self.ended[id] = verdict
                    del self.pending[id]
            case commands.RetryInput(id, attempt, delay_s):
                kind = self.kinds[self.pending[id]]
                assert 1 <= attempt <= kind.spec.retries.max_retries + 1 and delay_s >= 0, command
                assert id not in self.cancelled or delay_s == 0, f"{id} is cancelled and tried again"
            case commands.Explain(function, text):
                assert self.explained.get(function, "") != text or self.servers > 1, f"{function} said twice: {text}"
                self.explained[function] = text
            case commands.StartContainer(container, node, function, queued_s):
                assert container not in self.given, f"{container} is not a new name"
                assert not self.kinds[function].removed and queued_s >= 0
                self.given.add(container)
                have, most = (
                    self.scheduler.cluster.functions[function],
                    self.kinds[function].spec.scaling.max_containers,
                )
                assert most is None or len(have.containers) <= most, f"{container} is one too many of {have}"
                self.to_node(node, container, self.start, container, function)
            case commands.SendInputs(container, node, inputs):
                assert inputs and len(inputs) <= 64 and len(set(inputs)) == len(inputs), command
                for id in inputs:
                    assert id in self.pending and id not in self.cancelled, f"{id} is sent and should not be"
                self.to_node(node, container, self.deliver, container, inputs)
            case commands.RecallInputs(container, node):
                self.to_node(node, container, self.recall, container)
            case commands.CancelInput(container, node, id):
                self.to_node(node, container, self.cancel, container, id)
            case commands.StopContainer(container, node, reason):
                assert reason
                self.to_node(node, container, self.stop, container)
            case _:
                raise AssertionError(command)

    # ---- the connection of a node

    def to_node(self, node, link, act, *arguments):
        machine = self.machines[node]
        connection = machine.connection
        if connection:
            when = self.in_order(("to", connection, link), self.random.uniform(0.0005, 0.02))
            self.at(when - self.now_s, lambda: machine.connection == connection and act(machine, *arguments))

    def to_server(self, machine, link, event, acknowledge=()):
        connection, server = machine.connection, self.servers
        if not connection:
            return

        def arrive():
            if machine.connection == connection and self.servers == server:
                if not self.chance(0.02):  # else the acknowledgement is lost
                    for key in acknowledge:
                        machine.unheard.pop(key, None)
                self.hear(event)

        when = self.in_order(("from", connection, link), self.random.uniform(0.0005, 0.02) + (5 * self.chance(0.01)))
        self.at(when - self.now_s, arrive)

    def in_order(self, link, delay_s):
        when = max(self.now_s + delay_s, self.last_s.get(link, 0.0) + 1e-6)
        self.last_s[link] = when
        return when

    def connect(self, machine):
        """A new connection: what is on the way on the old one is dropped; the node says what it has."""
        if not machine.on:
            return
        self.connections += 1
        machine.connection = self.connections
        held = []
        for box in machine.boxes.values():
            inputs = [box.running, *box.inbox] if box.running else list(box.inbox)
            unheard = [id for container, id in machine.unheard if container == box.id and id not in inputs]
            if not box.stopping:
                held.append(events.Held(box.id, box.function, box.ready, tuple(inputs + unheard)))
                self.given.add(box.id)
        self.random.shuffle(held)
        joined = events.NodeJoined(machine.id, f"boot-{machine.boot}", machine.capacity, tuple(held))
        self.handle(events.Tick(self.now_s))
        self.handle(joined)
        if self.chance(0.2):
            self.handle(joined)
        for (container, id), attempt in list(machine.unheard.items()):
            self.to_server(machine, container, events.AttemptsEnded(container, [attempt]), [(container, id)])

    # ---- the node

    def start(self, machine, container, function):
        if container in machine.boxes:
            return
        box = machine.boxes[container] = Box(container, function, machine)
        kind = self.kinds[function]
        if self.chance(0.02):  # never answers: the node's own time-out ends it
            self.at(20.0, self.fail_start, box, "start-up took longer than 20 s", False)
        elif kind.broken or self.chance(0.06):
            self.at(self.random.uniform(0.02, 0.5), self.fail_start, box, "ImportError", kind.broken)
        else:
            self.at(self.random.uniform(0.02, 0.5), self.become_ready, box)

    def fail_start(self, box, reason, user_error):
        if not box.gone and not box.ready:
            self.exit(box, start_error=reason, user_error=user_error)

    def become_ready(self, box):
        if not box.gone:
            box.ready = True
            self.to_server(box.node, box.id, events.ContainerReady(box.id))

    def deliver(self, machine, container, inputs):
        box = machine.boxes.get(container)
        if box is None:
            return
        assert box.ready, f"{container} was given inputs before it was ready"
        kind = self.kinds[box.function]
        assert not kind.spec.single_use or box.served + bool(box.running) + len(box.inbox) == 0 or box.stopping
        box.inbox.extend(id for id in inputs if id != box.running and id not in box.inbox)
        self.next_run(box)

    def next_run(self, box):
        if box.running or box.gone or not box.inbox:
            return
        box.running = box.inbox.popleft()
        box.run += 1
        kind = self.kinds[box.function]
        run_s = self.random.uniform(*kind.run_s) * (100 if self.random.random() < kind.long_share else 1)
        if self.chance(0.01):
            fault = self.random.choice(["", "out of memory"])
            self.at(run_s, self.die, box, box.run, fault)
        else:
            self.at(run_s, self.finish, box, box.run, self.random.random() >= kind.bad_share, run_s)

    def die(self, box, run, fault):
        if not box.gone and box.run == run and box.running:
            self.exit(box, fault=fault)

    def finish(self, box, run, good, run_s):
        if box.gone or box.run != run or not box.running:
            return
        self.answer(box, box.running, good, run_s)
        box.running = ""
        box.served += 1
        self.next_run(box)

    def answer(self, box, id, good, run_s):
        attempt = events.Attempt(id, good, run_s)
        box.node.unheard[box.id, id] = attempt
        self.to_server(box.node, box.id, events.AttemptsEnded(box.id, [attempt]), [(box.id, id)])

    def recall(self, machine, container):
        box = machine.boxes.get(container)
        if box is not None:
            back = list(box.inbox)
            box.inbox.clear()
            self.to_server(machine, container, events.InputsRecalled(container, back))

    def cancel(self, machine, container, id):
        box = machine.boxes.get(container)
        if box is None:
            return
        if id in box.inbox:
            box.inbox.remove(id)
            if self.random.random() < 0.5:  # else dropped without a word
                self.answer(box, id, False, 0.0)
        elif id == box.running:
            if self.random.random() < 0.8:
                self.at(self.random.uniform(0.0, 0.1), self.finish, box, box.run, False, 0.1)
            else:  # it does not listen
                self.at(2.0, self.die, box, box.run, "cancelled")

    def stop(self, machine, container):
        box = machine.boxes.get(container)
        if box is not None and not box.stopping:
            box.stopping = True
            self.at(self.random.uniform(0.01, 1.0), self.exit, box)

    def exit(self, box, **why):
        if not box.gone:
            box.gone = True
            box.node.boxes.pop(box.id, None)
            event = events.ContainerExited(box.id, running=box.running, **why)
            self.to_server(box.node, box.id, event)

    # ---- what goes wrong

    def cut(self, machine, noticed):
        """The connection ends; the server may take the node for lost before it is back."""
        if not machine.connection:
            return
        machine.connection = 0
        if noticed:
            self.hear(events.NodeLost(machine.id))

    def crash(self, machine, noticed):
        self.cut(machine, noticed)
        machine.boot += 1
        machine.unheard.clear()
        for box in machine.boxes.values():
            box.gone = True
        machine.boxes.clear()

    def restart_server(self):
        """All that the scheduler knew is gone; the server's rows, the clients and the nodes tell the new one."""
        for machine in self.machines.values():
            machine.connection = 0
        self.new_scheduler()
        self.explained.clear()
        self.handle(events.Tick(self.now_s))
        for kind in self.kinds.values():
            if not kind.removed:
                self.handle(events.FunctionAdded(kind.spec, kind.fail_fast))
        todo = [(self.connect, machine) for machine in self.machines.values()]
        for id in self.kinds:
            waiting = [one for one, function in self.pending.items() if function == id]
            while waiting:
                count = self.random.randint(1, len(waiting))
                todo.append((self.requeue, id, waiting[:count]))
                waiting = waiting[count:]
        self.random.shuffle(todo)
        for act, *arguments in todo:
            if self.chance(0.3):
                self.at(self.random.uniform(0.0, 3.0), act, *arguments)
            else:
                act(*arguments)

    def requeue(self, function, inputs):
        inputs = [id for id in inputs if id in self.pending]
        again = [id for id in inputs if id in self.cancelled]
        self.cancelled.difference_update(again)
        if inputs:
            self.hear(events.InputsQueued(function, inputs))
            self.call_off(again)

    # ---- what people do

    def add(self, kind):
        self.kinds[kind.spec.id] = kind
        self.hear(events.FunctionAdded(kind.spec, kind.fail_fast))

    def ask(self, function, ids):
        if not self.kinds[function].removed:
            for id in ids:
                self.pending[id] = function
            self.hear(events.InputsQueued(function, list(ids), inside=self.chance(0.2)))

    def call_off(self, ids):
        self.handle(events.Tick(self.now_s))  # the server has not decided before this
        ids = [id for id in ids if id in self.pending]
        self.cancelled.update(ids)
        self.hear(events.InputsCancelled(ids))

    def call_off_held(self):
        """Cancel what a container has at this moment: what runs, or what waits behind it."""
        boxes = [box for machine in self.machines.values() for box in machine.boxes.values() if box.running]
        if boxes:
            box = max(self.random.sample(boxes, min(3, len(boxes))), key=lambda box: len(box.inbox))
            self.call_off([self.random.choice([box.running, *box.inbox])])

    def remove(self, function):
        self.handle(events.Tick(self.now_s))
        self.kinds[function].removed = True
        for id in [id for id, of in self.pending.items() if of == function]:
            del self.pending[id]
            self.ended[id] = "removed"
        self.hear(events.FunctionRemoved(function))

    def stop_one(self):
        boxes = [box.id for machine in self.machines.values() for box in machine.boxes.values()]
        if boxes:
            self.hear(events.ContainerStopAsked(self.random.choice(boxes)))


#: What a node may be heard saying a second time, long after.
SAID_LATE = (
    events.AttemptsEnded, events.ContainerExited, events.ContainerReady, events.InputsRecalled, events.InputsCancelled,
    events.ContainerStopAsked,
)  # fmt: skip
VERDICTS = {"answered", "cancelled", "start_failed", "fault", "unplaceable", "lost"}


NO_RETRIES = Retries(0)


def spec(
    id: str, cpu_milli: int = 125, memory_mib: int = 128, retries: Retries = NO_RETRIES, **scaling
) -> FunctionSpec:
    single_use = scaling.pop("single_use", False)
    is_generator = scaling.pop("is_generator", False)
    return FunctionSpec(
        id=id, app_id="ap-1", name=id, module="m", qualname="f", image=ImageSpec("3.11"), retries=retries,
        resources=Resources(cpu_milli, memory_mib), scaling=Scaling(**scaling), single_use=single_use, is_generator=is_generator,
    )  # fmt: skip
