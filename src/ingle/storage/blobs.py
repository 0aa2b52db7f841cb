"""Blobs: bytes by id, whole or not there at all.

`Blobs.local(directory)` keeps them as files, `Blobs.memory()` is the fake with the same behaviour. A blob is written once: said twice,
the first stays. Ids of content are verified by whoever puts them (`sha256`).
"""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore, MemoryStore

from ingle.exceptions import InvalidError, NotFoundError, ServerError

#: One blob.
BLOB_BYTES_MAX = 64 << 30
#: What is read at once.
CHUNK_BYTES = 1 << 20
#: Smaller blobs are written in one go, larger ones in parts: a hand-over to the store costs about a millisecond.
WHOLE_BYTES = 8 << 20
PART_BYTES = 4 << 20

_ID = re.compile(r"(bl|so)-[0-9a-z]{16,64}")


@dataclass(frozen=True, slots=True)
class BlobInfo:
    id: str
    size: int
    at_s: float  #: when it was written or last touched, since the epoch


class Blobs:
    def __init__(self, store: LocalStore | MemoryStore, root: Path | None):
        self._store = store
        self._root = root

    @classmethod
    def local(cls, root: Path) -> "Blobs":
        root.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(str(root)), root)

    @classmethod
    def memory(cls) -> "Blobs":
        return cls(MemoryStore(), None)

    @staticmethod
    def check_id(blob_id: str) -> str:
        """The id, if it is one.

        Raises:
            InvalidError: it is not; it never becomes part of a path.
        """
        if not _ID.fullmatch(blob_id):
            raise InvalidError(f"{blob_id[:80]!r} is not the id of a blob")
        return blob_id

    async def put(self, blob_id: str, chunks: AsyncIterator[bytes], sha256: str | None = None) -> int:
        """Stores what the chunks add up to, all or nothing, and gives its size in bytes.

        Raises:
            InvalidError: longer than BLOB_BYTES_MAX, or not of the given SHA-256; nothing is kept.
            ServerError: the disk is full; nothing is kept.
        """
        self.check_id(blob_id)
        body = _Body(chunks, blob_id, sha256)
        try:
            first = await body.take(WHOLE_BYTES)
            if body.over:
                await obstore.put_async(self._store, blob_id, first)
            else:
                await obstore.put_async(self._store, blob_id, body.rest(first), chunk_size=PART_BYTES)
        except InvalidError:
            raise
        except Exception as error:
            if isinstance(error.__cause__, InvalidError):
                raise error.__cause__ from None
            raise _translate(error, blob_id) from error
        return body.size

    async def get(self, blob_id: str) -> AsyncIterator[bytes]:
        """Its bytes, in chunks.

        Raises:
            NotFoundError: there is no such blob.
        """
        self.check_id(blob_id)
        try:
            result = await obstore.get_async(self._store, blob_id)
        except Exception as error:
            raise _translate(error, blob_id) from error
        async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    def path(self, blob_id: str) -> Path | None:
        """The file it is or would be; None if blobs are no files here."""
        self.check_id(blob_id)
        return None if self._root is None else self._root / blob_id

    async def exists(self, blob_id: str) -> bool:
        self.check_id(blob_id)
        try:
            await obstore.head_async(self._store, blob_id)
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _translate(error, blob_id) from error
        return True

    async def sync(self, blob_id: str) -> None:
        """Returns when it would survive a power cut.

        Raises:
            NotFoundError: there is no such blob.
        """
        path = self.path(blob_id)
        if path is None:
            if not await self.exists(blob_id):
                raise NotFoundError(f"there is no blob {blob_id}")
            return
        try:
            await asyncio.to_thread(_sync, path)
        except OSError as error:
            raise _translate(error, blob_id) from error

    async def touch(self, blob_id: str) -> bool:
        """Makes it young, so that collection spares it. False: there is no such blob."""
        path = self.path(blob_id)
        if path is None:
            return await self.exists(blob_id)
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    async def delete(self, blob_id: str) -> None:
        """Twice is fine."""
        self.check_id(blob_id)
        try:
            await obstore.delete_async(self._store, blob_id)
        except FileNotFoundError:
            pass

    async def list_old(self, age_s: float) -> list[BlobInfo]:
        """Blobs that have not been written or touched for so long. Also clears away what broken uploads of that age have left."""
        before = time.time() - age_s
        if self._root is not None:
            return await asyncio.to_thread(_list_files, self._root, before)
        found = []
        for batch in obstore.list(self._store):
            for meta in batch:
                at_s = meta["last_modified"].timestamp()
                if at_s <= before:
                    found.append(BlobInfo(meta["path"], meta["size"], at_s))
        return found


class _Body:
    """What comes in, counted and verified: too much of it, or a wrong end, raises InvalidError before the last part is handed on."""

    def __init__(self, chunks: AsyncIterator[bytes], blob_id: str, sha256: str | None):
        self._chunks = chunks
        self._blob_id = blob_id
        self._sha256 = sha256
        self._digest = hashlib.sha256() if sha256 else None
        self.size = 0
        self.over = False

    async def take(self, least: int) -> bytes:
        """At least so many bytes, or all that are left."""
        pieces, size = [], 0
        while size < least:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._end()
                break
            size += len(chunk)
            self.size += len(chunk)
            if self.size > BLOB_BYTES_MAX:
                raise InvalidError(f"a blob may have {BLOB_BYTES_MAX} bytes at most")
            if self._digest is not None:
                self._digest.update(chunk)
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def rest(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        while not self.over:
            yield await self.take(PART_BYTES)

    def _end(self) -> None:
        self.over = True
        if self._digest is not None and self._digest.hexdigest() != self._sha256:
            raise InvalidError(f"the bytes of {self._blob_id} are not those of its SHA-256: send it again")


def _sync(path: Path) -> None:
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _list_files(root: Path, before: float) -> list[BlobInfo]:
    found = []
    with os.scandir(root) as entries:
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
                if stat.st_mtime > before or not entry.is_file(follow_symlinks=False):
                    continue
                if _ID.fullmatch(entry.name):
                    found.append(BlobInfo(entry.name, stat.st_size, stat.st_mtime))
                elif _ID.match(entry.name):  # an upload that never ended
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue
    return found


def _translate(error: Exception, blob_id: str) -> Exception:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"there is no blob {blob_id}")
    if "No space left" in str(error) or "os error 28" in str(error):
        return ServerError("the server's disk is full: the blob was not stored; free some space in its state directory")
    if "os error 122" in str(error) or "quota" in str(error).lower():
        return ServerError("the server's disk quota is used up: the blob was not stored")
    return error
