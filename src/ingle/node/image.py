"""Images: a recipe becomes layers, each a directory that is made once and then only read.

    <root>/<key>/root         what containers see
    <root>/<key>/layer.json   what it is; there, and on disk, before the directory gets its name
    <root>/part-…             being made; worth nothing, removed at the next chance
    <root>/.lock-<key>        held by whoever makes it: several nodes may share one directory of layers

A layer's name stands for all that went into it, so a directory of that name is never made twice and never changed.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ingle.exceptions import ImageBuildError
from ingle.model.image import BUILDER_VERSION, ImageSpec
from ingle.node import debian, interpreter, library, rootfs
from ingle.node.kernel import Kernel

LAYERS_VARIABLE = "INGLE_LAYERS_DIR"
BUILD_S_MAX = 1800.0
LOCK_PAUSE_S = 0.5
#: What runs in a container of ours is written for it.
PYTHON_MIN = (3, 10)
LINE_CHARS_MAX = 2000
#: Of the output of a build that failed, so much goes into the error.
LINES_TOLD_MAX = 20

OnLine = Callable[[str], None]


class Images:
    """The images of a node.

    Args:
        root: the directory of layers; the variable INGLE_LAYERS_DIR overrules it, for nodes that share one.
        library_root: where the library for containers lies; it is compiled for each image's Python.
    """

    def __init__(self, kernel: Kernel, root: Path, library_root: Path | None = None) -> None:
        self.kernel = kernel
        self.root = Path(os.environ.get(LAYERS_VARIABLE) or root)
        self._library_root = library_root
        self._under_way: dict[str, asyncio.Task[list[Path]]] = {}
        self._listeners: dict[str, list[OnLine]] = {}
        self._ready: dict[ImageSpec, list[Path]] = {}
        self.root.mkdir(parents=True, exist_ok=True)
        self._remove_parts()

    def has(self, image: ImageSpec) -> bool:
        return image in self._ready or self._find(image) is not None

    async def ensure(self, image: ImageSpec, on_line: OnLine) -> list[Path]:
        """The image's layers, top first; builds what is missing. Concurrent callers share one build, and its output.

        Raises:
            ImageBuildError: a step failed; the message ends with the end of its output.
        """
        ready = self._ready.get(image)
        if ready is not None:
            return ready
        task = self._under_way.get(image.id)
        self._listeners.setdefault(image.id, []).append(on_line)
        if task is None:
            task = asyncio.ensure_future(self._ensure(image))
            self._under_way[image.id] = task
            task.add_done_callback(lambda _: self._forget(image.id))
        return await asyncio.shield(task)

    def python(self, image: ImageSpec) -> str:
        """Path of the interpreter inside. The image must be there (`has`)."""
        for layer in self._layers(image):
            told = self._told(layer)
            if told.get("interpreter"):
                return str(told["interpreter"])
        return "/usr/bin/python3"

    def env(self, image: ImageSpec) -> dict[str, str]:
        """What the image adds to the environment of its containers."""
        return {}

    # ---- finding

    def _forget(self, image_id: str) -> None:
        self._under_way.pop(image_id, None)
        self._listeners.pop(image_id, None)

    def _say(self, image: ImageSpec, line: str) -> None:
        for on_line in self._listeners.get(image.id, []):
            on_line(line[:LINE_CHARS_MAX])

    def _find(self, image: ImageSpec) -> list[Path] | None:
        """Its layers if all of them are there."""
        distribution, codename = debian.os_release()
        suite = debian.suite_for(distribution, image.python)
        if suite and self._trusted(base_key(suite)):
            return [self._directory(base_key(suite)) / "root"]
        keys = [interpreter_key(codename, image.python), base_key(codename)]
        if all(map(self._trusted, keys)):
            return [self._directory(key) / "root" for key in keys]
        return None

    def _layers(self, image: ImageSpec) -> list[Path]:
        return self._ready.get(image) or self._find(image) or []

    def _directory(self, key: str) -> Path:
        return self.root / key

    def _trusted(self, key: str) -> bool:
        return (self._directory(key) / "layer.json").exists()

    @staticmethod
    def _told(layer: Path) -> dict:
        try:
            return json.loads((layer.parent / "layer.json").read_text())
        except (OSError, ValueError):
            return {}

    # ---- making

    async def _ensure(self, image: ImageSpec) -> list[Path]:
        found = self._find(image)
        if found is None:
            if tuple(map(int, image.python.split("."))) < PYTHON_MIN:
                raise ImageBuildError(
                    f"containers need Python {'.'.join(map(str, PYTHON_MIN))} or later, not {image.python}"
                )
            if image.kind != "debian_slim":
                raise ImageBuildError(f"this node cannot build images of the kind {image.kind!r}; update it")
            found = await self._build(image)
        await self._compile_library(image, found)
        self._ready[image] = found
        return found

    async def _build(self, image: ImageSpec) -> list[Path]:
        distribution, codename = debian.os_release()
        suite = debian.suite_for(distribution, image.python)
        refused = ""
        if suite:
            try:
                return [await self._debian(image, suite)]
            except ImageBuildError as error:
                refused = str(error)
                if suite == codename:
                    raise
        here = await asyncio.get_running_loop().run_in_executor(None, interpreter.find, image.python)
        if here is None:
            raise ImageBuildError(_no_python(image.python, distribution, refused))
        self._say(image, f"Python {image.python} comes from {here.prefix} of the node")
        base = await self._debian(image, codename)
        return [await self._copied(image, codename, here, base), base]

    async def _debian(self, image: ImageSpec, suite: str) -> Path:
        """The layer of a suite: base system and its own Python."""
        _, codename = debian.os_release()
        sources = debian.source_lines(debian.archives(codename), codename, suite)
        if not sources:
            raise ImageBuildError(f"the apt sources of this machine name no archive of {codename}; see /etc/apt")
        if shutil.which("mmdebstrap") is None:
            raise ImageBuildError("mmdebstrap is not installed; run `ingle setup`")

        async def make(part: Path) -> dict:
            self._say(image, f"building debian_slim from the packages of {suite}")
            await self._run(image, debian.command(suite, part / "root", sources, debian.fetch_settings()))
            return {"suite": suite, "interpreter": "/usr/bin/python3"}

        return await self._layer(base_key(suite), make)

    async def _copied(self, image: ImageSpec, codename: str, here: interpreter.Interpreter, base: Path) -> Path:
        """The layer of an interpreter that this machine has, on top of `base`."""

        async def make(part: Path) -> dict:
            loop = asyncio.get_running_loop()
            inside = await loop.run_in_executor(None, interpreter.copy, here, base, part / "root")
            await loop.run_in_executor(None, self._try_interpreter, part, base, inside, image.python)
            return {"interpreter": inside, "from": str(here.prefix)}

        return await self._layer(interpreter_key(codename, image.python), make)

    def _try_interpreter(self, part: Path, base: Path, inside: str, python: str) -> None:
        """Start it as a container would find it; what it needs and does not find shows here."""
        with self._mounted([part / "root", base], part / "try") as merged:
            interpreter.remember_libraries(merged, part / "root")
            argv = ["chroot", str(merged), inside, "-c", interpreter.TRIAL]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=interpreter.TRIAL_S_MAX)
        if done.returncode != 0 or done.stdout.strip() != python:
            raise ImageBuildError(
                f"the node's Python {python} does not start in a container: {done.stderr.strip()[-500:]}"
            )

    async def _layer(self, key: str, make: Callable[[Path], Any]) -> Path:
        """The layer's `root`; made by `make` in a directory that gets its name only when it is complete and on disk."""
        async with _locked(self.root / f".lock-{key}"):
            directory = self._directory(key)
            if self._trusted(key):
                return directory / "root"
            shutil.rmtree(directory, ignore_errors=True)
            part = self.root / f"part-{key}-{os.getpid()}"
            loop = asyncio.get_running_loop()
            try:
                part.mkdir()
                told = await make(part)
                (part / "layer.json").write_text(json.dumps({"key": key, **told}))
                await loop.run_in_executor(None, self.kernel.sync_disk, str(part))
                os.rename(part, directory)
                await loop.run_in_executor(None, self.kernel.sync_disk, str(self.root))
            except OSError as error:
                raise ImageBuildError(f"cannot store layer {key}: {error}") from error
            finally:
                if part.exists():
                    await loop.run_in_executor(None, lambda: shutil.rmtree(part, ignore_errors=True))
            return directory / "root"

    async def _run(self, image: ImageSpec, argv: list[str]) -> None:
        """A build step; its output goes to the listeners line by line."""
        last: deque[str] = deque(maxlen=LINES_TOLD_MAX)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        assert process.stdout is not None

        async def read(stream: asyncio.StreamReader) -> None:
            rest = b""
            while piece := await stream.read(1 << 14):
                *lines, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
                rest = rest[-LINE_CHARS_MAX:]
                for line in filter(None, (raw.decode(errors="replace").rstrip() for raw in lines)):
                    last.append(line)
                    self._say(image, line)

        try:
            await asyncio.wait_for(read(process.stdout), BUILD_S_MAX)
            code = await process.wait()
        except (TimeoutError, asyncio.TimeoutError):
            raise ImageBuildError(f"{argv[0]} did not end within {BUILD_S_MAX:g} s: " + "\n".join(last)) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            raise ImageBuildError(f"building debian_slim for Python {image.python} failed:\n" + "\n".join(last))

    async def _compile_library(self, image: ImageSpec, layers: list[Path]) -> None:
        """Containers find our code compiled for their Python; where that fails they only start slower."""
        if self._library_root is None:
            return
        directory = library.ensure(self._library_root)

        def compile_it() -> None:
            if library.is_compiled(directory, image.python):
                return
            with self._mounted(layers, self.root / f"part-compile-{image.id}-{os.getpid()}") as merged:
                library.compile_for(directory, image.python, ["chroot", str(merged), self._interpreter(layers)])

        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().run_in_executor(None, compile_it)

    def _interpreter(self, layers: list[Path]) -> str:
        return next((told["interpreter"] for layer in layers if (told := self._told(layer)).get("interpreter")), "")

    @contextlib.contextmanager
    def _mounted(self, layers: list[Path], work: Path) -> Iterator[Path]:
        try:
            yield rootfs.mount(self.kernel, layers, work)
        finally:
            rootfs.unmount(self.kernel, work)

    def _remove_parts(self) -> None:
        """What a build that was killed left; a build under way elsewhere holds its lock."""
        for part in self.root.glob("part-*"):
            key = "-".join(part.name.split("-")[1:-1])
            with open(self.root / f".lock-{key}", "a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                rootfs.unmount(self.kernel, part / "try")
                shutil.rmtree(part, ignore_errors=True)


def base_key(suite: str) -> str:
    return _key("debian", [suite, *debian.PACKAGES])


def interpreter_key(codename: str, python: str) -> str:
    return _key("python", [codename, python])


def _key(kind: str, recipe: list[str]) -> str:
    digest = hashlib.sha256(json.dumps([BUILDER_VERSION, kind, *recipe]).encode()).hexdigest()
    return f"{kind}-{recipe[0]}-{digest[:12]}"


def _no_python(python: str, distribution: str, refused: str) -> str:
    packaged = sorted(debian.SUITES.get(distribution, {}), key=lambda version: int(version.split(".")[1]))
    text = (
        f"no Python {python} for this image: the packages that this machine can reach have {', '.join(packaged) or 'none'}, "
        f"and the node has no interpreter of that version. Install one on the node (such as `uv python install {python}`), "
        f"or run your program with one of the versions above"
    )
    return f"{text}.\n{refused}" if refused else text


class _locked:
    """A file's lock, waited for without holding up the loop. The kernel lets it go with its holder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> None:
        # Open as long as the lock is held.
        self._file = open(self._path, "a")  # noqa: SIM115
        loop = asyncio.get_running_loop()
        until_s = loop.time() + BUILD_S_MAX
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if loop.time() > until_s:
                    self._file.close()
                    raise ImageBuildError(f"another build has held {self._path} for {BUILD_S_MAX:g} s") from None
                await asyncio.sleep(LOCK_PAUSE_S)

    async def __aexit__(self, *_: object) -> None:
        self._file.close()
