"""Answers of a server of a few lines: streams of lines, whole and in pieces, and refusals."""

import json
import socket
import threading

import pytest

from ingle import exceptions as ex
from ingle.cli import api


@pytest.fixture
def serve(monkeypatch):
    """Answers one request with these bytes, and returns the request's."""
    heard = []

    def start(*pieces):
        listener = socket.create_server(("127.0.0.1", 0))

        def answer():
            peer, _ = listener.accept()
            with peer, listener:
                heard.append(peer.recv(65536).decode())
                for piece in pieces:
                    peer.sendall(piece)

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("INGLE_SERVER_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("INGLE_TOKEN", "secret")
        return heard

    return start


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_lines_come_as_they_are_sent(serve):
    heard = serve(HEAD, chunk(b'{"n": 1}\n{"n"'), chunk(b": 2}\n"), chunk(b'{"n": 3}'), b"0\r\n\r\n")
    assert [line["n"] for line in api.lines("/v1/apps/ap-1/logs", tail="5")] == [1, 2, 3]
    assert heard[0].startswith("GET /v1/apps/ap-1/logs?tail=5 HTTP/1.1\r\n")
    assert "Authorization: Bearer secret\r\n" in heard[0]


def test_lines_without_chunks(serve):
    serve(b"HTTP/1.1 200 OK\r\n\r\n", b'{"n": 1}\n', b'{"n": 2}\n')
    assert [line["n"] for line in api.lines("/x")] == [1, 2]


def test_a_refusal_is_an_error(serve):
    body = json.dumps({"code": "not_found", "message": "no such app"}).encode()
    serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    with pytest.raises(ex.NotFoundError, match="no such app"):
        list(api.lines("/x"))


@pytest.mark.parametrize("rest", [b"", b"zz\r\n", b"5\r\nab"])
def test_an_answer_that_breaks_off_is_an_error(serve, rest):
    serve(HEAD + rest)
    with pytest.raises(ex.ConnectionError):
        list(api.lines("/x"))


def test_nobody_there(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("INGLE_SERVER_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
    monkeypatch.setenv("INGLE_TOKEN", "secret")
    with pytest.raises(ex.ConnectionError, match="cannot reach"):
        list(api.lines("/x"))
