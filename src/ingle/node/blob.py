"""Moves blobs between this node and the server: through the file system where both share it, else over HTTP."""

import asyncio
import errno
import http.client
import logging
import os
import re
import shutil
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ingle.model import ids
from ingle.node.config import BULK_BYTES_MAX
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION

logger = logging.getLogger(__name__)

THREADS = 4
CHUNK_BYTES = 1 << 20
HTTP_TIMEOUT_S = 60.0
#: A transfer is tried again for so long while the server is away.
TRY_FOR_S = 600.0
RETRY_S = 0.5
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

T = TypeVar("T")


class BlobError(RuntimeError):
    """A blob cannot be had or kept; the message says which and why."""


class Blobs:
    """One per node. `welcome` finds out whether the server's directory can be used directly."""

    def __init__(self, server_url: str, token: str):
        self._url = urlsplit(server_url)
        self._headers = {"Authorization": f"Bearer {token}", VERSION_HEADER: str(WIRE_VERSION)}
        self._direct: Path | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blob")

    def welcome(self, path: str, probe: str, server: str) -> None:
        """Use the directory `path` if its file `probe` says `server`."""
        self._direct = None
        if not path or not probe or "/" in probe:
            return
        try:
            if (Path(path) / probe).read_text().strip() == server:
                self._direct = Path(path)
        except (OSError, UnicodeDecodeError):
            pass

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ---- quick ways, without a thread; False or None: take the slow way

    def put_quick(self, fd: int) -> str | None:
        """The open file becomes a blob by a hard link: its id, or None where that cannot be."""
        if self._direct is None:
            return None
        blob = ids.new_id(ids.BLOB)
        try:
            # With a directory's descriptor (unused, as the path is absolute) Python calls linkat and follows the link.
            os.link(f"/proc/self/fd/{fd}", self._direct / blob, src_dir_fd=fd, follow_symlinks=True)
        except OSError:
            return None
        return blob

    def get_quick(self, blob: str, target: Path) -> bool:
        if self._direct is None or not _NAME.fullmatch(blob):
            return False
        try:
            os.link(self._direct / blob, target)
        except OSError:
            return False
        return True

    # ---- ways that always work

    async def put_file(self, fd: int) -> str:
        """The open file's content becomes a blob; its id."""
        blob = ids.new_id(ids.BLOB)
        await self._try(lambda: self._put_file(blob, fd), f"store blob {blob}")
        return blob

    async def get_file(self, blob: str, target: Path) -> None:
        """The blob's content in a new file.

        Raises:
            BlobError: there is no such blob, or the server stays away.
        """
        _check(blob)
        if not self.get_quick(blob, target):
            await self._try(lambda: self._get_file(blob, target), f"fetch blob {blob}")

    async def get_bytes(self, blob: str) -> bytes:
        _check(blob)
        if self._direct is not None:
            try:
                return (self._direct / blob).read_bytes()
            except OSError:
                pass  # ask for it: the server may know more
        return await self._try(lambda: self._get_bytes(blob), f"fetch blob {blob}")

    # ---- inside

    async def _try(self, work: Callable[[], T], what: str) -> T:
        loop = asyncio.get_running_loop()
        end = loop.time() + TRY_FOR_S
        while True:
            try:
                return await loop.run_in_executor(self._threads, work)
            except (OSError, http.client.HTTPException) as error:
                if loop.time() > end or not _may_pass(error):
                    raise BlobError(f"could not {what}: {error}") from error
                logger.warning("could not %s (%s), trying again", what, error)
                await asyncio.sleep(RETRY_S)

    def _put_file(self, blob: str, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size > BULK_BYTES_MAX:
            raise BlobError(f"a value of {size} bytes is larger than {BULK_BYTES_MAX} bytes")
        if self._direct is not None:
            _copy_into(fd, self._direct / blob)
            return
        with open(f"/proc/self/fd/{fd}", "rb") as body:
            connection = self._connect()
            try:
                headers = {**self._headers, "Content-Length": str(size)}
                connection.request("PUT", self._path(blob), body=body, headers=headers)
                answer = connection.getresponse()
                said = answer.read(2000)
            finally:
                connection.close()
        _check_status(answer.status, said, blob)

    def _get_file(self, blob: str, target: Path) -> None:
        if self._direct is not None and (self._direct / blob).exists():
            shutil.copyfile(self._direct / blob, target)
            return
        connection = self._connect()
        try:
            connection.request("GET", self._path(blob), headers=self._headers)
            answer = connection.getresponse()
            if answer.status != 200:
                _check_status(answer.status, answer.read(2000), blob)
            with open(target, "wb") as file:
                shutil.copyfileobj(answer, file, CHUNK_BYTES)
        finally:
            connection.close()

    def _get_bytes(self, blob: str) -> bytes:
        connection = self._connect()
        try:
            connection.request("GET", self._path(blob), headers=self._headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        _check_status(answer.status, data[:2000], blob)
        return data

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "127.0.0.1", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=HTTP_TIMEOUT_S, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=HTTP_TIMEOUT_S)

    def _path(self, blob: str) -> str:
        return f"{self._url.path.rstrip('/')}/v1/blobs/{blob}"


def _check(blob: str) -> None:
    if not _NAME.fullmatch(blob):
        raise BlobError(f"{blob[:60]!r} is no name of a blob")


def _may_pass(error: Exception) -> bool:
    """The server is away, or the network; not: the disk is full."""
    if isinstance(error, (http.client.HTTPException, ConnectionError, TimeoutError, socket.timeout, socket.gaierror)):
        return True
    return getattr(error, "errno", None) in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def _check_status(status: int, said: bytes, blob: str) -> None:
    if status in (502, 503, 504):
        raise http.client.HTTPException(f"the server answered {status}")
    if status >= 300:
        raise BlobError(f"blob {blob}: the server answered {status}: {said.decode('utf-8', 'replace')[:500]}")


def _copy_into(fd: int, target: Path) -> None:
    """Under another name first, so that nobody reads half a blob."""
    half = target.with_name(f"{target.name}.half")
    try:
        with open(f"/proc/self/fd/{fd}", "rb") as source, open(half, "wb") as out:
            shutil.copyfileobj(source, out, CHUNK_BYTES)
        os.rename(half, target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
