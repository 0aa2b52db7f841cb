"""A worker as the bench sees it: a child process that measures on command, so that rounds can be interleaved."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORKERS = Path(__file__).parent / "workers"
#: For one command; the longest is a cold map of 10 000 on a loaded machine.
COMMAND_S = 180.0
STOP_S = 20.0


class WorkerFailed(RuntimeError):
    """A worker died, hung or raised; the message has its traceback or the end of its log."""


class Worker:
    """`with Worker("ingle", python, env) as w: w("calls", count=100)`."""

    def __init__(self, name: str, python: str, env: dict[str, str], log: Path, wrap: list[str] | None = None):
        self.name = name
        self._log = log.open("ab")
        argv = [*(wrap or []), python, str(WORKERS / f"{name}.py")]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env=env, start_new_session=True, cwd="/",
        )  # fmt: skip
        self._rest = b""
        self._answer(60.0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer(COMMAND_S)

    def _answer(self, bound_s: float) -> Any:
        assert self._process.stdout is not None
        deadline = time.monotonic() + bound_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not data:
                why = "ended" if ready else f"said nothing for {bound_s:.0f} s"
                raise WorkerFailed(f"the worker {self.name} {why}; see {self._log.name}")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"the worker {self.name} failed:\n{answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        """Ends the worker and what it started; bounded, and fine when it is gone."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session: children that it left
        except ProcessLookupError:
            pass
        self._process.wait()
        self._log.close()


def plain_env(**more: str) -> dict[str, str]:
    """The environment without what would change how Python or Ingle behave."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "INGLE_", "RAY_", "VIRTUAL_ENV")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {**kept, **more}


def python_of(venv: Path) -> str:
    return str(venv / "bin" / "python") if venv.is_dir() else sys.executable
