"""What the containers of a node stand on: its directories, images, sources, cgroups, networks and runtime, put together once."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ingle.model.image import ImageSpec
from ingle.model.resources import Resources
from ingle.node import mark, rootfs
from ingle.node.config import NodeConfig
from ingle.node.kernel import Kernel
from ingle.node.runtime import spec as oci
from ingle.node.runtime.base import Runtime

if TYPE_CHECKING:
    from ingle.node.container import Container

logger = logging.getLogger(__name__)

#: For tear-downs, which may delete large trees.
THREADS = 4
Fetch = Callable[[str], Awaitable[bytes]]
T = TypeVar("T")


class Ground:
    """Of a node without containers (the fake runtime): directories and sources only. `RealGround` adds the rest.

    `start` sweeps away what an earlier life of this node left.
    """

    is_bare = True  #: its "containers" are plain processes: container.BARE_STEPS make them

    def __init__(self, config: NodeConfig, runtime: Runtime, fetch: Fetch):
        from ingle.node.source import Sources

        self.runtime = runtime
        self.directory = config.state / "node"
        self.containers = self.directory / "containers"
        self.kernel: Any = None
        self.images: Any = None
        self.cgroups: Any = None
        self.networks: Any = None
        self.directory.mkdir(parents=True, exist_ok=True)
        # A container's root may make files that run as root whoever starts them: nobody on the machine may get at them.
        self.directory.chmod(0o700)
        self.sources: Any = Sources(self.directory / "sources", fetch)
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tear-down")
        for name in self.runtime.leftovers():
            await self.runtime.delete(name)
        self._sweep_containers()
        self.containers.mkdir(exist_ok=True)

    async def stop(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """The node's mounts are seen only by threads that were made after it left the machine's mount namespace: these."""
        assert self._threads is not None
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def capacity(self) -> Resources:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        return Resources((os.cpu_count() or 1) * 1000, memory)

    def has_image(self, image: ImageSpec) -> bool:
        return True

    async def ensure_image(self, image: ImageSpec, on_line: Callable[[str], None]) -> None:
        return None

    def config(self, c: "Container") -> dict:
        raise NotImplementedError

    def mount(self, layers: list[Path], work: Path) -> Path:
        raise NotImplementedError

    def unmount(self, work: Path) -> None:
        raise NotImplementedError

    def _sweep_containers(self) -> None:
        """Aside first: deleting may take long, and a new container may want the name."""
        if not self.containers.exists():
            return
        aside = self.directory / f"old-{os.getpid()}"
        self.containers.rename(aside)
        for old in self.directory.glob("old-*"):
            assert self._threads is not None
            self._threads.submit(rootfs.remove_tree, old)


class RealGround(Ground):
    """Real containers.

    Raises (at construction and start):
        OSError, ingle.SetupError: the machine lacks something; the message names it.
    """

    is_bare = False

    def __init__(self, config: NodeConfig, runtime: Runtime, fetch: Fetch):
        from ingle.node import image, network

        super().__init__(config, runtime, fetch)
        name = mark.of(config.state)
        self.kernel = config.kernel or getattr(runtime, "kernel", None) or Kernel()
        self.cgroups = _cgroups(self.kernel, name)
        self.networks = network.NetworkPool(self.kernel, self.directory / "net", mark=name, size=config.network_pool)
        self.images = image.Images(self.kernel, self.directory / "layers", self.directory / "lib")
        self._library = Path()
        self._etc = self.directory / "etc"
        self._seccomp: Any = None
        self._ca_bundle = ""

    async def start(self) -> None:
        from ingle.node import library
        from ingle.node.runtime import seccomp

        self.kernel.unshare_mounts()
        self.cgroups.prepare()
        self.cgroups.sweep()  # first: what lives no more is quick to delete
        await super().start()
        self.networks.sweep()
        await self.networks.start()
        self._library = library.ensure(self.directory / "lib")
        self._seccomp = seccomp.default(frozenset(oci.CAPABILITIES))
        self._ca_bundle = library.ca_bundle()
        self._write_etc()

    async def stop(self) -> None:
        await self.networks.close()
        self.cgroups.remove()
        await super().stop()

    def capacity(self) -> Resources:
        from ingle.node.cgroup import memory_for_containers_mib

        return Resources((os.cpu_count() or 1) * 1000, memory_for_containers_mib(self.kernel))

    def has_image(self, image: ImageSpec) -> bool:
        return self.images.has(image)

    async def ensure_image(self, image: ImageSpec, on_line: Callable[[str], None]) -> None:
        await self.images.ensure(image, on_line)

    def mount(self, layers: list[Path], work: Path) -> Path:
        return rootfs.mount(self.kernel, layers, work)

    def unmount(self, work: Path) -> None:
        rootfs.unmount(self.kernel, work)

    def config(self, c: "Container") -> dict:
        binds = oci.standard_binds(
            io=str(c.io),
            out=str(c.io / "out"),
            library=str(self._library),
            etc=str(self._etc),
            ca_bundle=self._ca_bundle,
        )
        return oci.oci_config(
            oci.ContainerSpec(
                rootfs=str(c.merged),
                argv=[self.images.python(c.needs.image), *RUNNER_ARGV],
                hostname="ingle",
                network=c.network.ns_path,
                env=self.images.env(c.needs.image),
                binds=binds,
                memory_mib=c.needs.limits.memory_mib,
                seccomp=self._seccomp,
                seccomp_as_bpf=getattr(self.runtime, "takes_bpf", False),
            )
        )

    def _write_etc(self) -> None:
        """Names that containers see: a hosts file of their own, the machine's resolvers."""
        from ingle.node import network

        self._etc.mkdir(exist_ok=True)
        (self._etc / "hostname").write_text("ingle\n")
        (self._etc / "hosts").write_text("127.0.0.1 localhost ingle\n::1 localhost\n")
        (self._etc / "resolv.conf").write_text(network.resolv_conf())


RUNNER_ARGV = (f"{oci.LIBRARY_DIR}/ingle/runner/__main__.py",)


def _cgroups(kernel: Any, name: str) -> Any:
    from ingle.node.cgroup import Cgroups

    return Cgroups(kernel, name)


def choose(config: NodeConfig, runtime: Runtime, fetch: Fetch) -> Ground:
    """What this runtime needs."""
    return Ground(config, runtime, fetch) if runtime.name == "fake" else RealGround(config, runtime, fetch)
