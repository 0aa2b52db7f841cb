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

_FILE = b"file:"


class HttpBlobs:
    """Blobs of a client outside of containers: kept by the server."""

    def __init__(self, http: Http):
        self._http = http

    def put(self, pieces: list[bytes]) -> bytes:
        """Stores the pieces as one blob and returns what stands for it in a frame."""
        blob = new_id(BLOB)
        self._http.request("PUT", f"/v1/blobs/{blob}", pieces)
        return blob.encode()

    def get(self, reference: bytes) -> Any:
        """
        Raises:
            ingle.Error: it cannot be had.
        """
        return self._http.request("GET", f"/v1/blobs/{reference.decode('ascii', 'replace')}")


class FileBlobs:
    """Blobs of a client in a container: files, which the node takes and gives."""

    def put(self, pieces: list[bytes]) -> bytes:
        name = new_id(BLOB)
        directory = os.path.join(context.io_dir, "out")
        whole, partial = os.path.join(directory, name), os.path.join(directory, f".{name}")
        try:
            with open(partial, "xb", buffering=0) as file:
                for piece in pieces:
                    rest = memoryview(piece)
                    while len(rest):
                        rest = rest[file.write(rest) :]
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
