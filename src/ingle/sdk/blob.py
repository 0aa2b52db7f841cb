"""Payloads too large for the path of a call: through HTTP on a laptop, through files in a container."""

from __future__ import annotations

import os

from ingle.exceptions import ExecutionError
from ingle.model.ids import BLOB, new_id
from ingle.runner import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingle.sdk.http import Http
    from ingle.wire.api import Welcome

_FILE = b"file:"


class HttpBlobs:
    """Blobs of a client outside of containers: kept by the server. On the server's own machine, and if this user may, they
    are written and read as files (six times as fast as through a socket)."""

    def __init__(self, http: Http):
        self._http = http
        self._directory = ""  #: where the server keeps blobs, if it is within reach

    def welcome(self, message: Welcome) -> None:
        """The server says where it keeps blobs, and how to know that its disk is this one."""
        path, probe = message.blobs_path, message.blobs_probe
        self._directory = ""
        if path and probe and "/" not in probe:
            try:
                with open(os.path.join(path, probe)) as file:
                    same = file.read() == message.server
                self._directory = path if same and os.access(path, os.W_OK) else ""
            except (OSError, ValueError):
                pass

    def put(self, pieces: list[bytes]) -> bytes:
        """Stores the pieces as one blob and returns what stands for it in a frame."""
        blob = new_id(BLOB)
        if not self._written(blob, pieces):
            self._http.request("PUT", f"/v1/blobs/{blob}", pieces)
        return blob.encode()

    def get(self, reference: bytes) -> Any:
        """
        Raises:
            ingle.Error: it cannot be had.
        """
        blob = reference.decode("ascii", "replace")
        if self._directory and blob.startswith(f"{BLOB}-") and "/" not in blob:
            try:
                return _mapped(os.path.join(self._directory, blob))
            except (OSError, ValueError):
                pass  # the server knows why
        return self._http.request("GET", f"/v1/blobs/{blob}")

    def _written(self, blob: str, pieces: list[bytes]) -> bool:
        """Whether it could be written as a file; the server tells what is wrong where it could not."""
        if not self._directory:
            return False
        whole = os.path.join(self._directory, blob)
        partial = f"{whole}.half"  # the server clears these away if this program dies now
        try:
            _write(partial, pieces)
            os.rename(partial, whole)
        except OSError:
            try:
                os.unlink(partial)
            except OSError:
                pass
            return False
        return True


class FileBlobs:
    """Blobs of a client in a container: files, which the node takes and gives."""

    def welcome(self, message: Welcome) -> None:
        """The server's disk is out of reach in here."""

    def put(self, pieces: list[bytes]) -> bytes:
        name = new_id(BLOB)
        directory = os.path.join(context.io_dir, "out")
        whole, partial = os.path.join(directory, name), os.path.join(directory, f".{name}")
        try:
            _write(partial, pieces)
            os.rename(partial, whole)
        except OSError as error:
            raise ExecutionError(f"an argument could not be handed to the node: {error}") from error
        return _FILE + name.encode()

    def get(self, reference: bytes) -> Any:
        name = os.path.basename(reference.removeprefix(_FILE).decode("ascii", "replace"))
        try:
            with open(os.path.join(context.io_dir, "in", name), "rb") as file:
                return file.read()
        except OSError as error:
            raise ExecutionError(f"a result could not be read from the node: {error}") from error


def _write(path: str, pieces: list[bytes]) -> None:
    with open(path, "xb", buffering=0) as file:
        for piece in pieces:
            rest = memoryview(piece)
            while len(rest):
                rest = rest[file.write(rest) :]


def _mapped(path: str) -> Any:
    import mmap

    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
