"""The node's side of the runner wire, in small: starts a runner as a plain child process and talks to it."""

import array
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cloudpickle
import pytest

import ingle.runner
from ingle.runner import wire

DEADLINE_S = 20.0


def _pythons() -> list[str]:
    """Interpreters under test: this one, and those that INGLE_TEST_PYTHONS lists (separated by colons)."""
    more = [path for path in os.environ.get("INGLE_TEST_PYTHONS", "").split(":") if path]
    return [sys.executable, *more]


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    """What a container gets of ours: found last on the path, whatever the interpreter has installed."""
    directory = tmp_path_factory.mktemp("lib")
    (directory / "ingle").symlink_to(Path(ingle.runner.__file__).parents[1])
    (directory / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    return directory


@pytest.fixture(params=_pythons(), ids=os.path.basename)
def python(request) -> str:
    return request.param


class Answer:
    """One OUTPUTS message."""

    def __init__(self, runner: "Runner", parts: list[bytes]) -> None:
        self.input, outcome, took, payload, file = parts
        self.outcome = outcome.decode()
        self.took_us = int(took)
        self.file = file.decode()
        self.payload = (runner.io / "out" / self.file).read_bytes() if file else payload

    @property
    def value(self):
        assert self.outcome == "returned", self.raised
        return pickle.loads(self.payload)

    @property
    def raised(self):
        """(pickle, type name, text, formatted traceback, frames)"""
        assert self.outcome == "raised", self.outcome
        return wire.unpack_raised(self.payload)

    @property
    def error(self) -> BaseException:
        return pickle.loads(self.raised[0])


class Runner:
    """A runner that is a child of this test."""

    def __init__(
        self, directory: Path, library: Path, code: str, module: str = "user_code", command: tuple[str, ...] = ()
    ) -> None:
        self.io = directory / "io"
        self.root = directory / "root"
        for path in (self.io / "in", self.io / "out", self.root):
            path.mkdir(parents=True, exist_ok=True)
        self.module = module
        if code:
            (self.root / f"{module}.py").write_text(textwrap.dedent(code))
        path = self.io / wire.SOCKET_NAME
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here = os.open(".", os.O_RDONLY)
        os.chdir(self.io)  # the path may be longer than a socket's name can be
        self.listener.bind(wire.SOCKET_NAME)
        os.fchdir(here)
        os.close(here)
        self.listener.listen()
        environment = {**os.environ, "INGLE_IO_DIR": str(self.io), "INGLE_ROOT_DIR": str(self.root)}
        self.process = subprocess.Popen(
            [*command, str(library / "ingle/runner/__main__.py")], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
        )  # fmt: skip
        self.listener.settimeout(DEADLINE_S)
        self.stream, _ = self.listener.accept()
        self.hello = wire.unpack(self.stream.recv(4096))
        self.inbox, self.runner_inbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control, self._runner_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._count = 0
        self.out = b""
        self.err = b""

    def set_up(self, qualname: str = "f", **more: bytes) -> "Runner":
        setup = {
            b"container": b"co-1", b"app": b"ap-1", b"app_name": b"an app", b"function": b"fu-1",
            b"function_name": qualname.encode(), b"module": self.module.encode(), b"qualname": qualname.encode(),
            **{key.encode(): value for key, value in more.items()},
        }  # fmt: skip
        descriptors = array.array("i", [self.runner_inbox.fileno(), self._runner_control.fileno()])
        self.stream.sendmsg(
            [wire.pack(wire.SETUP, *wire.pack_pairs(setup))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        )
        self._runner_control.close()
        self.control.settimeout(DEADLINE_S)
        return self

    def ready(self) -> dict[bytes, bytes]:
        kind, *pairs = self.receive()
        assert kind == wire.READY, wire.unpack_raised(pairs[0])[3]
        return wire.unpack_pairs(pairs)

    def receive(self) -> list[bytes]:
        return wire.unpack(self.control.recv(wire.MESSAGE_BYTES_MAX))

    def put(self, *args, name: str = "", kwargs=None, payload: bytes | None = None, file: str = "") -> str:
        name = name or f"fc-test:{self._count}"
        self._count += 1
        data = cloudpickle.dumps((args, kwargs or {})) if payload is None and not file else payload or b""
        if len(data) > wire.INLINE_BYTES_MAX:
            file = f"argument-{self._count}"
            (self.io / "in" / file).write_bytes(data)
            data = b""
        self.inbox.send(wire.pack(wire.INPUT, name.encode(), data, file.encode()))
        return name

    def answer(self) -> Answer:
        kind, *parts = self.receive()
        assert kind == wire.OUTPUTS, kind
        return Answer(self, parts)

    def call(self, *args, **kwargs) -> Answer:
        name = self.put(*args, kwargs=kwargs)
        answer = self.answer()
        assert answer.input.decode() == name
        return answer

    def item(self):
        kind, _, index, payload, file = self.receive()
        assert kind == wire.YIELDED, kind
        data = (self.io / "out" / file.decode()).read_bytes() if file else payload
        return int(index), pickle.loads(data)

    def cancel(self, name: str, reason: bytes = b"cancelled", signalled: bool = True) -> None:
        self.control.send(wire.pack(wire.CANCEL, name.encode(), reason))
        if signalled:
            self.process.send_signal(wire.CANCEL_SIGNAL)

    def credit(self, name: str, taken: int) -> None:
        self.control.send(wire.pack(wire.CREDIT, name.encode(), b"%d" % taken))

    def silent(self, seconds: float = 0.1) -> bool:
        """Does nothing arrive on control for so long?"""
        return not select.select([self.control], [], [], seconds)[0]

    def read_until(self, text: bytes, stream: str = "stdout") -> bytes:
        """What stood in the pipe until the text came."""
        pipe = getattr(self.process, stream)
        data = b""
        end = time.monotonic() + DEADLINE_S
        while text not in data:
            assert select.select([pipe], [], [], max(0, end - time.monotonic()))[0], (
                f"{text!r} never came, only {data!r}"
            )
            more = os.read(pipe.fileno(), 65536)
            assert more, f"{text!r} never came, only {data!r}"
            data += more
        return data

    def wait(self) -> int:
        """Until the process has ended: its exit code; `out` and `err` hold what it printed."""
        self.out, self.err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode

    def close(self) -> None:
        for end in (self.inbox, self.runner_inbox, self.control, self._runner_control, self.stream, self.listener):
            end.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def same_python(python) -> None:
    """For code that travels by value: client and container have the same minor version of Python."""
    if python != sys.executable:
        pytest.skip("byte code of one version of Python means nothing to another")


@pytest.fixture
def start(tmp_path, library, python):
    """`start(code)` is a runner that waits for its set-up; `start(code, "f")` one that is ready for inputs of `f`."""
    runners: list[Runner] = []

    def begin(code: str = "", qualname: str = "", flags: tuple[str, ...] = (), **more) -> Runner:
        module = more.pop("module", "user_code")
        runner = Runner(tmp_path / str(len(runners)), library, code, module, (python, *flags))
        runners.append(runner)
        if qualname:
            runner.set_up(qualname, **more).ready()
        return runner

    yield begin
    for runner in runners:
        runner.close()
