"""One container: the ordered list of steps that make it, and the same list reversed that takes it away.

A step's `set_up` may fail or be interrupted anywhere; its `tear_down` is safe when `set_up` never ran, half ran, or ran;
and twice. A container knows nothing of functions: `life.py` gives it one, and a spare waits without.
"""

import asyncio
import json
import logging
import os
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ingle.model.image import ImageSpec
from ingle.model.resources import Limits
from ingle.node.config import TEAR_DOWN_S
from ingle.node.door import Door
from ingle.node.ground import Ground
from ingle.node.rootfs import remove_tree
from ingle.node.runtime import spec as oci
from ingle.node.runtime.base import Exit, Started

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a container is made for."""

    image: ImageSpec
    source: str | None
    cpu_milli: int
    limits: Limits
    block_network: bool


@dataclass(slots=True, eq=False)
class Container:
    """`id` names its directory, its cgroup, and itself to the runtime. Fields are filled by the steps."""

    id: str
    needs: Needs
    ground: Ground
    directory: Path = Path()
    layers: list[Path] = field(default_factory=list)
    merged: Path | None = None
    cgroup: Any = None
    network: Any = None
    network_taken: asyncio.Task[Any] | None = None
    door: Door | None = None
    out: int = -1
    started: Started | None = None
    pipes: tuple[int, int] | None = None  #: stdout and stderr, until a LogReader takes them over
    runner: socket.socket | None = None  #: the connection on which the runner waits for SETUP
    runner_said: asyncio.Future[None] | None = None
    gone: asyncio.Future[Exit] | None = None  #: its process has ended
    phases_ms: dict[str, float] = field(default_factory=dict)
    let_client_in: Any = None  #: callable(sock, rest); None: clients are turned away
    done: list["Step"] = field(default_factory=list)
    torn_down: bool = False

    @property
    def io(self) -> Path:
        return self.directory / "io"

    @property
    def io_in(self) -> Path:
        return self.directory / "io" / "in"

    @property
    def root(self) -> Path | None:
        """Its /root as the node sees it; None before it is there."""
        return None if self.merged is None else self.merged / "root"

    async def set_up(self) -> None:
        """Until its process runs; the runner's HELLO comes later (`runner_said`).

        Raises:
            Whatever a step raises; the caller tears down.
        """
        loop = asyncio.get_running_loop()
        self.runner_said, self.gone = loop.create_future(), loop.create_future()
        for step in BARE_STEPS if self.ground.is_bare else STEPS:
            begun = time.perf_counter()
            self.done.append(step)
            await step.set_up(self)
            took_ms = (time.perf_counter() - begun) * 1000
            self.phases_ms[step.phase] = self.phases_ms.get(step.phase, 0.0) + took_ms

    async def tear_down(self) -> None:
        """Everything away; what fails is logged and the rest goes on."""
        if self.torn_down:
            return
        self.torn_down = True
        for step in reversed(self.done):
            try:
                await asyncio.wait_for(step.tear_down(self), TEAR_DOWN_S)
            except Exception as error:
                logger.error("container %s: %s left something behind: %r", self.id, type(step).__name__, error)

    def take_pipes(self) -> tuple[int, int]:
        """stdout and stderr; who asks closes them."""
        assert self.pipes is not None
        pipes, self.pipes = self.pipes, None
        return pipes

    def signal(self, number: int) -> None:
        """To the runner; quiet if it is gone."""
        if self.started is not None and self.gone is not None and not self.gone.done():
            self.ground.runtime.kill(self.id, number)

    def kill(self) -> None:
        """SIGKILL, to everything in it."""
        self.signal(9)
        if self.cgroup is not None:
            self.cgroup.kill()


class Step(Protocol):
    phase: str

    async def set_up(self, c: Container) -> None: ...

    async def tear_down(self, c: Container) -> None: ...


class Directory:
    """containers/<id>: `io` (seen inside at IO_DIR; with `in` and `out`), `work` (overlay), the bundle's config.json."""

    phase = "mounts"

    async def set_up(self, c: Container) -> None:
        c.directory = c.ground.containers / c.id
        for part in (c.directory, c.io, c.io_in, c.io / "out"):
            os.mkdir(part)
        c.out = os.open(c.io / "out", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    async def tear_down(self, c: Container) -> None:
        if c.out >= 0:
            os.close(c.out)
            c.out = -1
        directory = c.ground.containers / c.id
        await c.ground.in_thread(lambda: remove_tree(directory))


class Network:
    """Asked for at once, as the pool may be empty; needed only when the process starts."""

    phase = "network"

    async def set_up(self, c: Container) -> None:
        c.network_taken = asyncio.get_running_loop().create_task(c.ground.networks.take(blocked=c.needs.block_network))

    async def tear_down(self, c: Container) -> None:
        if c.network_taken is None:
            return
        taken, c.network_taken = c.network_taken, None
        try:
            c.network = await taken
        except Exception:
            return  # its taking failed, and that was said
        await c.ground.networks.give_back(c.network)
        c.network = None


class Image:
    phase = "image"

    async def set_up(self, c: Container) -> None:
        c.layers = await c.ground.images.ensure(c.needs.image, lambda line: None)
        if c.needs.source:
            c.layers = [await c.ground.sources.ensure(c.needs.source), *c.layers]

    async def tear_down(self, c: Container) -> None:
        c.layers = []


class Rootfs:
    phase = "mounts"

    async def set_up(self, c: Container) -> None:
        c.merged = c.ground.mount(c.layers, c.directory / "work")

    async def tear_down(self, c: Container) -> None:
        c.merged = None
        work = c.ground.containers / c.id / "work"
        await c.ground.in_thread(lambda: c.ground.unmount(work))


class Cgroup:
    phase = "mounts"

    async def set_up(self, c: Container) -> None:
        c.cgroup = c.ground.cgroups.create(c.id, c.needs.cpu_milli, c.needs.limits)

    async def tear_down(self, c: Container) -> None:
        cgroup, c.cgroup = c.cgroup, None
        if cgroup is not None:
            cgroup.kill()
            await c.ground.in_thread(cgroup.delete)


class Doorway:
    """node.sock."""

    phase = "mounts"

    async def set_up(self, c: Container) -> None:
        def on_runner(sock: socket.socket, said: list[bytes]) -> None:
            if c.runner is not None or c.runner_said is None or c.runner_said.done():
                sock.close()  # there is one already; somebody in the container plays tricks
                return
            c.runner = sock
            c.runner_said.set_result(None)

        def on_client(sock: socket.socket, rest: bytes) -> None:
            if c.let_client_in is None:
                sock.close()
            else:
                c.let_client_in(sock, rest)

        c.door = Door(c.io, on_runner=on_runner, on_client=on_client)
        c.door.open()

    async def tear_down(self, c: Container) -> None:
        if c.door is not None:
            c.door.close()
        if c.runner is not None:
            c.runner.close()
            c.runner = None


class Process:
    """The bundle's config.json and the runtime. From here on `gone` says when the process has ended."""

    phase = "process"

    async def set_up(self, c: Container) -> None:
        if c.network_taken is not None:
            c.network = await asyncio.shield(c.network_taken)
        (c.directory / "config.json").write_text(json.dumps(self.config(c)))
        procs = c.cgroup.procs if c.cgroup is not None else ()
        c.started = await c.ground.runtime.start(c.id, c.directory, cgroup_procs=procs)
        c.pipes = (c.started.stdout, c.started.stderr)
        asyncio.get_running_loop().add_reader(c.started.pidfd, self._on_exit, c)

    def config(self, c: Container) -> dict:
        return c.ground.config(c)

    async def tear_down(self, c: Container) -> None:
        started, c.started = c.started, None
        if started is not None:
            asyncio.get_running_loop().remove_reader(started.pidfd)
            os.close(started.pidfd)
        await c.ground.runtime.delete(c.id)
        for fd in c.pipes or ():
            os.close(fd)
        c.pipes = None

    def _on_exit(self, c: Container) -> None:
        if c.started is not None:
            asyncio.get_running_loop().remove_reader(c.started.pidfd)
        task = asyncio.get_running_loop().create_task(c.ground.runtime.wait(c.id))
        task.add_done_callback(lambda done: _settle(c, done))


def _settle(c: Container, done: "asyncio.Task[Exit]") -> None:
    if c.gone is not None and not c.gone.done():
        c.gone.set_result(Exit(-9) if done.cancelled() or done.exception() else done.result())


class BareProcess(Process):
    """For a runtime without containers (the fake): io directory and code are named in the environment."""

    def config(self, c: Container) -> dict:
        env = {"INGLE_IO_DIR": str(c.io), "INGLE_ROOT_DIR": str(c.root), "PATH": oci.PATH}
        return {"process": {"args": [], "env": [f"{k}={v}" for k, v in env.items()]}}


class BareRoot:
    """Stands in for image, source and overlay: a directory with a copy of the source's files."""

    phase = "mounts"

    async def set_up(self, c: Container) -> None:
        root = c.directory / "work" / "root"
        if c.needs.source:
            source = await c.ground.sources.ensure(c.needs.source)
            shutil.copytree(source / "root", root)
        else:
            root.mkdir(parents=True)
        c.merged = c.directory / "work"

    async def tear_down(self, c: Container) -> None:
        c.merged = None


#: In this order; taken down in the reverse one. `Directory` first: everything else lies in it.
STEPS: tuple[Step, ...] = (Directory(), Network(), Image(), Rootfs(), Cgroup(), Doorway(), Process())
BARE_STEPS: tuple[Step, ...] = (Directory(), BareRoot(), Doorway(), BareProcess())
