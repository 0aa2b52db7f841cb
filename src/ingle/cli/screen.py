"""Progress on the terminal, beside the program's own output and the containers' logs.

Everything of ours goes to stderr. On a terminal, what is going on (an image that is built, containers that start,
calls that wait, and why) is drawn by rich below the output, in at most ROWS_MAX lines, and erased when it is over or
when somebody writes. It is drawn only after DELAY_S, so that a quick run never loads rich. In a pipe each change is a
plain line.
"""

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

DELAY_S = 0.3
TICK_S = 0.1
ROWS_MAX = 6
#: A line that the program has begun is given so long to end before a log line is put behind it.
LINE_S_MAX = 0.25
#: In a pipe, a topic that goes on says no more than a line in so many seconds.
PLAIN_EVERY_S = 5.0


def printable(text: str, stream: TextIO) -> str:
    """The text as this stream can show it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def stamp(at_s: float) -> str:
    """Local time of a log line, to the millisecond."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s)) + f".{int(at_s * 1000) % 1000:03d} "


#: A stream that stood above another shares its buffer, and would close it when it is collected; somebody (a log
#: handler of the program) may hold it still.
_kept: list[TextIO] = []


class _Above(io.TextIOWrapper):
    """A stream of the program's: the progress is erased before anything is written to it, and log lines do not fall
    into a line that is not at its end (`print` writes its arguments one by one)."""

    def __init__(self, stream: io.TextIOWrapper, screen: "Screen"):
        # By line in a pipe as well: log lines and the program's own stay in their order.
        super().__init__(stream.buffer, stream.encoding, stream.errors, line_buffering=True)
        self.screen = screen
        self.line_open = False

    def write(self, text: str) -> int:
        with self.screen.lock:
            self.screen.erase(text)
            if text:
                self.line_open = not text.endswith("\n")
                if not self.line_open:
                    self.screen.line_ended.notify_all()
            return super().write(text)

    def whole_line(self, text: str) -> None:
        """Writes a line that is not the program's, after the one that is being written; its writer is waited for
        LINE_S_MAX at most."""
        self.screen.line_ended.wait_for(lambda: not self.line_open, LINE_S_MAX)
        self.screen.erase(text)
        super().write(text)


class Screen:
    """What sdk.output shows things with: an `Output` for the command.

    Shows notices and log lines; safe to call from any thread. `quiet` shows neither; `timestamps` are for logs."""

    def __init__(self, *, quiet: bool = False, timestamps: bool = False):
        self.quiet, self.timestamps = quiet, timestamps
        self.lock = threading.RLock()
        self.line_ended = threading.Condition(self.lock)
        self.topics: dict[str, str] = {}  # what is going on: topic to text
        self._plain: dict[str, tuple[str, float]] = {}  # what was said of a topic last, and when
        self._live: Any = None
        self._ticker: threading.Thread | None = None
        self._changed = threading.Event()
        self._closed = False
        self._silent_since = time.monotonic()
        self._line_open = False  # the program's last write did not end its line
        self._replaced: list[tuple[str, Any, Any]] = []
        self._broken: set[str] = set()
        self.terminal = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> "Screen":
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, io.TextIOWrapper):
                stream.flush()
                above = _Above(stream, self)
                self._replaced.append((name, stream, above))
                setattr(sys, name, above)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Erase what is drawn and give the streams back. Twice is fine."""
        with self.lock:
            self._closed = True
            self._changed.set()
            self._erase()
            for name, stream, above in self._replaced:
                with contextlib.suppress(OSError, ValueError):
                    above.flush()
                if getattr(sys, name) is above:
                    setattr(sys, name, stream)
                _kept.append(above)
            self._replaced.clear()

    # ---- what comes from the server

    def notice(self, kind: str, topic: str, text: str, done: bool) -> None:
        """Something goes on (`done`: no longer) about a topic."""
        if self.quiet:
            return
        with self.lock:
            if self._closed:
                return
            # A function may wait while a container of it starts: each kind has its own line.
            topic = f"{kind} {topic}"
            if kind == "warning":
                self._say(text)
            elif self.terminal:
                self._update(topic, text, done)
            else:
                self._say_plainly(kind, topic, text, done)

    def logs(self, app: str, lines: Iterable[Any]) -> None:
        """Lines (wire.api.LogLine) of containers: stdout to stdout, stderr and what the system says to stderr."""
        together: list[str] = []
        target = "stdout"
        for line in lines:
            if self.quiet and line.stream == "system":
                continue
            wanted = "stdout" if line.stream == "stdout" else "stderr"
            if wanted != target and together:
                self._write(target, "\n".join(together))
                together.clear()
            target = wanted
            together.append(stamp(line.at_s) + line.text if self.timestamps else line.text)
        if together:
            self._write(target, "\n".join(together))

    def say(self, text: str) -> None:
        """A line of ours."""
        if not self.quiet:
            self._say(text)

    # ---- how

    def _say(self, text: str) -> None:
        self._write("stderr", text)

    def _write(self, name: str, text: str) -> None:
        with self.lock:
            target = getattr(sys, name)
            if name in self._broken or target is None:
                return
            try:
                line = printable(text, target) + "\n"
                target.whole_line(line) if isinstance(target, _Above) else target.write(line)
                target.flush()
            except (OSError, ValueError):  # the reader of the pipe is gone
                self._broken.add(name)

    def _say_plainly(self, kind: str, topic: str, text: str, done: bool) -> None:
        before, at = self._plain.get(topic, ("", 0.0))
        now = time.monotonic()
        if done:
            self._plain.pop(topic, None)
            if text and before and kind == "image":
                self._say(text)
        elif text != before and (not before or now - at >= PLAIN_EVERY_S):
            self._plain[topic] = (text, now)
            self._say(text)

    def _update(self, topic: str, text: str, done: bool) -> None:
        if done:
            self.topics.pop(topic, None)
            if not self.topics:
                self._erase()
            return
        if not self.topics:
            self._silent_since = time.monotonic()
        self.topics[topic] = text
        self._changed.set()
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="ingle-screen", daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while not self._closed:
            if not self.topics:
                self._changed.clear()
                if not self.topics:
                    self._changed.wait()
                continue
            time.sleep(TICK_S)
            if time.monotonic() - self._silent_since < DELAY_S:
                continue
            import rich.live
            import rich.spinner  # noqa: F401

            with self.lock:
                if self.topics and not self._closed and not self._line_open:
                    self._draw()

    def _draw(self) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        if time.monotonic() - self._silent_since < DELAY_S:
            return
        stream = next((s for name, s, _ in self._replaced if name == "stderr"), sys.stderr)
        if self._live is None:
            self._console = Console(file=stream)
            self._spinner = Spinner("dots")
            self._live = Live(
                console=self._console,
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        rows: list[Any] = []
        shown = list(self.topics.values())
        for text in shown[:ROWS_MAX]:
            line = Text(text.splitlines()[0] if text else "", no_wrap=True, overflow="ellipsis")
            line.truncate(max(10, self._console.width - 3), overflow="ellipsis")
            rows.append(line)
        if len(shown) > ROWS_MAX:
            rows[-1] = Text(f"… and {len(shown) - ROWS_MAX + 1} more")
        self._spinner.text = rows[0]
        others = [Text("  ").append_text(row) for row in rows[1:]]
        self._live.update(Group(self._spinner, *others), refresh=True)

    def erase(self, text: str) -> None:
        """Somebody is about to write this: make room. Called with the lock held."""
        self._erase()
        self._silent_since = time.monotonic()
        if text:
            self._line_open = not text.endswith("\n")

    def _erase(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            with contextlib.suppress(OSError, ValueError):
                live.stop()
