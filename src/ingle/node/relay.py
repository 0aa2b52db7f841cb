"""Relays the frames of clients inside one container (user code that calls other functions) to the server and back.

Values above the inline bound come as files: in the positions `blobs` stands `file:` and a name, which becomes a blob's id on
the way out, and a blob's id becomes a file in the container's `in` on the way back.

When the connection to the server is lost, the clients' connections are closed as well: each connects again and says
what is outstanding, as a client on a laptop would.
"""

import asyncio
import itertools
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from ingle.node import outbox
from ingle.node.blob import BlobError, Blobs
from ingle.node.config import CLIENT_FRAME_BYTES_MAX, CLIENT_WAITING_BYTES_MAX, CLIENTS_MAX
from ingle.wire import api
from ingle.wire.codec import FrameError, split

logger = logging.getLogger(__name__)

FILE = b"file:"
_LENGTH = struct.Struct("<I")


class Client:
    """One connection."""

    def __init__(self, relay: "Relay", name: str, sock: socket.socket, rest: bytes):
        self.name = name
        self._relay, self._sock, self._rest = relay, sock, rest
        self._writer: asyncio.StreamWriter | None = None
        self._ahead: list[bytes] = []  #: frames for it that wait for a blob, or that arrived before it was connected
        self._files: dict[str, list[Path]] = {}
        self._to_client: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            reader = asyncio.StreamReader(limit=1 << 20, loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
            reader.feed_data(self._rest)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._sock)
            self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            self._connected.set()
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(4))
                if length > CLIENT_FRAME_BYTES_MAX:
                    raise FrameError(f"a frame of {length} bytes; at most {CLIENT_FRAME_BYTES_MAX} are taken")
                frame = await reader.readexactly(length)
                await self._relay.writable()
                await self._relay.forward(self, await self._outward(frame))
        except (asyncio.IncompleteReadError, OSError):
            pass
        except (FrameError, BlobError, outbox.FileRefused) as error:
            logger.warning("container %s: a client is cut off: %s", self._relay.container, error)
        finally:
            if self._writer is None:
                self._sock.close()
            else:
                self._writer.transport.abort()
            if self._to_client is not None:
                self._to_client.cancel()
            for files in self._files.values():
                _remove(files)
            self._relay.gone(self)

    def deliver(self, frame: bytes) -> None:
        """A frame from the server."""
        if sum(map(len, self._ahead)) + len(frame) > CLIENT_WAITING_BYTES_MAX:
            self.close()
            return
        if self._to_client is not None:
            self._ahead.append(frame)
            return
        if self._writer is None or _has_blobs(frame):
            self._ahead.append(frame)
            self._to_client = asyncio.get_running_loop().create_task(self._deliver_slowly())
        else:
            self._write(frame)

    def close(self) -> None:
        self.task.cancel()

    def _write(self, frame: bytes) -> None:
        assert self._writer is not None
        if self._writer.transport.get_write_buffer_size() > CLIENT_WAITING_BYTES_MAX:
            logger.warning("container %s: a client does not read its answers and is cut off", self._relay.container)
            self.close()
            return
        self._writer.transport.writelines((_LENGTH.pack(len(frame)), frame))

    async def _deliver_slowly(self) -> None:
        """In order: the frames after one that waits for a blob wait with it."""
        try:
            await self._connected.wait()
            while self._ahead:
                frame = self._ahead[0]
                if _has_blobs(frame):
                    frame = await self._inward(frame)
                self._write(frame)
                self._ahead.pop(0)
        except (BlobError, FrameError, OSError) as error:
            logger.warning("container %s: an answer cannot be brought to a client: %s", self._relay.container, error)
            self.close()
        finally:
            self._to_client = None

    async def _outward(self, frame: bytes) -> bytes:
        """The frame as the server should see it."""
        message, payload = api.CODEC.decode(frame)
        if isinstance(message, api.Hello):
            return api.CODEC.encode(replace(message, app=self._relay.app))
        if isinstance(message, api.AckOutputs):
            for input in message.inputs:
                _remove(self._files.pop(input, []))
        if not isinstance(message, api.PutInputs) or not message.blobs:
            return frame
        pieces = split(payload, message.sizes)
        for at in _positions(message.blobs, len(pieces)):
            if not pieces[at].startswith(FILE):
                raise FrameError("a blob from inside a container is named as a file")
            with outbox.OutFile(self._relay.out, pieces[at][len(FILE) :]) as file:
                pieces[at] = (await file.to_blob(self._relay.blobs)).encode()
        return api.CODEC.encode(replace(message, sizes=[len(p) for p in pieces]), pieces)

    async def _inward(self, frame: bytes) -> bytes:
        """The frame as the client should see it."""
        message, payload = api.CODEC.decode(frame)
        pieces = split(payload, message.sizes)
        for at in _positions(message.blobs, len(pieces)):
            target = self._relay.new_file()
            input = message.inputs[at] if isinstance(message, api.Outputs) else message.input
            self._files.setdefault(input, []).append(target)
            await self._relay.blobs.get_file(pieces[at].decode(), target)
            pieces[at] = FILE + target.name.encode()
        return api.CODEC.encode(replace(message, sizes=[len(p) for p in pieces]), pieces)


class Relay:
    """All clients of one container. `say(client, frame, closed)` goes to the server; `writable()` waits until it may."""

    def __init__(
        self, container: str, app: str, io_in: Path, out: int, blobs: Blobs, *,
        say: Callable[[str, bytes, bool], None], writable: Callable[[], Awaitable[None]],
    ):  # fmt: skip
        self.container, self.app, self.out, self.blobs = container, app, out, blobs
        self._io_in, self._say, self.writable = io_in, say, writable
        self._clients: dict[str, Client] = {}
        self._names = itertools.count(1)
        self._files = itertools.count(1)

    def let_in(self, sock: socket.socket, rest: bytes) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            logger.warning("container %s: more than %d clients", self.container, CLIENTS_MAX)
            sock.close()
            return
        name = f"{os.getpid():x}-{next(self._names)}"
        self._clients[name] = Client(self, name, sock, rest)

    async def forward(self, client: Client, frame: bytes) -> None:
        self._say(client.name, frame, False)

    def gone(self, client: Client) -> None:
        if self._clients.pop(client.name, None) is not None:
            self._say(client.name, b"", True)

    def deliver(self, name: str, frame: bytes, closed: bool) -> None:
        client = self._clients.get(name)
        if client is None:
            return
        if closed:
            client.close()
        else:
            client.deliver(frame)

    def new_file(self) -> Path:
        return self._io_in / f"c{next(self._files)}"

    def close(self) -> None:
        """The connection to the server is lost, or the container is gone."""
        for client in list(self._clients.values()):
            client.close()


def _has_blobs(frame: bytes) -> bool:
    try:
        message, _ = api.CODEC.decode(frame)
    except FrameError:
        return False
    return isinstance(message, (api.Outputs, api.Yielded)) and bool(message.blobs)


def _positions(blobs: list[int], count: int) -> list[int]:
    if any(not 0 <= at < count for at in blobs):
        raise FrameError("a blob's position lies outside of the frame")
    return blobs


def _remove(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
