import time

import pytest

from ingle.cli import output
from ingle.launch.local import Status


def test_a_table_is_aligned(capsys):
    output.show_table(("A", "LONGER"), [("value", "x"), ("y", "")], "nothing")
    assert capsys.readouterr().out == "A      LONGER\nvalue  x\ny\n"
    output.show_table(("A",), [], "nothing")
    assert capsys.readouterr().out == "nothing\n"


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (61, "1 min"), (7200, "2 h"), (200_000, "2 d")])
def test_ages(seconds, text):
    assert output.age(time.time() - seconds) == text
    assert output.age(None) == ""


def test_checks_show_what_mends(capsys):
    checks = [
        {"name": "runtime", "ok": True, "found": "crun 1.8", "fix": ""},
        {"name": "network", "ok": False, "found": "no nft", "fix": "ingle setup"},
    ]
    output.show_checks(checks)
    shown = capsys.readouterr().out
    assert "ok" in shown and "WRONG" in shown and "mend it with: ingle setup" in shown


def test_status_with_and_without_a_platform(tmp_path, capsys):
    output.show_status(Status(tmp_path, None, None, None, None, None), None, "no server runs")
    shown = capsys.readouterr().out
    assert "ingle up" in shown and "no server runs" in shown
    remote = {
        "version": "1",
        "wire": 1,
        "apps": 2,
        "containers": 3,
        "calls_queued": 4,
        "calls_running": 5,
        "nodes": [{"name": "box", "connected": True, "cpu_milli": 2000, "memory_mib": 4096}],
    }
    output.show_status(Status(tmp_path, "http://x", "1", 10, 11, None), remote, "")
    shown = capsys.readouterr().out
    assert "box, 2 cores, 4.0 GiB" in shown and "5 running, 4 waiting" in shown and "none on this machine" in shown
