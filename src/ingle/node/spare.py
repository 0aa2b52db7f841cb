"""Spares: containers with Python and the runner loaded and no function yet, one for each image in use.

A start whose image (and network) fits adopts the spare and is ready in milliseconds; another spare is made once the node
has been calm for a while, so that it never competes with somebody who waits. A spare has run nothing of any user, and
whoever adopts it keeps it: no function ever sees another's container.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ingle.model import ids
from ingle.model.image import ImageSpec
from ingle.model.resources import CPU_MILLI_DEFAULT, Limits
from ingle.node.container import Container, Needs
from ingle.node.ground import Ground

logger = logging.getLogger(__name__)

#: A source is copied into a spare if it is not larger; else a normal start lays it under the root without a copy.
SOURCE_BYTES_MAX = 4 << 20
SOURCE_FILES_MAX = 200
#: An image that no start asked for during this time gets no spare any more.
UNUSED_S = 600.0
HELLO_S = 30.0
#: After a spare that could not be made.
BACK_OFF_S = 30.0
#: Memory that stays free beside spares.
FREE_MIB_MIN = 512
MEMORY_MIB = 512


@dataclass(frozen=True, slots=True)
class Kind:
    image: ImageSpec
    block_network: bool


@dataclass(slots=True)
class _Wish:
    used_s: float
    spare: Container | None = None
    not_before_s: float = 0.0


@dataclass(slots=True, eq=False)
class Spares:
    """`calm()`: nobody waits for a start. `most`: how many at a time; 0: none ever."""

    ground: Ground
    calm: Callable[[], bool]
    free_memory_mib: Callable[[], int]
    most: int
    delay_s: float
    _wishes: dict[Kind, _Wish] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None
    _making: asyncio.Task[None] | None = None
    _ending: set[asyncio.Task[None]] = field(default_factory=set)
    _files: dict[str, list[str] | None] = field(default_factory=dict)
    _stopped: bool = False

    async def take(self, needs: Needs) -> Container | None:
        """The spare that fits, made fit: with these limits and this source. None: there is none."""
        if self.most < 1:
            return None
        kind = Kind(needs.image, needs.block_network)
        wish = self._wishes.setdefault(kind, _Wish(0.0))
        wish.used_s = asyncio.get_running_loop().time()
        self.nudge()
        files: list[str] | None = []
        source = Path()
        if needs.source and wish.spare is not None:
            source = await self.ground.sources.ensure(needs.source) / "root"
            files = self._listing(needs.source, source)
        spare = wish.spare
        if files is None or spare is None or spare.gone is None or spare.gone.done():
            return None
        wish.spare = None
        try:
            _copy(files, source, spare)
            if spare.cgroup is not None:
                spare.cgroup.update(needs.cpu_milli, needs.limits)
        except OSError as error:
            logger.warning("a spare could not be adopted: %s", error)
            self._end(spare)
            return None
        spare.needs = needs
        return spare

    def nudge(self) -> None:
        """Something has started, ended or been adopted: look again once it is calm."""
        if self.most < 1 or self._stopped:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self.delay_s, self._look)

    async def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        for wish in self._wishes.values():
            if wish.spare is not None:
                self._end(wish.spare)
                wish.spare = None
        await asyncio.gather(*self._ending, return_exceptions=True)

    def count(self) -> int:
        return sum(wish.spare is not None for wish in self._wishes.values())

    # ---- inside

    def _look(self) -> None:
        self._timer = None
        if self._making is not None or self._stopped:
            return
        now = asyncio.get_running_loop().time()
        for kind, wish in list(self._wishes.items()):
            if now - wish.used_s > UNUSED_S:
                del self._wishes[kind]
                if wish.spare is not None:
                    self._end(wish.spare)
        wanted = [k for k, wish in self._wishes.items() if wish.spare is None and wish.not_before_s <= now]
        wanted.sort(key=lambda k: -self._wishes[k].used_s)
        if not wanted or self.count() >= self.most:
            return
        if not self.calm() or not self.ground.has_image(wanted[0].image):
            self.nudge()
        elif self.free_memory_mib() > FREE_MIB_MIN:
            self._making = asyncio.get_running_loop().create_task(self._make(wanted[0]), name="spare")

    async def _make(self, kind: Kind) -> None:
        loop = asyncio.get_running_loop()
        needs = Needs(kind.image, None, CPU_MILLI_DEFAULT, Limits(memory_mib=MEMORY_MIB), kind.block_network)
        spare = Container(ids.new_id("sp"), needs, self.ground)
        try:
            await spare.set_up()
            assert spare.runner_said is not None and spare.gone is not None
            ends: set[asyncio.Future] = {spare.runner_said, spare.gone}
            await asyncio.wait(ends, timeout=HELLO_S, return_when=asyncio.FIRST_COMPLETED)
            if not spare.runner_said.done() or spare.gone.done():
                raise RuntimeError("its runner did not come up")
        except BaseException as error:
            self._end(spare)
            if kind in self._wishes:
                self._wishes[kind].not_before_s = loop.time() + BACK_OFF_S
            if not isinstance(error, Exception):
                raise
            logger.warning("no spare for %s: %s", kind.image.id, error)
        else:
            if kind in self._wishes and not self._stopped:
                self._wishes[kind].spare = spare
                spare.gone.add_done_callback(lambda _: self._lost(kind, spare))
            else:
                self._end(spare)
        finally:
            self._making = None
            self.nudge()

    def _lost(self, kind: Kind, spare: Container) -> None:
        """It died while it waited (out of memory, or somebody killed it)."""
        wish = self._wishes.get(kind)
        if wish is not None and wish.spare is spare:
            wish.spare = None
            wish.not_before_s = asyncio.get_running_loop().time() + BACK_OFF_S
            self._end(spare)

    def _end(self, spare: Container) -> None:
        spare.kill()
        task = asyncio.get_running_loop().create_task(spare.tear_down())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _listing(self, source: str, root: Path) -> list[str] | None:
        """The files below it, directories first; None if that is too much to copy. A source never changes."""
        if source not in self._files:
            if len(self._files) >= 1000:
                self._files.clear()
            self._files[source] = _walk(root)
        return self._files[source]


def _walk(root: Path) -> list[str] | None:
    found: list[str] = []
    size = 0
    for directory, directories, files in os.walk(root):
        inside = os.path.relpath(directory, root)
        found += [os.path.join(inside, name) + "/" for name in directories]
        found += [os.path.join(inside, name) for name in files]
        size += sum(os.stat(os.path.join(directory, name)).st_size for name in files)
        if size > SOURCE_BYTES_MAX or len(found) > SOURCE_FILES_MAX:
            return None
    return found


def _copy(files: list[str], source: Path, spare: Container) -> None:
    root = spare.root
    assert root is not None
    for name in files:
        if name.endswith("/"):
            os.makedirs(root / name, exist_ok=True)
        else:
            shutil.copy2(source / name, root / name)
