"""Calls from inside a container: through the runner's socket, blobs as files."""

import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ingle
from ingle.exceptions import ConnectionError, InvalidError
from ingle.runner import context, wire
from ingle.sdk import connection
from ingle.wire import api
from ingle.wire.codec import split


class Node:
    """The node's end of `node.sock`: runs `double` for every input."""

    def __init__(self, directory):
        (directory / "in").mkdir()
        (directory / "out").mkdir()
        self.directory = directory
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / wire.SOCKET_NAME))
        self.listener.listen()
        self.hellos, self.heard, self.clients = [], [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        data = bytearray()

        def more():
            piece = client.recv(1 << 16)
            if not piece:
                raise EOFError
            data.extend(piece)

        def take(count):
            while len(data) < count:
                more()
            taken = bytes(data[:count])
            del data[:count]
            return taken

        try:
            while (length := wire.message_length(bytes(data))) is None:
                more()
            self.hellos.append(wire.unpack(take(length)))
            while True:
                (length,) = struct.unpack("<I", take(4))
                self._hear(client, *api.CODEC.decode(take(length)))
        except (EOFError, OSError):
            return

    def _hear(self, client, message, payload):
        self.heard.append(message)
        if not isinstance(message, api.PutInputs):
            return
        for offset, data in enumerate(split(payload, message.sizes)):
            if offset in message.blobs:
                assert data.startswith(b"file:")
                data = (self.directory / "out" / data[5:].decode()).read_bytes()
            args, _ = pickle.loads(data)
            value = pickle.dumps(2 * args[0])
            blobs = []
            if len(value) > 1 << 20:
                (self.directory / "in" / "result").write_bytes(value)
                value, blobs = b"file:result", [0]
            frame = api.CODEC.encode(
                api.Outputs([f"{message.call}:{message.first + offset}"], ["returned"], [len(value)], blobs), value
            )
            client.sendall(struct.pack("<I", len(frame)) + frame)

    def close(self):
        self.listener.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def node(monkeypatch, tmp_path):
    connection.disconnect()
    node = Node(tmp_path)
    monkeypatch.setattr(context, "in_container", True)
    monkeypatch.setattr(context, "io_dir", str(tmp_path))
    monkeypatch.setattr(context, "app", "ap-1")
    monkeypatch.setattr(context, "functions", {"double": "fu-1"})
    monkeypatch.setenv("INGLE_RECONNECT_S", "0.2")
    yield node
    connection.disconnect()
    node.close()


def double(x):
    return 2 * x


def other(x):
    return x


def test_running_an_app_there_is_an_error_that_shows_the_fix(node):
    with pytest.raises(ingle.exceptions.InvalidError, match="__main__"), ingle.App("inside").run():
        pass


def test_calls(node):
    app = ingle.App("inside")
    f = app.function()(double)
    assert f.remote(4) == 8 and app.app_id == "ap-1"
    assert list(f.map(range(500))) == [2 * i for i in range(500)]
    assert node.hellos == [[b"hello", b"client", str(os.getpid()).encode(), b"%d.%d" % sys.version_info[:2]]]
    assert isinstance(node.heard[0], api.Hello) and node.heard[1].function == "fu-1"


def test_large_values_go_as_files(node):
    f = ingle.App("inside").function()(double)
    assert f.remote(b"x" * (1 << 20)) == b"x" * (2 << 20)
    assert not [name for name in os.listdir(node.directory / "out") if name.startswith(".")]


def test_what_a_container_cannot_do(node):
    app = ingle.App("inside")
    with pytest.raises(InvalidError, match="runs already"), app.run():
        pass
    with pytest.raises(InvalidError, match="no function 'other'"):
        app.function()(other).remote(1)
    assert not ingle.is_local() and ingle.current_input_id() is None


def test_a_forked_child_connects_by_itself(node):
    f = ingle.App("inside").function()(double)
    assert f.remote(1) == 2
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if f.remote(2) == 4 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert f.remote(3) == 6 and len(node.hellos) == 2


def test_the_node_is_gone(node):
    f = ingle.App("inside").function()(double)
    assert f.remote(1) == 2
    here = connection.current()
    node.close()
    os.unlink(node.directory / wire.SOCKET_NAME)
    deadline = threading.Event()
    for _ in range(1000):
        if here.error is not None or deadline.wait(0.01):
            break
    assert isinstance(here.error, ConnectionError)
    with pytest.raises(ConnectionError, match="node"):
        f.remote(1)


def test_decorators_only_register():
    code = """
import sys
import ingle
app = ingle.App("x", image=ingle.Image.debian_slim("3.11"))
@app.function(cpu=1, whatever=2)
def f(x): return x
@app.local_entrypoint()
def main(): ...
assert f._ingle_raw(3) == 3 and f.local(4) == 4 and f._options is None
assert "ingle.model" not in sys.modules and "typing" not in sys.modules
"""
    source = str(Path(ingle.__file__).parent.parent)
    subprocess.run(
        [sys.executable, "-S", "-c", code],
        check=True,
        cwd=source,
        env={"INGLE_CONTAINER": "co-1\nap-1\nx\nfu-1\nf", "PYTHONPATH": source},
    )
