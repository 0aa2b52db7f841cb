"""Ingle from outside: real processes of the real command, in a state directory of its own, each wait with a deadline."""

import json
import os
import queue
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingle.testing import Processes, find_leftovers

TOP = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
BIN = Path(sys.executable).parent
INGLE = str(BIN / "ingle")
#: The first run of all builds the image.
RUN_S = 240.0


class Program:
    """A command that runs: its output as it comes, and its end."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], cwd: Path | str):
        self.argv = list(argv)
        self.process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, kept), daemon=True)
            for pipe, kept in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Any, kept: list[str]) -> None:
        with pipe:
            for line in pipe:
                kept.append(line.rstrip("\n"))
                self._lines.put(line)

    @property
    def pid(self) -> int:
        return self.process.pid

    def all(self) -> str:
        return "\n".join([f"$ {' '.join(self.argv)}", *self.stdout, "--- stderr", *self.stderr])

    def see(self, text: str, bound_s: float = 30.0) -> str:
        """The first line, of either stream, in which the pattern is found."""

        def found() -> str | None:
            return next((line for line in [*self.stdout, *self.stderr] if re.search(text, line)), None)

        deadline = time.monotonic() + bound_s
        while not (line := found()):
            assert time.monotonic() < deadline, f"{text!r} was not seen within {bound_s:g} s:\n{self.all()}"
            ended = self.process.poll() is not None and not any(r.is_alive() for r in self._readers)
            assert not ended or found(), f"it ended before {text!r} was seen:\n{self.all()}"
            try:
                self._lines.get(timeout=0.1)
            except queue.Empty:
                pass
        return line

    def wait(self, bound_s: float = RUN_S) -> int:
        try:
            code = self.process.wait(bound_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {bound_s:g} s:\n{self.all()}") from None
        for reader in self._readers:
            reader.join(10)
        return code

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Done:
    """A command that has ended."""

    def __init__(self, program: Program, code: int):
        self.code = code
        self.stdout = "\n".join(program.stdout)
        self.stderr = "\n".join(program.stderr)
        self.all = f"exit code {code}\n{program.all()}"

    def ok(self) -> "Done":
        assert self.code == 0, self.all
        return self

    def json(self) -> Any:
        return json.loads(self.ok().stdout)


class Place(Processes):
    """A platform of real processes (see ingle.testing.Processes), with commands run and read as a user does."""

    def __init__(self, state: Path | None = None):
        super().__init__(state, check=False)
        self.running = False

    def program(self, *argv: str, cwd: Path | str = PROGRAMS, env: dict[str, str] | None = None) -> Program:
        """Starts `ingle …` (or another command, by its absolute path) and returns at once."""
        command = list(argv) if argv[0].startswith("/") else [INGLE, *argv]
        return Program(command, self.env(PYTHONUNBUFFERED="1", **(env or {})), cwd)

    def run(
        self, *argv: str, cwd: Path | str = PROGRAMS, bound_s: float = RUN_S, env: dict[str, str] | None = None
    ) -> Done:
        program = self.program(*argv, cwd=cwd, env=env)
        return Done(program, program.wait(bound_s))

    def python(self, *argv: str, **more: Any) -> Done:
        return self.run(sys.executable, *argv, **more)

    def start(self) -> "Place":
        if not self.running:
            self.up()
            self.running = True
        return self

    def stop(self) -> None:
        self.down()
        self.running = False

    def close(self, failed: bool = False) -> None:
        """Stops it and asserts that nothing is left on the machine; after a failure the state directory is kept."""
        self.stop()
        left = find_leftovers(self.state)
        if failed or left:
            print(f"the state directory is kept: {self.state}")
        elif not self._kept:
            shutil.rmtree(self.state, ignore_errors=True)
        assert failed or not left, "left behind:\n" + "\n".join(left)

    def said(self) -> dict[str, Any]:
        return json.loads((self.state / "server.json").read_text())

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def apps(self) -> list[dict[str, Any]]:
        return self.run("app", "list", "--json").json()

    def listed(self) -> list[dict[str, Any]]:
        """The containers, as `ingle container list` has them."""
        return self.run("container", "list", "--json").json()

    def logs(self) -> str:
        """The end of what our own programs said, for the message of a failed test."""
        return "\n".join(f"--- {name}.log\n{self.log(name)[-4000:]}" for name in ("up", "server", "node"))


def read_available(descriptor: int, bound_s: float) -> bytes:
    """Everything until end of file, or what came within the bound."""
    deadline, data = time.monotonic() + bound_s, b""
    while time.monotonic() < deadline:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        more = os.read(descriptor, 65536)
        if not more:
            break
        data += more
    return data
