"""The WebSocket client against a peer that is played byte by byte."""

import binascii
import hashlib
import os
import socket
import struct
import threading

import pytest

from ingle.exceptions import AuthError, ServerError, VersionError
from ingle.sdk import websocket
from ingle.sdk.config import Config
from ingle.sdk.websocket import WebSocket
from ingle.wire.codec import FrameError

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    """The server's side: answers the handshake, then does as it is told."""

    def __init__(self, answer=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.config = Config(f"http://127.0.0.1:{self.listener.getsockname()[1]}", "secret", "a test")
        self.answer = answer
        self.head = b""
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self):
        self.sock, _ = self.listener.accept()
        while b"\r\n\r\n" not in self.head:
            self.head += self.sock.recv(4096)
        fields = dict(line.split(b": ", 1) for line in self.head.split(b"\r\n")[1:] if b": " in line)
        accept = binascii.b2a_base64(hashlib.sha1(fields[b"Sec-WebSocket-Key"] + GUID).digest(), newline=False)
        self.sock.sendall(
            self.answer
            or b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )

    def connect(self):
        ws = WebSocket(self.config, "/v1/session")
        self.thread.join()
        return ws

    def read(self):
        """Code and unmasked payload of the client's next frame, and whether its mask was zero."""
        first, second = self._exactly(2)
        length = second & 0x7F
        assert second & 0x80, "a client's frames are masked"
        if length == 126:
            (length,) = struct.unpack(">H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._exactly(8))
        mask = self._exactly(4)
        data = self._exactly(length)
        if mask != b"\0\0\0\0":
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        assert first & 0x80
        return first & 0x0F, data, mask == b"\0\0\0\0"

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            assert piece
            data += piece
        return data

    def close(self):
        self.thread.join()
        self.listener.close()
        self.sock.close()


def frame(code, data, final=True):
    head = bytes([(0x80 if final else 0) | code])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 1 << 16:
        return head + b"\x7e" + struct.pack(">H", len(data)) + data
    return head + b"\x7f" + struct.pack(">Q", len(data)) + data


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def test_handshake(peer):
    peer.connect()
    assert b"Authorization: Bearer secret\r\n" in peer.head and b"Ingle-Wire: 1\r\n" in peer.head
    assert peer.head.startswith(b"GET /v1/session HTTP/1.1\r\n")


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 1000, 16 << 10, (16 << 10) + 1, 70_000, 300_000])
def test_sizes_both_ways(peer, size):
    ws = peer.connect()
    data = os.urandom(size)
    sender = threading.Thread(target=lambda: ws.send([data[:10], data[10:]]))
    sender.start()
    assert peer.read() == (2, data, size > websocket.MASKED_BYTES_MAX)
    sender.join()
    sender = threading.Thread(target=lambda: peer.sock.sendall(frame(2, data)))
    sender.start()
    assert ws.recv() == data
    sender.join()


def test_fragments_and_control_frames_between_them(peer):
    ws = peer.connect()
    peer.sock.sendall(
        frame(2, b"one ", False) + frame(9, b"alive?") + frame(0, b"two ", False) + frame(10, b"") + frame(0, b"three")
        + frame(2, b"next")
    )  # fmt: skip
    assert ws.recv() == b"one two three"
    assert peer.read()[:2] == (10, b"alive?")
    assert ws.recv() == b"next"


def test_bytes_trickle(peer):
    ws = peer.connect()
    data = frame(2, b"x" * 500)

    def trickle():
        for i in range(0, len(data), 7):
            peer.sock.sendall(data[i : i + 7])

    sender = threading.Thread(target=trickle)
    sender.start()
    assert ws.recv() == b"x" * 500
    sender.join()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xc2\x00", "extension"),
        (b"\x82\x80\0\0\0\0", "masked"),
        (frame(1, b"text"), "type 1"),
        (frame(3, b""), "type 3"),
        (frame(11, b""), "type 11"),
        (frame(0, b"x"), "order"),
        (frame(2, b"", False) + frame(2, b""), "order"),
        (b"\x89\x7e\x01\x00" + b"x" * 256, "control"),
        (b"\x82\x7f" + struct.pack(">Q", 1 << 40), "more than"),
    ],
)
def test_malformed(peer, raw, words):
    ws = peer.connect()
    peer.sock.sendall(raw)
    with pytest.raises(FrameError, match=words):
        ws.recv()


def test_the_end(peer):
    ws = peer.connect()
    peer.sock.sendall(frame(8, struct.pack(">H", 1001) + b"going away"))
    with pytest.raises(OSError, match="going away"):
        ws.recv()
    ws.close()
    assert peer.read()[0] == 8
    ws.close()


def test_the_end_in_the_middle(peer):
    ws = peer.connect()
    peer.sock.sendall(frame(2, b"x" * 300_000)[:1000])
    peer.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError):
        ws.recv()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", AuthError, "token from a test"),
        (b"HTTP/1.1 426 Upgrade\r\nContent-Length: 4\r\n\r\noops", VersionError, "wire version"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", ServerError, "500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OSError, "200"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", OSError, "503"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", OSError, "not HTTP"),
        (b"HTTP/1.1 101 S\r\nSec-WebSocket-Accept: wrong\r\n\r\n", OSError, "not that of a WebSocket"),
        (b"x" * 100_000, OSError, "not HTTP"),
    ],
)
def test_refusals(answer, error, words):
    peer = Peer(answer)
    with pytest.raises(error, match=words):
        peer.connect()
    peer.close()
