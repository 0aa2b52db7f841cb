"""Sockets to a server: TCP, or TLS over it.

`_socket` is the C part of `socket`, without the 5 ms that its Python part takes to import.
"""

from __future__ import annotations

import _socket
import _thread

from ingle.exceptions import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONNECT_S_MAX = 10.0
#: A peer that takes nothing, or says nothing in the middle of a message, is given up after so long.
STALL_S_MAX = 120.0
#: A connection that is silent and dead is noticed after 15 + 3 × 5 s.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000))
_PARTS_MAX = 512  # IOV_MAX is 1024


class Address:
    """Where an URL leads."""

    __slots__ = ("host", "path", "port", "tls")

    def __init__(self, url: str):
        """
        Raises:
            InvalidError: it is not an http or https URL.
        """
        scheme, found, rest = url.partition("://")
        if not found or scheme not in ("http", "https"):
            raise InvalidError(f"the server URL {url!r} does not begin with http:// or https://")
        netloc, _, path = rest.partition("/")
        self.tls = scheme == "https"
        self.path = "/" + path.rstrip("/") if path.rstrip("/") else ""
        if netloc.startswith("["):  # IPv6
            host, _, tail = netloc[1:].partition("]")
            port = tail.removeprefix(":")
        else:
            host, _, port = netloc.partition(":")
        if not host or "@" in netloc or (port and not port.isdigit()) or not _printable(url):
            raise InvalidError(f"the server URL {url!r} is not one: write http://host:port")
        self.host = host
        self.port = int(port) if port else (443 if self.tls else 80)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def connect(address: Address, timeout_s: float = CONNECT_S_MAX) -> Any:
    """A connected stream socket (blocking, with STALL_S_MAX as its time-out), or something that behaves like one.

    Raises:
        OSError: nobody answers there.
    """
    error: OSError | None = None
    for family, kind, protocol, _, where in _socket.getaddrinfo(address.host, address.port, 0, _socket.SOCK_STREAM):
        try:
            sock = _socket.socket(family, kind, protocol)
        except OSError as unsupported:
            error = unsupported
            continue
        try:
            sock.settimeout(timeout_s)
            sock.connect(where)
            _tune(sock)
            sock.settimeout(STALL_S_MAX)
            return _Tls(sock, address.host) if address.tls else sock
        except OSError as refused:
            error = refused
            sock.close()
    raise error or OSError(f"{address.host} has no address")


def _tune(sock: Any) -> None:
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(_socket, name, None)  # not every system has each
        if option is not None:
            sock.setsockopt(_socket.IPPROTO_TCP, option, value)


def send_parts(sock: Any, parts: list[Any]) -> None:
    """Sends byte strings one after another without joining them.

    Raises:
        OSError: the connection is lost, or the peer took nothing for STALL_S_MAX.
    """
    if len(parts) == 1:
        sock.sendall(parts[0])
        return
    if isinstance(sock, _Tls):
        sock.sendall(b"".join(parts))
        return
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    at = 0
    while at < len(views):
        sent = sock.sendmsg(views[at : at + _PARTS_MAX])
        while at < len(views) and sent >= len(views[at]):
            sent -= len(views[at])
            at += 1
        if sent:
            views[at] = views[at][sent:]


class _Tls:
    """TLS that one thread may read while another writes.

    OpenSSL does not allow that on one connection, so each step holds a lock and never waits inside it; waiting is
    done outside, for the socket to become readable or writable.
    """

    def __init__(self, raw: Any, host: str):
        import select
        import socket
        import ssl

        self._select = select.select
        self._wants = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._lock = _thread.allocate_lock()
        self._timeout_s: float | None = STALL_S_MAX
        plain = socket.socket(fileno=raw.detach())
        try:
            plain.settimeout(CONNECT_S_MAX)
            self._sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        self._sock.setblocking(False)

    def settimeout(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s

    def recv_into(self, buffer: Any) -> int:
        while True:
            try:
                with self._lock:
                    return self._sock.recv_into(buffer)
            except self._wants as want:
                self._wait(want)

    def sendall(self, data: Any) -> None:
        rest = memoryview(data).cast("B")
        while len(rest):
            try:
                with self._lock:
                    rest = rest[self._sock.send(rest) :]
            except self._wants as want:
                self._wait(want)

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def _wait(self, want: Exception) -> None:
        reading = isinstance(want, self._wants[0])
        sockets = [self._sock]
        ready = self._select(sockets if reading else [], [] if reading else sockets, [], self._timeout_s)
        if not any(ready):
            raise TimeoutError("timed out")


def _printable(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url
