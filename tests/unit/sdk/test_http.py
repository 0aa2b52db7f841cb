"""Requests over connections that are kept, retried while the server is away."""

import socket
import threading

import pytest

from ingle.exceptions import AuthError, ConnectionError, InvalidError, NotFoundError, ServerError, VersionError
from ingle.sdk.config import Config
from ingle.sdk.dial import Address
from ingle.sdk.http import Http


class Peer:
    """Answers each request with the next of its answers; None: closes without one."""

    def __init__(self, *answers):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.config = Config(f"http://127.0.0.1:{self.listener.getsockname()[1]}", "secret", "a test")
        self.answers = list(answers)
        self.requests = []
        self.connections = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while self.answers:
            sock, _ = self.listener.accept()
            self.connections += 1
            with sock:
                while self.answers:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        piece = sock.recv(65536)
                        if not piece:
                            break
                        data += piece
                    if not data:
                        break
                    head, _, body = data.partition(b"\r\n\r\n")
                    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                    while len(body) < length:
                        body += sock.recv(65536)
                    self.requests.append((head, body))
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    sock.sendall(answer)

    def client(self, retry_s=0.0):
        return Http(lambda: self.config, retry_s)


def answer(body, status="200 OK", more=b""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode() + more + b"\r\n" + body


def test_one_connection_for_several_requests():
    peer = Peer(answer(b'{"a": 1}'), answer(b""), answer(b"x" * 300_000))
    http = peer.client()
    assert http.json("POST", "/v1/x", {"b": 2}) == {"a": 1}
    assert http.json("GET", "/v1/y") is None
    assert http.request("PUT", "/z", [b"a" * 100_000, b"b"]) == b"x" * 300_000
    assert peer.connections == 1
    head, body = peer.requests[0]
    assert (
        head.startswith(b"POST /v1/x HTTP/1.1\r\n") and b"Authorization: Bearer secret" in head and body == b'{"b":2}'
    )
    assert peer.requests[2][1] == b"a" * 100_000 + b"b"


def test_chunks_and_bodies_without_a_length():
    peer = Peer(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
    )
    http = peer.client()
    assert http.request("GET", "/") == b"abcde"
    assert http.request("GET", "/") == b""
    assert peer.connections == 1


def test_a_kept_connection_that_was_closed_is_no_failure():
    peer = Peer(answer(b"1"), None, answer(b"2"))
    http = peer.client()
    assert http.request("GET", "/") == b"1"
    assert http.request("GET", "/") == b"2"


def test_it_is_tried_again_while_the_server_is_away():
    peer = Peer(None, answer(b"", "503 Starting"), answer(b"here"))
    assert peer.client(retry_s=5).request("GET", "/") == b"here"
    free = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{free.getsockname()[1]}"
    free.close()
    with pytest.raises(ConnectionError, match="ingle up"):
        Http(lambda: Config(url, "t", "x"), 0.0).request("GET", "/")
    with pytest.raises(ConnectionError, match="ingle status"):
        Http(lambda: Config(url, "t", "x", local=True), 0.0).request("GET", "/")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (answer(b"", "401 No"), AuthError, "token from a test"),
        (answer(b'{"code":"version","message":"mine is 9"}', "426 No"), VersionError, "mine is 9"),
        (answer(b'{"code":"not_found","message":"no such app"}', "404 No"), NotFoundError, "no such app"),
        (answer(b"<html>", "500 No"), ServerError, "500"),
        (answer(b"not json"), ServerError, "not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", ConnectionError, "length"),
        (b"SMTP ready\r\n\r\n", ConnectionError, "not HTTP"),
    ],
)
def test_refusals(said, error, words):
    with pytest.raises(error, match=words):
        Peer(said).client().json("GET", "/v1/x")


def test_addresses():
    assert str(Address("http://host")) == "host:80" and Address("https://host").port == 443
    at = Address("https://[::1]:7090/base/")
    assert (at.host, at.port, at.tls, at.path, str(at)) == ("::1", 7090, True, "/base", "[::1]:7090")
    for wrong in (
        "host:7090",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://user@host",
        "http://a b",
        "http://a\r\nb",
    ):
        with pytest.raises(InvalidError):
            Address(wrong)
