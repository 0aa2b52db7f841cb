"""Users' code on this node: each source tree is laid out once, as a directory that containers use as a read-only layer.

    <root>/<source id>/root/        what lies under /root in a container
    <root>/.files/<sha256>-<mode>   one copy of each file, hard-linked into the trees
    <root>/.boot                    of which boot of the machine all this is

Nothing is synced to disk one by one: after a reboot everything here is thrown away and fetched again.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

FETCHES_AT_ONCE_MAX = 16
#: So many trees are kept from one life of the node to the next.
TREES_KEPT_MAX = 100
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SourceFault(RuntimeError):
    """A tree cannot be laid out: what was fetched is not what its name says."""


class Sources:
    """Trees by the id of their source. `fetch` gets a blob from the server by its id."""

    def __init__(self, root: Path, fetch: Callable[[str], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._files = root / ".files"
        self._trees = root
        self._under_way: dict[str, asyncio.Task[Path]] = {}
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)
        _sweep(self._trees, self._files)

    async def ensure(self, source_id: str) -> Path:
        """The tree's directory, with `root/` in it. Whoever asks meanwhile waits for the same work.

        Raises:
            SourceFault: a file or the manifest is not what its name says.
            OSError: the disk refused; or whatever `fetch` raises.
        """
        tree = self._trees / _safe_name(source_id)
        if tree.is_dir():
            return tree
        task = self._under_way.get(source_id)
        if task is None:
            task = asyncio.ensure_future(self._make(source_id, tree))
            self._under_way[source_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(source_id, None))
        return await asyncio.shield(task)

    async def _make(self, source_id: str, tree: Path) -> Path:
        files = _manifest(source_id, await self._fetch(source_id))
        async with _TaskSet() as tasks:
            for sha256, mode in {(sha256, mode) for _, sha256, mode in files}:
                if not self._file(sha256, mode).exists():
                    tasks.add(self._get(sha256, mode))
        part = tree.with_name(f".part-{tree.name}-{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        await asyncio.get_running_loop().run_in_executor(None, self._lay_out, files, part, tree)
        return tree

    def _lay_out(self, files: list[tuple[str, str, int]], part: Path, tree: Path) -> None:
        root = part / "root"
        root.mkdir(parents=True, mode=0o700)
        made = {root}
        for path, sha256, mode in files:
            target = root / path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            os.link(self._file(sha256, mode), target)
        os.rename(part, tree)

    async def _get(self, sha256: str, mode: int) -> None:
        async with self._slots:
            content = await self._fetch(f"bl-{sha256}")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise SourceFault(f"the file fetched as {sha256} is another one")
        part = self._files / f"part-{sha256}-{mode:o}-{os.getpid()}"
        part.write_bytes(content)
        part.chmod(mode)
        os.rename(part, self._file(sha256, mode))

    def _file(self, sha256: str, mode: int) -> Path:
        return self._files / f"{sha256}-{mode:o}"


class _TaskSet:
    """Tasks that end together: the first that fails cancels the others."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "_TaskSet":
        return self

    def add(self, work: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _manifest(source_id: str, blob: bytes) -> list[tuple[str, str, int]]:
    """(path, SHA-256, mode) of each file of a tree."""
    try:
        entries = json.loads(blob)["files"]
        files = [(str(e["path"]), str(e["sha256"]), int(e.get("mode", 0o644)) & 0o777) for e in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceFault(f"the manifest of {source_id} cannot be read: {error!r}") from None
    for path, sha256, _ in files:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path:
            raise SourceFault(f"{source_id} has a file outside its tree: {path!r}")
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise SourceFault(f"{source_id}: no SHA-256 of {path!r}")
    return files


def _safe_name(source_id: str) -> str:
    if not source_id or not all(c.isalnum() or c in "-_" for c in source_id):
        raise SourceFault(f"not the id of a source: {source_id!r}")
    return source_id


def _sweep(trees: Path, files: Path) -> None:
    """Throw away half-made trees, those of an earlier boot, and the oldest."""
    boot = BOOT_ID.read_text() if BOOT_ID.exists() else ""
    mark = trees / ".boot"
    if mark.exists() and mark.read_text() != boot:
        shutil.rmtree(trees, ignore_errors=True)
    trees.mkdir(parents=True, exist_ok=True)
    files.mkdir(exist_ok=True)
    mark.write_text(boot)
    by_age = sorted((p for p in trees.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
    for old in [*trees.glob(".part-*"), *by_age[: max(0, len(by_age) - TREES_KEPT_MAX)]]:
        shutil.rmtree(old, ignore_errors=True)
    for file in files.iterdir():
        if file.name.startswith("part-") or file.stat().st_nlink == 1:
            file.unlink(missing_ok=True)
