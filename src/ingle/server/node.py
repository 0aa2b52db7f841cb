"""Nodes: their connections, what they have, what they say.

A node is *joined* while it has a link, *away* for a short grace after that closed, then *lost*. Containers are the node's: when it
joins it says which it has, and is told which of them nobody wants.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ingle.exceptions import InvalidError, VersionError
from ingle.model import container as states
from ingle.model.call import FAILED, OUTCOMES, RAISED
from ingle.model.ids import split_input_id
from ingle.model.node import Node
from ingle.scheduler import events
from ingle.server.call import Calls, pack_reason
from ingle.server.container import Containers, Running
from ingle.server.events import Events
from ingle.server.function import Functions
from ingle.server.image import Images
from ingle.server.log import LogBook
from ingle.server.session import Link, Session, Sessions
from ingle.storage.call import CallRows
from ingle.wire import node as wire
from ingle.wire.api import Notice
from ingle.wire.codec import FrameError, split
from ingle.wire.errors import Failure, unpack_failure
from ingle.wire.version import WIRE_VERSION

if TYPE_CHECKING:
    from ingle.server.client import Clients
    from ingle.server.exec import Execs

log = logging.getLogger(__name__)

#: Acknowledgements gather for so long.
ACK_S = 0.005
#: Clients inside the containers of one node.
CLIENTS_MAX = 10_000
#: What a container cannot start for a second time either: its user has to change something.
_USERS_OWN = ("image_build", "startup_timeout", "out_of_memory", "invalid")
_FAULTS = {"out_of_memory": "out_of_memory", "timeout": "timeout", "cancelled": "cancelled"}
#: Ends that people want to read about in the log.
_SAID = ("killed", "exited", "out_of_memory", "timeout")


@dataclass(eq=False, slots=True)
class Peer:
    """A node as the server knows it, over its reconnects."""

    node: Node
    link: Link | None
    heard_s: float  #: when it last said anything, monotonic
    free_memory_mib: int = 0
    clients: dict[tuple[str, str], tuple[Session, Link]] = field(default_factory=dict)
    acks: list[str] = field(default_factory=list)  #: for its next AckNodeOutputs

    def send(self, message: Any, payload: bytes | list = b"") -> bool:
        if self.link is None:
            return False
        self.link.send(wire.CODEC.encode(message, payload))
        return True

    def acknowledge(self, input_ids: list[str]) -> None:
        """The node may forget these answers; it is told soon, of many at once, as nobody waits for that."""
        if not self.acks:
            asyncio.get_running_loop().call_later(ACK_S, self._acknowledge)
        self.acks += input_ids

    def _acknowledge(self) -> None:
        acks, self.acks = self.acks, []
        self.send(wire.AckNodeOutputs(acks))


class ClientLink:
    """A connection to a program inside a container, by way of its node."""

    def __init__(self, peer: Peer, container: str, client: str):
        self._peer, self._container, self._client = peer, container, client

    def send(self, frame: bytes) -> None:
        self._peer.send(wire.ToClient(self._container, self._client), frame)

    def backlog(self) -> int:
        return self._peer.link.backlog() if self._peer.link is not None else 0

    def close(self, reason: str) -> None:
        self._peer.send(wire.ToClient(self._container, self._client, closed=True))


class Nodes:
    def __init__(
        self,
        server: str,
        posted: Events,
        functions: Functions,
        containers: Containers,
        calls: Calls,
        rows: CallRows,
        images: Images,
        logs: LogBook,
        sessions: Sessions,
        blobs_path: str,
        blobs_probe: str,
    ):
        self._server = server
        self._events = posted
        self._functions = functions
        self._containers = containers
        self._calls = calls
        self._rows = rows
        self._images = images
        self._logs = logs
        self._sessions = sessions
        self._blobs = (blobs_path, blobs_probe)
        self._answering: Peer | None = None  #: whose answers are being heard
        self._retried: set[str] = set()  #: of them, those that do not stand
        self.peers: dict[str, Peer] = {}
        self.clients: Clients  # set by whoever makes it
        self.execs: Execs
        images.to_nodes = self._broadcast
        self._takes: dict[type, Callable[[Peer, Any, memoryview], None]] = {
            wire.NodeOutputs: self._outputs,
            wire.Heartbeat: self._heartbeat,
            wire.ContainerReady: self._ready,
            wire.ContainerExited: self._exited,
            wire.NodeYielded: self._yielded,
            wire.Recalled: self._recalled,
            wire.NodeLogs: self._log_lines,
            wire.ImageState: lambda peer, m, _: images.progressed(peer.node.name, m),
            wire.FromClient: self._from_client,
            wire.ExecOutput: lambda peer, m, payload: self.execs.output(m, payload),
        }

    # ---- coming and going

    async def joined(self, link: Link, frame: bytes) -> Peer:
        """The first frame of a node: says hello, learns what it has, tells it what is not wanted.

        Raises:
            FrameError: it is no NodeHello.
            VersionError: it speaks another wire.
        """
        message, _ = wire.CODEC.decode(frame)
        if not isinstance(message, wire.NodeHello):
            raise FrameError("the first message has to be NodeHello")
        if message.version != WIRE_VERSION:
            raise VersionError(
                f"the server speaks wire version {WIRE_VERSION}, the node {message.version}: install the same version of Ingle on both"
            )
        if not message.node.id or min(message.node.capacity.cpu_milli, message.node.capacity.memory_mib) < 0:
            raise InvalidError("the node's id or capacity is none")
        ended = {f"{call}:{number}" for call, number in await self._rows.ended_among(_inputs(message))}
        # No await beyond this point: from here on the world stands still until the scheduler knows.
        peer = self._peer(link, message.node)
        self._close_clients(peer)
        held, unwanted, taken = self._held(peer, message, ended)
        peer.send(wire.NodeWelcome(self._server, unwanted, *self._blobs))
        for spec in self._images.wanted():
            peer.send(wire.EnsureImage(spec))
        for grant in taken:
            peer.send(grant)
        self._events.post(events.NodeJoined(peer.node.id, peer.node.boot_id, peer.node.capacity, tuple(held)))
        log.info("node %s (%s) joined with %d containers", peer.node.name, peer.node.id, len(held))
        return peer

    def _peer(self, link: Link, node: Node) -> Peer:
        peer = self.peers.get(node.id)
        if peer is None:
            peer = self.peers[node.id] = Peer(node, link, time.monotonic())
            return peer
        if peer.link is not None and peer.link is not link:
            peer.link.close("the same node has connected again")
        peer.node, peer.link, peer.heard_s = node, link, time.monotonic()
        return peer

    def _held(
        self, peer: Peer, message: wire.NodeHello, ended: set[str]
    ) -> tuple[list[events.Held], list[str], list[wire.GrantYields]]:
        """What it has that is wanted, for the scheduler; what is not; and what was taken of its generators."""
        held, unwanted, taken = [], [], []
        here = {report.container for report in message.containers}
        for record in self._containers.on_node(peer.node.id):
            if record.id not in here:
                self._over(record.id, "its node does not have it any more")
        # An input that was in a container that is over may be in another one by now: the living ones first.
        for report in sorted(message.containers, key=lambda one: one.state in (states.STOPPING, states.EXITED)):
            function = self._functions.find(report.function)
            stranger = self._containers.app_of(report.container) is None
            inputs = [i for i in report.inputs if self._calls.held(i) or (stranger and i not in ended)]
            generators = self._calls.expect(report.container, inputs)
            taken += [wire.GrantYields(report.container, *one) for one in generators]
            if report.state in (states.STOPPING, states.EXITED):
                continue
            if function is None:
                unwanted.append(report.container)
                self._over(report.container, "nobody wants it any more")
                continue
            known = self._containers.running.get(report.container)
            record = known or self._containers.add(
                Running(
                    report.container,
                    function.app.id,
                    report.function,
                    peer.node.id,
                    report.state,
                    time.time(),
                    function_name=function.spec.name,
                )
            )
            record.seen = report.state
            record.inputs = dict.fromkeys(inputs)
            held.append(events.Held(report.container, report.function, report.state == states.READY, tuple(inputs)))
        return held, unwanted, taken

    def left(self, peer: Peer, link: Link) -> None:
        """The connection is gone; the node has its grace to come back."""
        if peer.link is link:
            peer.link = None
            peer.heard_s = time.monotonic()
            for session, client_link in peer.clients.values():
                self.clients.disconnected(session, client_link)

    def give_up(self, grace_s: float, silence_s: float) -> None:
        """Closes silent connections, and gives up nodes that did not come back."""
        now = time.monotonic()
        for peer in list(self.peers.values()):
            if peer.link is not None:
                if now - peer.heard_s > silence_s:
                    log.warning("node %s has been silent for %.0f s", peer.node.name, silence_s)
                    link = peer.link
                    link.close("no heartbeat")
                    self.left(peer, link)
                    self._lost(peer)
            elif now - peer.heard_s > grace_s:
                self._lost(peer)

    def _lost(self, peer: Peer) -> None:
        log.warning("node %s (%s) is lost", peer.node.name, peer.node.id)
        del self.peers[peer.node.id]
        for record in self._containers.on_node(peer.node.id):
            self._over(record.id, "its node was lost")
        self._events.post(events.NodeLost(peer.node.id))

    def _close_clients(self, peer: Peer) -> None:
        """After a reconnect nobody knows which of their frames were lost: they connect anew and say theirs again."""
        for session, link in peer.clients.values():
            self.clients.disconnected(session, link)
            link.close("the node has connected again")
        peer.clients.clear()

    def _over(self, container: str, reason: str) -> None:
        self._containers.ended(container, reason)
        self.clients.over_in(container)
        self.execs.over_in(container)

    # ---- to nodes

    def send(self, node_id: str, message: Any, payload: bytes | list = b"") -> bool:
        """False: it is away; when it comes back it says what it has, and what it missed is found out."""
        peer = self.peers.get(node_id)
        return peer is not None and peer.send(message, payload)

    def forget_answer(self, input_id: str) -> None:
        """The answer that is being heard does not stand. Its node has to know before it is sent the input again, or it would
        take that for the old attempt said twice, and say its answer again."""
        if self._answering is not None:
            self._answering.send(wire.AckNodeOutputs([input_id]))
            self._retried.add(input_id)

    def grant(self, container: str, input_id: str, taken: int) -> None:
        record = self._containers.running.get(container)
        if record is not None:
            self.send(record.node_id, wire.GrantYields(container, input_id, taken))

    def _broadcast(self, message: wire.EnsureImage) -> None:
        for peer in self.peers.values():
            peer.send(message)

    # ---- from nodes

    def receive(self, peer: Peer, frame: bytes) -> None:
        """One frame.

        Raises:
            FrameError: it is malformed, or nothing that a node says: the connection has to end.
        """
        message, payload = wire.CODEC.decode(frame)
        peer.heard_s = time.monotonic()
        take = self._takes.get(type(message))
        if take is None:
            raise FrameError(f"a node may not say {type(message).__name__}")
        take(peer, message, payload)

    def _heartbeat(self, peer: Peer, message: wire.Heartbeat, _: memoryview) -> None:
        peer.free_memory_mib = message.free_memory_mib

    def _outputs(self, peer: Peer, message: wire.NodeOutputs, payload: memoryview) -> None:
        pieces = split(payload, message.sizes)
        count = len(pieces)
        if not count == len(message.inputs) == len(message.outcomes) == len(message.runs_ms):
            raise FrameError("NodeOutputs: its lists are of different lengths")
        if not set(OUTCOMES).issuperset(message.outcomes):
            raise FrameError("NodeOutputs: there is no such outcome")
        blobs = set(message.blobs)
        record = self._containers.running.get(message.container)
        if record is not None:
            for input_id in message.inputs:
                record.inputs.pop(input_id, None)
        answers = [
            (message.inputs[n], message.outcomes[n], pieces[n], n in blobs, message.runs_ms[n] / 1000)
            for n in range(count)
        ]
        self._answering = peer
        taken = self._calls.answered(peer, message.container, answers)
        self._answering = None
        if self._retried:
            taken = [i for i in taken if i not in self._retried]
            self._retried.clear()
        if taken:
            peer.acknowledge(taken)

    def _yielded(self, peer: Peer, message: wire.NodeYielded, payload: memoryview) -> None:
        blobs = set(message.blobs)
        pieces = [(piece, n in blobs) for n, piece in enumerate(split(payload, message.sizes))]
        self._calls.yielded(message.container, message.input, message.first, pieces)

    def _recalled(self, peer: Peer, message: wire.Recalled, _: memoryview) -> None:
        record = self._containers.running.get(message.container)
        if record is not None:
            for input_id in message.inputs:
                record.inputs.pop(input_id, None)
        self._events.post(events.InputsRecalled(message.container, list(message.inputs)))

    def _ready(self, peer: Peer, message: wire.ContainerReady, _: memoryview) -> None:
        record = self._containers.running.get(message.container)
        if record is not None and record.seen != states.READY:
            record.seen = states.READY
            record.phases_ms.update(message.phases_ms)
            record.from_spare = message.from_spare
            function = self._functions.find(record.function_id)
            if function is not None and self._sessions.watched(record.app_id):
                text = f"container for {function.spec.name} is ready"
                self._sessions.tell(record.app_id, Notice(record.app_id, "container", record.function_id, text, True))
        self._events.post(events.ContainerReady(message.container))

    def _exited(self, peer: Peer, message: wire.ContainerExited, payload: memoryview) -> None:
        record = self._containers.running.get(message.container)
        start_error, users_own = "", False
        if record is not None and record.seen == states.STARTING and message.cause != "stopped":
            start_error, users_own = _start_error(message, bytes(payload))
        fault = ""
        if message.running and message.cause in _FAULTS:
            fault = pack_reason(FAILED, Failure(_FAULTS[message.cause], message.message).pack())
        if record is not None:
            self._over(message.container, message.message or message.cause)
            if message.cause in _SAID:
                function = self._functions.find(record.function_id)
                name = function.spec.name if function else ""
                self._logs.system(
                    record.app_id, record.id, name, f"container ended: {message.message or message.cause}"
                )
        how = message.message or message.cause
        self._events.post(
            events.ContainerExited(message.container, start_error, users_own, message.running, fault, how)
        )

    def _log_lines(self, peer: Peer, message: wire.NodeLogs, _: memoryview) -> None:
        app = self._containers.app_of(message.container)
        if message.lines and (app is None or app == message.app) and (app or self._known_app(message.app)):
            self._logs.arrived(message.app, message.lines)
        peer.send(wire.AckLogs(message.container))

    def _known_app(self, app: str) -> bool:
        """Lines of containers that this server never saw (it was away when they ended) are kept too, if the name is no path."""
        return app.startswith("ap-") and app[3:].isalnum()

    def _from_client(self, peer: Peer, message: wire.FromClient, payload: memoryview) -> None:
        key = (message.container, message.client)
        known = peer.clients.get(key)
        if message.closed:
            if known is not None:
                del peer.clients[key]
                self.clients.disconnected(*known)
            return
        link = known[1] if known else ClientLink(peer, *key)
        try:
            if known is None:
                record = self._containers.running.get(message.container)
                if record is None or record.node_id != peer.node.id or len(peer.clients) >= CLIENTS_MAX:
                    link.close("unknown container")
                    return
                peer.clients[key] = (self.clients.hello(link, payload, record.app_id, record.id), link)
            else:
                self.clients.receive(known[0], payload)
        except (FrameError, VersionError, InvalidError) as error:
            log.info("a client in %s said something wrong: %s", message.container, error)
            link.close(str(error))
            if known is not None:
                del peer.clients[key]
                self.clients.disconnected(*known)


def _inputs(message: wire.NodeHello) -> list[tuple[str, int]]:
    found = []
    for report in message.containers:
        for input_id in report.inputs:
            try:
                found.append(split_input_id(input_id))
            except ValueError:
                raise FrameError(f"NodeHello: {input_id[:60]!r} is not the id of an input") from None
    return found


def _start_error(message: wire.ContainerExited, payload: bytes) -> tuple[str, bool]:
    """What waiting calls are told, and whether a further start would only repeat it."""
    if message.outcome == RAISED:
        return pack_reason(RAISED, payload), True
    if message.outcome == FAILED:
        return pack_reason(FAILED, payload), unpack_failure(payload).code in _USERS_OWN
    code = {"out_of_memory": "out_of_memory", "timeout": "startup_timeout"}.get(message.cause, "execution")
    text = f"the container could not start: {message.message or message.cause}"
    return pack_reason(FAILED, Failure(code, text).pack()), code in _USERS_OWN
