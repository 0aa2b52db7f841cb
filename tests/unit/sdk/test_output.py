"""What a running app lets the user see."""

import io
import sys
import threading

import ingle
from ingle.sdk import output
from ingle.wire import api


def line(text, stream="stdout"):
    return api.LogLine(1.0, "co-1", "", "f", stream, text)


class Collects:
    def __init__(self):
        self.seen = []

    def logs(self, app, lines):
        self.seen += [(one.stream, one.text) for one in lines]

    def notice(self, kind, topic, text, done):
        self.seen.append((kind, text))


def test_nothing_is_shown_unless_asked_for(capsys):
    output.show_logs("ap-1", [line("hidden")])
    output.show_notice("image", "im-1", "hidden")
    output.drain()
    assert capsys.readouterr() == ("", "")


def test_enable_output(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with ingle.enable_output():
        output.show_logs("ap-1", [line("one"), line("two", "stderr"), line("three"), line("gone", "system")])
        output.show_notice("image", "im-1", "building")
    assert out.getvalue() == "one\nthree\n" and err.getvalue() == "two\ngone\nbuilding\n"
    with ingle.enable_output(show_progress=False):
        output.show_notice("image", "im-1", "quiet")
        output.show_notice("warning", "x", "loud")
    assert err.getvalue().endswith("building\nloud\n")
    assert not output.enabled()


def test_logs_of_a_running_app(deploy, stub):
    shown = Collects()
    with output.showing(shown):
        deploy(len_of)
        stub.wait(lambda: stub.said(api.Attach))
        assert stub.said(api.Attach)[-1].logs
        stub.tell(api.Logs("ap-0", [line("from a container")]))
        stub.tell(api.Notice("ap-0", "waiting", "fu-1", "waiting for memory"))
        wait_for(lambda: len(shown.seen) == 2)
    assert shown.seen == [("stdout", "from a container"), ("waiting", "waiting for memory")]


def test_a_slow_terminal_holds_nobody_up(monkeypatch):
    gate, shown = threading.Event(), Collects()

    class Slow(Collects):
        def logs(self, app, lines):
            gate.wait(10)
            shown.logs(app, lines)

        def notice(self, kind, topic, text, done):
            shown.notice(kind, topic, text, done)

    monkeypatch.setattr(output, "WAITING_LINES_MAX", 100)
    with output.showing(Slow()):
        for _ in range(50):
            output.show_logs("ap-1", [line("x")] * 10)
        gate.set()
    lines = [one for one in shown.seen if one[1] == "x"]
    assert 100 <= len(lines) < 500
    assert any("left out" in text for _, text in shown.seen)


def len_of(x):
    return len(x)


def wait_for(condition):
    import time

    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
