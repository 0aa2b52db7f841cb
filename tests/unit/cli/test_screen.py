import io
import os
import pty
import sys
import threading

import pytest

from ingle.cli import screen
from ingle.cli.screen import Screen, stamp
from ingle.testing.waiting import wait_until
from ingle.wire.api import LogLine


def line(stream, text, at_s=0.0):
    return LogLine(at_s, "co-1", "", "f", stream, text)


def test_log_lines_go_where_they_came_from(capsys):
    with Screen() as shown:
        shown.logs("ap-1", [line("stdout", "out", 0.0)])
        shown.logs("ap-1", [line("stderr", "err", 0.0)])
        shown.logs("ap-1", [line("system", "of ours", 0.0)])
    captured = capsys.readouterr()
    assert captured.out == "out\n" and captured.err == "err\nof ours\n"


def test_timestamps(capsys):
    with Screen(timestamps=True) as shown:
        shown.logs("ap-1", [line("stdout", "out", 1.25)])
    assert capsys.readouterr().out == stamp(1.25) + "out\n"
    assert stamp(1.25).endswith(".250 ")


def test_in_a_pipe_a_topic_says_its_first_line_and_no_flood(capsys):
    with Screen() as shown:
        for n in range(100):
            shown.notice("image", "im-1", f"step {n}", False)
        shown.notice("image", "im-1", "built in 3 s", True)
        shown.notice("container", "fu-1", "starting", False)
        shown.notice("container", "fu-1", "", True)
        shown.notice("warning", "x", "careful", False)
        shown.notice("waiting", "fu-2", "waiting for memory", False)
        shown.notice("container", "fu-2", "", True)
        shown.notice("waiting", "fu-2", "waiting for memory", False)
    assert capsys.readouterr().err == "step 0\nbuilt in 3 s\nstarting\ncareful\nwaiting for memory\n"


def test_quiet_shows_only_what_the_program_prints(capsys):
    with Screen(quiet=True) as shown:
        shown.notice("image", "im-1", "step", False)
        shown.say("hello")
        shown.logs("ap-1", [line("system", "container ended", 0.0)])
        shown.logs("ap-1", [line("stderr", "err", 0.0)])
    captured = capsys.readouterr()
    assert captured.err == "err\n" and captured.out == ""


def test_a_reader_that_is_gone_ends_nothing(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Broken())
    with Screen() as shown:
        shown.logs("ap-1", [line("stdout", "out", 0.0)])
        shown.logs("ap-1", [line("stdout", "again", 0.0)])


def test_text_that_the_terminal_cannot_encode(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    with Screen() as shown:
        shown.logs("ap-1", [line("stdout", "naïve \udcff", 0.0)])
    assert raw.getvalue() == b"na\\xefve \\udcff\n"


class Terminal:
    """A pseudo-terminal, and what has appeared on it."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.seen = b""

    def take(self):
        """Make it stdout and stderr (in the test itself: pytest sets its own between fixture and test)."""
        monkeypatch = self.monkeypatch
        self.outer, inner = pty.openpty()
        self.stream = open(inner, "w", buffering=1)  # noqa: SIM115
        monkeypatch.setattr(sys, "stdout", self.stream)
        monkeypatch.setattr(sys, "stderr", open(os.dup(inner), "w", buffering=1))  # noqa: SIM115
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "60")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while data := os.read(self.outer, 4096):
                self.seen += data
        except OSError:
            pass


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(screen, "DELAY_S", 0.05)
    monkeypatch.setattr(screen, "TICK_S", 0.01)
    return Terminal(monkeypatch)


def test_on_a_terminal_progress_is_drawn_and_erased(terminal):
    terminal.take()
    with Screen() as shown:
        shown.notice("image", "im-1", "building the image " + "x" * 200, False)
        wait_until(lambda: b"building the image" in terminal.seen, "it is drawn")
        print("the program's own")
        wait_until(lambda: b"the program's own" in terminal.seen, "it is printed")
        shown.notice("image", "im-1", "", True)
        shown.logs("ap-1", [line("stdout", "a log line", 0.0)])
        wait_until(lambda: b"a log line" in terminal.seen, "it is printed")
    before, _, after = terminal.seen.partition(b"the program's own")
    assert b"\x1b[2K" in before[before.rindex(b"building") :]  # erased before the program's line
    assert after.rstrip().endswith(b"a log line")
    assert b"\n" not in terminal.seen.split(b"building the image", 1)[1].split(b"\x1b", 1)[0].strip()  # cut to one line


def test_a_quick_run_draws_nothing_and_loads_no_rich(terminal):
    terminal.take()
    loaded = {name for name in sys.modules if name.startswith("rich")}
    with Screen() as shown:
        shown.notice("container", "fu-1", "starting", False)
        shown.notice("container", "fu-1", "", True)
    assert terminal.seen == b""
    assert {name for name in sys.modules if name.startswith("rich")} == loaded


def test_nothing_is_drawn_into_an_open_line(terminal):
    terminal.take()
    with Screen() as shown:
        sys.stdout.write("no end yet")
        shown.notice("image", "im-1", "building", False)
        sys.stdout.write(" … now\n")
        wait_until(lambda: b"building" in terminal.seen, "it is drawn")
    assert terminal.seen.index(b"now") < terminal.seen.index(b"building")


def test_who_holds_the_stream_after_the_end_may_write_to_it(terminal):
    terminal.take()
    with Screen():
        held = sys.stdout
    held.write("late\n")
    wait_until(lambda: b"late" in terminal.seen, "it is printed")


def test_a_log_line_does_not_fall_into_a_line_of_the_program(monkeypatch):
    monkeypatch.setattr(screen, "LINE_S_MAX", 30.0)
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdout", os.fdopen(write, "w"))
    shown = Screen()
    with shown:
        sys.stdout.write("calls ")
        logger = threading.Thread(target=shown.logs, args=("ap-1", [line("stdout", "from a container")]))
        logger.start()
        wait_until(lambda: shown.line_ended._waiters, what="the log line waits")
        sys.stdout.write("one two\n")
        logger.join(10)
    sys.stdout.close()
    with os.fdopen(read) as out:
        assert out.read() == "calls one two\nfrom a container\n"
