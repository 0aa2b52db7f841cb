"""The node: connects to the server, keeps its containers, and says again what a broken connection may have swallowed."""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from ingle.exceptions import Error, SetupError
from ingle.model import container as states
from ingle.model import ids
from ingle.model.image import ImageSpec
from ingle.model.node import Node
from ingle.node import ground as grounds
from ingle.node.blob import Blobs
from ingle.node.config import (
    LIVES_MAX,
    LOCK_PAUSE_S,
    LOCK_WAIT_S,
    SAY_AGAIN_S,
    STARTS_AT_ONCE_MAX,
    STOP_S,
    WELCOME_WAIT_S,
    NodeConfig,
)
from ingle.node.exec import Execs
from ingle.node.life import Life
from ingle.node.link import Link
from ingle.node.outbox import Ledger
from ingle.node.spare import Spares
from ingle.wire import node as w
from ingle.wire.codec import FrameError, split
from ingle.wire.version import WIRE_VERSION

logger = logging.getLogger(__name__)

__all__ = ["Agent", "NodeConfig"]


class Agent:
    """`start`, then `run` until it is cancelled or `stop` is called from elsewhere; `stop` ends every container."""

    def __init__(self, config: NodeConfig):
        self.config = config
        self.lives: dict[str, Life] = {}
        self.ledger = Ledger()
        self.blobs = Blobs(config.server_url, config.token)
        self.ground: grounds.Ground
        self.spares: Spares
        self._link: Link
        self._execs: Execs
        self._welcomed = False
        self._was_welcomed = asyncio.Event()
        self._may_write = asyncio.Event()
        self._stopped = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._builds: dict[str, asyncio.Task[None]] = {}
        self.making = asyncio.Semaphore(STARTS_AT_ONCE_MAX)
        self._starting = 0
        self._was_full = False
        self._node: Node
        self._lock_fd = -1
        self._handlers: dict[type, Callable[[Any, memoryview], None]] = {
            w.NodeWelcome: self._on_welcome,
            w.EnsureImage: lambda m, p: self._build(m.image),
            w.StartContainer: self._on_start,
            w.StopContainer: self._on_stop,
            w.SendInputs: self._on_inputs,
            w.CancelInput: self._on_cancel,
            w.RecallInputs: self._on_recall,
            w.AckNodeOutputs: self._on_ack_outputs,
            w.AckLogs: self._on_ack_logs,
            w.GrantYields: self._on_grant,
            w.ToClient: self._on_to_client,
            w.StartExec: self._on_exec,
            w.ExecInput: lambda m, p: self._execs.feed(m, bytes(p)),
        }

    # ---- life

    async def start(self) -> None:
        """Sweep away what an earlier life left, make ready, and connect; returns when the server has welcomed this
        node, or after WELCOME_WAIT_S (it goes on trying).

        Raises:
            SetupError: the machine lacks something; the message names what mends it.
        """
        config = self.config
        runtime = config.runtime
        if runtime is None:
            from ingle.node import runtime as runtimes

            runtime = runtimes.choose(config.state / "node" / "runtime", config.kernel)
        await self._lock()
        self.ground = grounds.choose(config, runtime, self.blobs.get_bytes)
        await self.ground.start()
        self.spares = Spares(
            self.ground, lambda: self._starting == 0, free_memory_mib,
            config.spares_max if config.spares else 0, config.spare_delay_s,
        )  # fmt: skip
        self._execs = Execs(runtime, self.say)
        self._node = Node(
            self._node_id(), config.name or socket.gethostname(), config.capacity or self.ground.capacity(),
            os.urandom(8).hex(),
        )  # fmt: skip
        self._link = Link(
            config.server_url, config.token, first_s=config.dial_first_s, max_s=config.dial_max_s,
            on_connected=self._on_connected, on_frame=self._on_frame, on_lost=self._on_lost,
            on_writable=self._on_writable,
        )  # fmt: skip
        self._link.start()
        self._beating = asyncio.get_running_loop().create_task(self._beat(), name="heartbeat")
        try:
            await asyncio.wait_for(self._was_welcomed.wait(), WELCOME_WAIT_S)
        except (TimeoutError, asyncio.TimeoutError):
            logger.warning("no answer yet from the server at %s; trying on", config.server_url)

    async def run(self) -> None:
        """Until `stop` is called."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """End every container and take everything down, within about STOP_S."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._beating is not None:
            self._beating.cancel()
        for life in list(self.lives.values()):
            life.kill("stopped", "the node stops")
        for build in self._builds.values():
            build.cancel()
        ends = [life.task for life in self.lives.values()] + list(self._builds.values())
        ends += [asyncio.ensure_future(self.spares.stop()), asyncio.ensure_future(self._execs.stop())]
        _, late = await asyncio.wait(ends, timeout=STOP_S)
        for one in late:
            logger.error("still there after %g s: %s", STOP_S, one)
            one.cancel()
        await self._link.stop()
        await self.ground.stop()
        self.blobs.close()
        os.close(self._lock_fd)

    async def _lock(self) -> None:
        """Two nodes on one state directory would sweep each other's containers away. A node that is just dying is waited for."""
        directory = self.config.state / "node"
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = asyncio.get_running_loop().time() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asyncio.get_running_loop().time() > end:
                    holder = os.pread(self._lock_fd, 20, 0).decode().strip()
                    os.close(self._lock_fd)
                    self._lock_fd = -1
                    raise SetupError(
                        f"another node (process {holder}) runs with the state directory {self.config.state}; "
                        "stop it with `ingle down`, or choose another one with INGLE_STATE_DIR"
                    ) from None
                await asyncio.sleep(LOCK_PAUSE_S)
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, str(os.getpid()).encode(), 0)

    def _node_id(self) -> str:
        file = self.ground.directory / "id"
        if not file.exists():
            file.write_text(ids.new_id(ids.NODE))
        return file.read_text().strip()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(w.HEARTBEAT_S)
            alive = sum(life.state != states.EXITED for life in self.lives.values())
            self.say(w.Heartbeat(free_memory_mib(), alive))
            self._forget_the_dead()

    def _forget_the_dead(self) -> None:
        """Kept until the server has surely heard of their end: it is said again after a reconnect."""
        waiting = self.ledger.by_container()
        now = asyncio.get_running_loop().time()
        dead = [life for life in self.lives.values() if life.state == states.EXITED and life.task.done()]
        for n, life in enumerate(dead):
            heard = self._welcomed and now - life.said_s > SAY_AGAIN_S and life.id not in waiting
            if heard or n < len(dead) - LIVES_MAX:
                del self.lives[life.id]

    # ---- what lives need of their host

    def say(self, message: object, payload: bytes = b"") -> bool:
        """False, and dropped, while there is no welcomed connection."""
        return self._welcomed and self._link.say(w.CODEC.encode(message, payload))

    def say_frame(self, frame: bytes) -> bool:
        return self._welcomed and self._link.say(frame)

    def may_feed(self) -> bool:
        if self.ledger.full:
            self._was_full = True
            return False
        return True

    async def writable(self) -> None:
        await self._may_write.wait()

    async def ensure_image(self, life: Life) -> None:
        if not self.ground.has_image(life.spec.image):
            await self.ground.ensure_image(life.spec.image, self._image_line(life.spec.image))

    # ---- the connection

    def _on_connected(self) -> None:
        waiting = self.ledger.by_container()
        reports = []
        for life in self.lives.values():
            # What a dead one held is lost; it may run in another one of ours by now.
            held = life.held() if life.state != states.EXITED else []
            inputs = held + [input for input in waiting.pop(life.id, []) if input not in held]
            reports.append(w.ContainerReport(life.id, life.spec.id, life.state, inputs))
        self._link.say(w.CODEC.encode(w.NodeHello(WIRE_VERSION, self._node, reports)))

    def _on_lost(self) -> None:
        if self._welcomed and not self._stopped.is_set():
            logger.warning("the connection to the server is lost; containers run on")
        self._welcomed = False
        self._may_write.clear()
        self._execs.kill_all()
        for life in self.lives.values():
            if life.relay is not None:
                life.relay.close()

    def _on_writable(self, writable: bool) -> None:
        writable = writable and self._welcomed
        if writable:
            self._may_write.set()
        else:
            self._may_write.clear()
        self._execs.set_writable(writable)

    def _on_frame(self, frame: bytes) -> None:
        try:
            message, payload = w.CODEC.decode(frame)
            handle = self._handlers.get(type(message))
            if handle is None:
                raise FrameError(f"a server does not say {type(message).__name__}")
            handle(message, payload)
        except FrameError as error:
            logger.error("the server said something that cannot be read: %s; connecting again", error)
            self._link.drop()
        except Exception:
            logger.exception("a message of the server could not be handled")

    def _on_welcome(self, message: w.NodeWelcome, payload: memoryview) -> None:
        self._welcomed = True
        self.blobs.welcome(message.blobs_path, message.blobs_probe, message.server)
        for name in message.unwanted:
            if name in self.lives:
                self.lives[name].stop("the server does not want it any more", 2.0)
        now = asyncio.get_running_loop().time()
        for life in self.lives.values():
            for lines in life.logs.unacknowledged() if life.logs is not None else ():
                self.say(w.NodeLogs(life.id, life.spec.app_id, lines))
            if life.ready_frame and life.state != states.EXITED:
                self._link.say(life.ready_frame)
        for frame in self.ledger.frames():
            self._link.say(frame)
        for life in self.lives.values():
            if life.exit_frame:
                self._link.say(life.exit_frame)
                life.said_s = now
        self._on_writable(self._link.writable)
        if not self._was_welcomed.is_set():
            logger.info("connected to the server at %s", self.config.server_url)
        self._was_welcomed.set()

    # ---- images

    def _build(self, image: ImageSpec) -> None:
        if image.id in self._builds:
            return
        task = self._builds[image.id] = asyncio.get_running_loop().create_task(self._ensure(image))
        task.add_done_callback(lambda _: self._builds.pop(image.id, None))

    async def _ensure(self, image: ImageSpec) -> None:
        try:
            await self.ground.ensure_image(image, self._image_line(image))
        except (Error, OSError, RuntimeError) as error:
            self.say(w.ImageState(image.id, "", True, str(error) or type(error).__name__))
        else:
            self.say(w.ImageState(image.id, "", True))

    def _image_line(self, image: ImageSpec) -> Callable[[str], None]:
        def on_line(line: str) -> None:
            self.say(w.ImageState(image.id, line))

        return on_line

    # ---- containers

    def _on_start(self, message: w.StartContainer, payload: memoryview) -> None:
        known = self.lives.get(message.container)
        if known is not None:  # said twice
            if known.exit_frame or known.ready_frame:
                self._link.say(known.exit_frame or known.ready_frame)
            return
        if self._stopped.is_set():
            return
        life = self.lives[message.container] = Life(self, message)
        self._starting += 1
        life.started.add_done_callback(self._on_started)

    def _on_started(self, _: object) -> None:
        self._starting -= 1
        if self._starting == 0:
            self.spares.nudge()

    def _on_stop(self, message: w.StopContainer, payload: memoryview) -> None:
        if message.container in self.lives:
            self.lives[message.container].stop(message.reason, message.grace_s)
        else:
            self._say_unknown(message.container, [])

    def _on_inputs(self, message: w.SendInputs, payload: memoryview) -> None:
        life = self.lives.get(message.container)
        if life is None or life.state == states.EXITED:
            self._say_unknown(message.container, message.inputs)
            return
        pieces = split(payload, message.sizes)
        if len(pieces) != len(message.inputs):
            raise FrameError("inputs and sizes are not of the same number")
        blobs = frozenset(message.blobs)
        for n, (input, piece) in enumerate(zip(message.inputs, pieces, strict=True)):
            if self.ledger.has(input):  # said twice: so is its answer
                for frame in self.ledger.frames(input):
                    self._link.say(frame)
            elif n in blobs:
                life.put(input, b"", piece.decode())
            else:
                life.put(input, piece, "")

    def _say_unknown(self, container: str, inputs: list[str]) -> None:
        self.say(w.ContainerExited(container, "killed", "its node does not have it any more", "", inputs))

    def _on_cancel(self, message: w.CancelInput, payload: memoryview) -> None:
        if message.container in self.lives:
            self.lives[message.container].cancel(message.input)

    def _on_recall(self, message: w.RecallInputs, payload: memoryview) -> None:
        life = self.lives.get(message.container)
        self.say(w.Recalled(message.container, life.recall() if life is not None else []))

    def _on_ack_outputs(self, message: w.AckNodeOutputs, payload: memoryview) -> None:
        self.ledger.acknowledge(message.inputs)
        if self._was_full and not self.ledger.full:
            self._was_full = False
            for life in self.lives.values():
                if life.inbox is not None:
                    life.inbox.feed()

    def _on_ack_logs(self, message: w.AckLogs, payload: memoryview) -> None:
        life = self.lives.get(message.container)
        if life is not None and life.logs is not None:
            life.logs.acknowledged()

    def _on_grant(self, message: w.GrantYields, payload: memoryview) -> None:
        self.ledger.taken(message.input, message.taken)
        life = self.lives.get(message.container)
        if life is not None and life.inbox is not None:
            life.inbox.grant(message.input, message.taken)

    def _on_to_client(self, message: w.ToClient, payload: memoryview) -> None:
        life = self.lives.get(message.container)
        if life is not None and life.relay is not None:
            life.relay.deliver(message.client, bytes(payload), message.closed)

    def _on_exec(self, message: w.StartExec, payload: memoryview) -> None:
        life = self.lives.get(message.container)
        container = life.container if life is not None and life.state == states.READY else None
        self._execs.start(message, container.id if container is not None else None)


def free_memory_mib() -> int:
    """What the machine could still give, in MiB."""
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) >> 10
    return 0
