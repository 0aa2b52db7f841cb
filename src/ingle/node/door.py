"""The socket `node.sock` of one container: who connects says HELLO, and is let in as its runner or as a client."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from ingle.runner import wire

logger = logging.getLogger(__name__)

#: Connections that have not said HELLO yet.
STRANGERS_MAX = 16
HELLO_S = 10.0
HELLO_BYTES_MAX = 4096
#: A path in a socket's address has at most 107 bytes.
ADDRESS_BYTES_MAX = 100


class Door:
    """`on_runner(sock, said)` and `on_client(sock, rest)` take over the connection; `rest`: bytes read beyond HELLO.
    Who says anything else is shown out: it harms nobody but itself."""

    def __init__(
        self, directory: Path, *,
        on_runner: Callable[[socket.socket, list[bytes]], None], on_client: Callable[[socket.socket, bytes], None],
    ):  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._directory, self._on_runner, self._on_client = directory, on_runner, on_client
        self._sock: socket.socket | None = None
        self._strangers: dict[socket.socket, tuple[bytearray, asyncio.TimerHandle]] = {}

    def open(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        path = self._directory / wire.SOCKET_NAME
        try:
            if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
                sock.bind(str(path))
            else:
                fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    sock.bind(f"/proc/self/fd/{fd}/{wire.SOCKET_NAME}")
                finally:
                    os.close(fd)
            os.chmod(path, 0o666)  # a program in the container may have changed its user
            sock.listen(STRANGERS_MAX)
        except OSError:
            sock.close()
            raise
        self._sock = sock
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
        for sock in list(self._strangers):
            self._show_out(sock)

    def _accept(self) -> None:
        assert self._sock is not None
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if len(self._strangers) >= STRANGERS_MAX:
            sock.close()
            return
        sock.setblocking(False)
        self._strangers[sock] = (bytearray(), self._loop.call_later(HELLO_S, self._show_out, sock))
        self._loop.add_reader(sock.fileno(), self._listen, sock)
        self._listen(sock)  # mostly it has spoken already

    def _listen(self, sock: socket.socket) -> None:
        if sock not in self._strangers:
            return
        heard, _ = self._strangers[sock]
        try:
            data = sock.recv(HELLO_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        heard += data
        try:
            end = message_end(heard)
            if end is None:
                if not data or len(heard) >= HELLO_BYTES_MAX:
                    raise wire.WireError("no HELLO")
                return
            said = wire.unpack(bytes(heard[:end]))
            role = said[1] if len(said) >= 3 and said[0] == wire.HELLO else b""
            if role not in (b"runner", b"client"):
                raise wire.WireError("no HELLO")
        except wire.WireError:
            self._show_out(sock)
            return
        self._let_in(sock)
        if role == b"runner":
            self._on_runner(sock, said)
        else:
            self._on_client(sock, bytes(heard[end:]))

    def _let_in(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock.fileno())
        self._strangers.pop(sock)[1].cancel()

    def _show_out(self, sock: socket.socket) -> None:
        if sock in self._strangers:
            self._let_in(sock)
            sock.close()


def message_end(data: bytes | bytearray) -> int | None:
    """Where the first message of a stream ends; None while its lengths have not all arrived, or the message has not.

    Raises:
        WireError: it is longer than a HELLO can be.
    """
    if len(data) < 2:
        return None
    (count,) = struct.unpack_from("<H", data)
    if count > 16:
        raise wire.WireError("no HELLO")
    if len(data) < 2 + 4 * count:
        return None
    end = 2 + 4 * count + sum(struct.unpack_from(f"<{count}I", data, 2))
    if end > HELLO_BYTES_MAX:
        raise wire.WireError("no HELLO")
    return end if len(data) >= end else None
