"""Requests to the server: control as JSON, blobs as they are.

A client of our own, as `http.client` takes 25 ms to import and copies each large body twice.
"""

from __future__ import annotations

import time

from ingle.exceptions import AuthError, ConnectionError, ServerError, VersionError
from ingle.sdk.dial import Address, connect, send_parts
from ingle.wire.errors import error_of, unpack_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ingle.sdk.config import Config

HEAD_BYTES_MAX = 64 << 10
BODY_BYTES_MAX = 16 << 30
IDLE_CONNECTIONS_MAX = 4
RETRY_DELAY_S_MAX = 2.0
#: What a server says that starts or stops, or a proxy before it: as good as no answer.
UNREADY = (502, 503, 504)


class BrokenAnswer(OSError):
    """What came back is not HTTP, or ended in the middle."""


class Http:
    """Requests to one server, over connections that are kept; any thread may use it.

    Args:
        locate: says where the server is now; it may move when it starts again.
        retry_s: seconds for which an unreachable server is tried again. Every request of ours may be said twice.
    """

    def __init__(self, locate: Callable[[], Config], retry_s: float):
        self._locate = locate
        self._retry_s = retry_s
        self._idle: list[tuple[str, _Wire]] = []

    def json(self, method: str, path: str, value: Any = None, retry_s: float | None = None) -> Any:
        """The answer to a request, both as JSON values. `retry_s`: instead of the client's own.

        Raises:
            ingle.Error: what the server refused, as itself; or it cannot be reached.
        """
        import json

        parts = [] if value is None else [json.dumps(value, separators=(",", ":")).encode()]
        body = self.request(method, path, parts, retry_s)
        try:
            return json.loads(bytes(body)) if body else None
        except ValueError:
            raise ServerError(f"the server's answer to {method} {path} is not JSON") from None

    def request(
        self, method: str, path: str, parts: list[Any] | tuple[Any, ...] = (), retry_s: float | None = None
    ) -> bytes | bytearray:
        """The body of the answer; `parts`, byte strings, are that of the request.

        Raises:
            ingle.Error: what the server refused, as itself; or it cannot be reached.
        """
        deadline, delay = None, 0.05
        while True:
            config = self._locate()
            try:
                status, body = self._exchange(config, method, path, list(parts))
                if status in UNREADY:
                    raise BrokenAnswer(f"it answered with status {status}")
                break
            except OSError as error:
                now = time.monotonic()
                deadline = deadline or now + (self._retry_s if retry_s is None else retry_s)
                if now + delay > deadline:
                    raise ConnectionError(unreachable(config, error)) from None
                time.sleep(delay)
                delay = min(delay * 2, RETRY_DELAY_S_MAX)
        if status >= 400:
            raise refusal(config, status, body)
        return body

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    def _exchange(self, config: Config, method: str, path: str, parts: list[Any]) -> tuple[int, bytes | bytearray]:
        while self._idle:
            try:
                url, wire = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if url != config.url:
                wire.close()
                continue
            try:
                return self._talk(config, wire, method, path, parts)
            except OSError:
                continue  # the server closes idle connections: not a failure yet
        return self._talk(config, _Wire(Address(config.url)), method, path, parts)

    def _talk(
        self, config: Config, wire: _Wire, method: str, path: str, parts: list[Any]
    ) -> tuple[int, bytes | bytearray]:
        try:
            status, body, keep = wire.exchange(method, path, config.headers(), parts)
        except BaseException:
            wire.close()
            raise
        if keep and len(self._idle) < IDLE_CONNECTIONS_MAX:
            self._idle.append((config.url, wire))
        else:
            wire.close()
        return status, body


class _Wire:
    """One connection that carries one request after another."""

    def __init__(self, address: Address):
        self._address = address
        self._sock = connect(address)
        self._buffer = bytearray()

    def close(self) -> None:
        self._sock.close()

    def exchange(self, method: str, path: str, headers: str, parts: list[Any]) -> tuple[int, bytes | bytearray, bool]:
        """Status and body of the answer, and whether the connection may be used again.

        Raises:
            OSError: it broke.
        """
        length = sum(map(len, parts))
        head = (
            f"{method} {self._address.path}{path} HTTP/1.1\r\nHost: {self._address}\r\n{headers}"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()
        try:
            send_parts(self._sock, [head, *parts])
        except (BrokenPipeError, ConnectionResetError):
            if not parts:
                raise
            # The server may have refused a large body before its end: its answer says why.
        status, fields = read_head(self._sock, self._buffer)
        if status == 204 or status == 304:
            body: bytes | bytearray = b""
        elif "chunked" in fields.get("transfer-encoding", "").lower():
            body = self._chunks()
        elif "content-length" in fields:
            body = self._exactly(_length(fields["content-length"]))
        else:
            body, fields = self._to_end(), {"connection": "close"}
        return status, body, fields.get("connection", "").lower() != "close"

    def _exactly(self, length: int) -> bytearray:
        if length <= len(self._buffer):
            body = self._buffer[:length]
            del self._buffer[:length]
            return body
        body = bytearray(length)
        have = len(self._buffer)
        body[:have] = self._buffer
        self._buffer.clear()
        view = memoryview(body)
        while have < length:
            count = self._sock.recv_into(view[have:])
            if not count:
                raise BrokenAnswer(f"the answer ended after {have} of {length} bytes")
            have += count
        return body

    def _chunks(self) -> bytearray:
        body = bytearray()
        while True:
            size = _length(read_line(self._sock, self._buffer).partition(b";")[0].decode("ascii", "replace"), 16)
            if len(body) + size > BODY_BYTES_MAX:
                raise BrokenAnswer("the answer does not end")
            if size == 0:
                while read_line(self._sock, self._buffer):
                    pass
                return body
            body += self._exactly(size)
            read_line(self._sock, self._buffer)

    def _to_end(self) -> bytearray:
        body = bytearray(self._buffer)
        chunk = bytearray(64 << 10)
        while count := self._sock.recv_into(chunk):
            body += memoryview(chunk)[:count]
            if len(body) > BODY_BYTES_MAX:
                raise BrokenAnswer("the answer does not end")
        return body


def read_line(sock: Any, buffer: bytearray) -> bytes:
    """The next line without its end; what was read beyond it stays in the buffer.

    Raises:
        BrokenAnswer: the peer went away, or the line does not end.
    """
    chunk = None
    while (end := buffer.find(b"\n")) < 0:
        if len(buffer) > HEAD_BYTES_MAX:
            raise BrokenAnswer("the answer is not HTTP: its head does not end")
        chunk = chunk or bytearray(16 << 10)
        count = sock.recv_into(chunk)
        if not count:
            raise BrokenAnswer("the connection was closed without an answer")
        buffer += memoryview(chunk)[:count]
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line.rstrip(b"\r")


def read_head(sock: Any, buffer: bytearray) -> tuple[int, dict[str, str]]:
    """Status and header fields (names in lower case) of an answer.

    Raises:
        BrokenAnswer: it is not HTTP.
    """
    while True:
        words = read_line(sock, buffer).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise BrokenAnswer("the answer is not HTTP: is the server URL right?")
        fields: dict[str, str] = {}
        size = 0
        while line := read_line(sock, buffer):
            size += len(line)
            if size > HEAD_BYTES_MAX:
                raise BrokenAnswer("the answer is not HTTP: its head does not end")
            name, _, value = line.partition(b":")
            fields[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
        status = int(words[1])
        if status < 200 and status != 101:  # 100 Continue and the like
            continue
        return status, fields


def refusal(config: Config, status: int, body: bytes | bytearray) -> Exception:
    """The error that an answer with a status of 400 or more means."""
    failure = unpack_failure(bytes(body))
    known = body[:1] == b"{" and bool(failure.message)
    if status == 401:
        return AuthError(
            f"the server at {config.url} refused the token from {config.token_from}: "
            f"{failure.message if known else 'it is not the token of this server'}"
        )
    if status == 426:
        from ingle.wire.version import WIRE_VERSION

        said = failure.message if known else "another version of Ingle runs there"
        return VersionError(
            f"the server at {config.url} speaks another wire version than this client ({WIRE_VERSION}): {said}"
        )
    if known:
        return error_of(failure)
    return ServerError(f"the server at {config.url} answered with status {status}")


def unreachable(config: Config, error: BaseException) -> str:
    """Says that a server cannot be reached, and what to do."""
    cure = "see `ingle status`" if config.local else "is the URL right, and is it running (`ingle up`)?"
    return f"cannot reach the server at {config.url}: {_reason(error)}; {cure}"


def _reason(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)


def _length(text: str, base: int = 10) -> int:
    try:
        value = int(text.strip(), base)
    except ValueError:
        raise BrokenAnswer("the answer has no valid length") from None
    if not 0 <= value <= BODY_BYTES_MAX:
        raise BrokenAnswer(f"the answer says it has {value} bytes")
    return value
