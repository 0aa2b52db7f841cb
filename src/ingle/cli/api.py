"""What the commands ask the server: JSON, streams of lines, WebSockets. They look for a server, and start none."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from ingle import exceptions as ex

#: A server that restarts is tried again for so long.
RETRY_S = 3.0


def server() -> Any:
    """The sdk.config.Config of the configured server, or of this machine's.

    Raises:
        ConnectionError: none is configured, and none runs here.
    """
    from ingle.sdk import local, profile

    found = profile.configured() or local.find()
    if found is None:
        raise ex.ConnectionError(
            "no server runs on this machine, and none is configured: start one with `ingle up --detach`, or put "
            "server_url and token into ~/.ingle.toml"
        )
    return found


def get(path: str, **query: str) -> Any:
    """The JSON that the server answers.

    Raises:
        Error: what the server says, or that there is none.
    """
    return _request("GET", _with(path, query), None)


def post(path: str) -> Any:
    """The JSON that the server answers to an empty object.

    Raises:
        Error: as `get`.
    """
    return _request("POST", path, {})


def _request(method: str, path: str, value: Any) -> Any:
    from ingle.sdk.http import Http

    client = Http(server, RETRY_S)
    try:
        return client.json(method, path, value)
    finally:
        client.close()


def lines(path: str, **query: str) -> Iterator[dict[str, Any]]:
    """The values of an NDJSON answer, each as it comes.

    Raises:
        Error: as `get`.
    """
    from ingle.sdk.dial import Address, connect
    from ingle.sdk.http import BrokenAnswer, read_head, refusal, unreachable

    config = server()
    address = Address(config.url)
    try:
        sock = connect(address)
        try:
            sock.settimeout(None)  # `--follow` waits as long as nothing is printed
            head = f"GET {address.path}{_with(path, query)} HTTP/1.1\r\nHost: {address}\r\n{config.headers()}"
            sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
            buffer = bytearray()
            status, fields = read_head(sock, buffer)
            chunked = "chunked" in fields.get("transfer-encoding", "").lower()
            pieces = _chunks(sock, buffer) if chunked else _pieces(sock, buffer)
            if status >= 400:
                raise refusal(config, status, b"".join(pieces))
            rest = b""
            for piece in pieces:
                *whole, rest = (rest + piece).split(b"\n")
                yield from (json.loads(line) for line in whole if line)
            if rest:
                yield json.loads(rest)
        finally:
            sock.close()
    except (OSError, BrokenAnswer) as error:
        raise ex.ConnectionError(unreachable(config, error)) from None


def _chunks(sock: Any, buffer: bytearray) -> Iterator[bytes]:
    from ingle.sdk.http import BrokenAnswer, read_line

    while True:
        text = read_line(sock, buffer).partition(b";")[0]
        try:
            left = int(text, 16)
        except ValueError:
            raise BrokenAnswer("the answer is not HTTP") from None
        if left == 0:
            return
        while left:
            if not buffer and not _more(sock, buffer):
                raise BrokenAnswer("the answer ended too early")
            piece = bytes(buffer[:left])
            del buffer[:left]
            left -= len(piece)
            yield piece
        read_line(sock, buffer)


def _pieces(sock: Any, buffer: bytearray) -> Iterator[bytes]:
    while buffer or _more(sock, buffer):
        yield bytes(buffer)
        buffer.clear()


def _more(sock: Any, buffer: bytearray) -> int:
    piece = bytearray(64 << 10)
    count: int = sock.recv_into(piece)
    buffer += memoryview(piece)[:count]
    return count


def websocket(path: str, **query: str) -> Any:
    """A connected sdk.websocket.WebSocket.

    Raises:
        Error: as `get`.
    """
    from ingle.sdk.http import unreachable
    from ingle.sdk.websocket import WebSocket

    config = server()
    try:
        return WebSocket(config, _with(path, query))
    except OSError as error:
        raise ex.ConnectionError(unreachable(config, error)) from None


def _with(path: str, query: dict[str, str]) -> str:
    return path + ("?" + urlencode(query) if query else "")
