"""What a running app lets the user see: logs of its containers, and progress.

Nothing is shown unless `enable_output()` is on (`ingle run` turns it on, with a richer Output). A thread of its own
does the showing: a terminal that is slow or stopped must not hold up the connection's reader.
"""

from __future__ import annotations

import _thread
import sys
import time
from collections import deque

from ingle.sdk.wake import Wake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ingle.wire.api import LogLine

#: Lines that wait to be shown; what comes on top is left out, and counted.
WAITING_LINES_MAX = 20_000
DRAIN_S_MAX = 5.0


class Output:
    """Shows things. This plain one writes logs where they were written (stdout, stderr) and progress to stderr."""

    def __init__(self, show_progress: bool = True):
        self._show_progress = show_progress

    def logs(self, app: str, lines: list[LogLine]) -> None:
        """Lines that containers of an app wrote to stdout or stderr, or that are said of them ("system"), in order."""
        for line in lines:
            own = sys.stdout if line.stream == "stdout" else sys.stderr
            own.write(line.text + "\n")
        sys.stdout.flush()
        sys.stderr.flush()

    def notice(self, kind: str, topic: str, text: str, done: bool) -> None:
        """Progress; a later notice on the same topic replaces the earlier one. Kinds: those of wire.api.Notice, and
        `server`."""
        if self._show_progress or kind == "warning":
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


class showing:
    """Shows with an Output, or something with its methods, while a `with` block lasts."""

    def __init__(self, output: Any):
        self._output = output
        self._before: Any = None

    def __enter__(self) -> Any:
        self._before = use(self._output)
        return self._output

    def __exit__(self, *exc: object) -> None:
        drain()
        use(self._before)

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__()


class enable_output(showing):
    """Shows the logs of containers, and progress, while a `with` block lasts. Put it around `app.run()`.

    Args:
        show_progress: show progress (on stderr) as well as logs.
    """

    def __init__(self, show_progress: bool = True):
        super().__init__(Output(show_progress))


_output: Any = None
_waiting: deque[Callable[[], Any]] = deque()
_waiting_lines = 0
_left_out = 0
_wake = Wake()
_lock = _thread.allocate_lock()
_shower: int | None = None


def use(output: Any) -> Any:
    """Shows with this from now on (None: nothing); returns what was used before."""
    global _output
    before, _output = _output, output
    return before


def enabled() -> bool:
    """Whether anything is shown."""
    return _output is not None


def show_logs(app: str, lines: list[LogLine]) -> None:
    """Has lines shown, soon. Any thread; does not wait."""
    global _left_out, _waiting_lines
    output = _output
    if output is None:
        return
    with _lock:
        room = max(WAITING_LINES_MAX - _waiting_lines, 0)
        _left_out += max(len(lines) - room, 0)
        lines = lines[:room]
        _waiting_lines += len(lines)
    if lines:
        _soon(lambda: _show_lines(output, app, lines))


def show_notice(kind: str, topic: str, text: str, done: bool = False) -> None:
    """Has progress shown, soon. Any thread; does not wait."""
    output = _output
    if output is not None and len(_waiting) < WAITING_LINES_MAX:
        _soon(lambda: output.notice(kind, topic, text, done))


def drain(timeout_s: float = DRAIN_S_MAX) -> None:
    """Waits until all is shown, at most so long."""
    done = Wake()
    if _shower is None:
        return
    deadline = time.monotonic() + timeout_s
    _soon(done.set)
    done.wait(deadline - time.monotonic())


def _show_lines(output: Any, app: str, lines: list[LogLine]) -> None:
    global _left_out, _waiting_lines
    with _lock:
        _waiting_lines -= len(lines)
        left_out, _left_out = _left_out, 0
    output.logs(app, lines)
    if left_out:
        output.notice("warning", "logs", f"{left_out} lines were left out here; `ingle app logs {app}` has them", True)


def _soon(action: Callable[[], Any]) -> None:
    global _shower
    _waiting.append(action)
    with _lock:
        if _shower is None:
            _shower = _thread.start_new_thread(_show, ())
    _wake.set()


def _show() -> None:
    while True:
        while _waiting:
            try:
                _waiting.popleft()()
            except Exception:  # a closed stdout is no reason to stop the program
                pass
        _wake.wait()


def _after_fork() -> None:
    global _lock, _shower, _wake
    _lock, _shower, _wake = _thread.allocate_lock(), None, Wake()
    _waiting.clear()


def _register() -> None:
    import os

    os.register_at_fork(after_in_child=_after_fork)


_register()
