"""Source trees: a manifest that names files by their content; only files that are not there travel."""

import asyncio
import hashlib
import struct
from collections.abc import AsyncIterator
from typing import Protocol

from ingle.exceptions import InvalidError, NotFoundError
from ingle.storage.blobs import Blobs
from ingle.wire.api import PutSource, SourceFile, SourceState
from ingle.wire.codec import FrameError, dump, load

FILES_MAX = 50_000
TREE_BYTES_MAX = 4 << 30
PATH_BYTES_MAX = 4096
_HEADER = struct.Struct("<32sQ")


class Stream(Protocol):
    """As much of asyncio's and aiohttp's stream readers as is used here."""

    async def readexactly(self, n: int) -> bytes: ...
    async def read(self, n: int) -> bytes: ...


class Sources:
    def __init__(self, blobs: Blobs):
        self._blobs = blobs

    async def put(self, message: PutSource) -> SourceState:
        """Keeps the manifest and says which files are missing.

        Raises:
            InvalidError: a path leads out of the tree, or it is too large.
        """
        files = sorted(message.files, key=lambda f: f.path)
        _check(files)
        manifest = dump(PutSource(files))
        source_id = "so-" + hashlib.sha256(manifest).hexdigest()[:26]
        if not await self._blobs.touch(source_id):
            await self._blobs.put(source_id, _whole(manifest))
        missing = []
        for sha256 in dict.fromkeys(f.sha256 for f in files):
            if not await self._blobs.touch(f"bl-{sha256}"):
                missing.append(sha256)
        return SourceState(source_id, missing)

    async def put_files(self, source_id: str, body: Stream) -> None:
        """Reads missing files from a stream, each as 32 raw bytes of SHA-256, a little-endian u64 size, the bytes.

        Raises:
            InvalidError: the stream breaks off, or a file is not what it is said to be; those before it are kept.
            NotFoundError: there is no such source tree.
        """
        files = {f.sha256: f for f in await self.files(source_id)}
        while True:
            try:
                sha256, size = _HEADER.unpack(await body.readexactly(_HEADER.size))
            except asyncio.IncompleteReadError as error:
                if not error.partial:
                    return
                raise InvalidError("the upload breaks off in the middle: send it again") from None
            name = sha256.hex()
            known = files.get(name)
            if known is None or known.size != size:
                raise InvalidError(f"no file of this tree has SHA-256 {name} and {size} bytes")
            await self._blobs.put(f"bl-{name}", _part(body, size), sha256=name)

    async def files(self, source_id: str) -> list[SourceFile]:
        """
        Raises:
            NotFoundError: there is no such source tree.
        """
        if not source_id.startswith("so-"):
            raise NotFoundError(f"{source_id[:60]!r} is not the id of a source tree")
        manifest = b"".join([chunk async for chunk in self._blobs.get(source_id)])
        try:
            return load(PutSource, manifest).files
        except FrameError:
            raise NotFoundError(f"the manifest of {source_id} is damaged: send the source again") from None

    async def check(self, source_id: str, sync: bool) -> None:
        """All of it is there; `sync`: and survives a power cut.

        Raises:
            NotFoundError: something is missing.
        """
        names = [f"bl-{sha256}" for sha256 in dict.fromkeys(f.sha256 for f in await self.files(source_id))]
        for blob in [source_id, *names]:
            if not await self._blobs.touch(blob):
                raise NotFoundError(f"a file of source tree {source_id} was not uploaded: send it again")
            if sync:
                await self._blobs.sync(blob)


def _check(files: list[SourceFile]) -> None:
    if len(files) > FILES_MAX:
        raise InvalidError(f"a source tree may have {FILES_MAX} files at most, this one has {len(files)}")
    total = sum(max(f.size, 0) for f in files)
    if total > TREE_BYTES_MAX:
        raise InvalidError(f"a source tree may have {TREE_BYTES_MAX >> 20} MiB at most, this one has {total >> 20}")
    previous = None
    for file in files:
        parts = file.path.split("/")
        bad = (
            "" in parts
            or "." in parts
            or ".." in parts
            or "\0" in file.path
            or len(file.path.encode()) > PATH_BYTES_MAX
        )
        if bad or file.path == previous:
            raise InvalidError(f"{file.path[:200]!r} cannot be a path in a source tree")
        if len(file.sha256) != 64 or not set(file.sha256) <= set("0123456789abcdef") or file.size < 0:
            raise InvalidError(f"{file.path[:200]!r} needs a SHA-256 in lower-case hex and a size")
        if not 0 <= file.mode <= 0o777:
            raise InvalidError(f"{file.path[:200]!r} cannot have mode {file.mode:o}")
        previous = file.path


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _part(body: Stream, size: int) -> AsyncIterator[bytes]:
    left = size
    while left:
        chunk = await body.read(min(left, 1 << 20))
        if not chunk:
            raise InvalidError("the upload breaks off in the middle of a file: send it again")
        left -= len(chunk)
        yield chunk
