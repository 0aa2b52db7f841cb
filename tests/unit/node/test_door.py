"""Who may come in by node.sock."""

import socket

import pytest
from unit.node.stub import until

from ingle.node import door as doors
from ingle.node.door import Door, message_end
from ingle.runner import wire

RUNNER = wire.pack(wire.HELLO, b"runner", b"1", b"3.11")
CLIENT = wire.pack(wire.HELLO, b"client", b"7", b"3.11")


class Guests:
    def __init__(self, directory):
        self.directory = directory
        self.runners, self.clients = [], []
        self.door = Door(
            directory,
            on_runner=lambda sock, said: self.runners.append((sock, said)),
            on_client=lambda sock, rest: self.clients.append((sock, rest)),
        )
        self.door.open()

    def come(self, *said: bytes) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.directory / wire.SOCKET_NAME))
        sock.setblocking(False)
        for words in said:
            sock.sendall(words)
        return sock

    def close(self):
        self.door.close()
        for sock, _ in self.runners + self.clients:
            sock.close()


@pytest.fixture
async def guests(tmp_path):
    guests = Guests(tmp_path)
    yield guests
    guests.close()


def gone(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_runner_and_client_are_told_apart(guests):
    with guests.come(RUNNER), guests.come(CLIENT + b"more"):
        await until(lambda: guests.runners and guests.clients)
        assert guests.runners[0][1] == [wire.HELLO, b"runner", b"1", b"3.11"] and guests.clients[0][1] == b"more"


async def test_hello_in_pieces(guests):
    with guests.come() as sock:
        for at in range(len(RUNNER)):
            sock.sendall(RUNNER[at : at + 1])
            await until(lambda: True)
        await until(lambda: guests.runners)


@pytest.mark.parametrize(
    "words",
    [
        b"\xff" * 100,
        b"\x01\x00" + b"\xff" * 4,
        wire.pack(b"hello"),
        wire.pack(wire.HELLO, b"king", b"1", b""),
        b"\x00\x00",
    ],
)
async def test_who_says_something_else_is_shown_out(guests, words):
    with guests.come(words) as sock:
        await until(lambda: gone(sock))
        assert not guests.runners and not guests.clients


async def test_who_says_nothing_is_shown_out_in_time(guests, monkeypatch):
    monkeypatch.setattr(doors, "HELLO_S", 0.02)
    with guests.come() as sock:
        await until(lambda: gone(sock))


async def test_strangers_are_bounded(guests):
    socks = [guests.come() for _ in range(doors.STRANGERS_MAX)]
    await until(lambda: len(guests.door._strangers) == doors.STRANGERS_MAX)
    with guests.come() as one_more:
        await until(lambda: gone(one_more))
    for sock in socks:
        sock.close()


async def test_a_deep_directory(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    door = Door(deep, on_runner=lambda *a: None, on_client=lambda *a: None)
    door.open()
    assert (deep / wire.SOCKET_NAME).is_socket()
    door.close()
    door.close()


def test_where_a_message_ends():
    assert message_end(RUNNER) == len(RUNNER) and message_end(RUNNER + b"x") == len(RUNNER)
    assert all(message_end(RUNNER[:at]) is None for at in range(len(RUNNER)))
