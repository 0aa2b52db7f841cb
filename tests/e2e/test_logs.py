"""What containers print: whose it is, where it goes, and who waits for whom."""

import json
import re


def test_lines_know_their_call_and_stream(ingle):
    done = ingle.run("run", "-d", "--name", "attributed", "talks.py::two_calls").ok()
    first, second = re.search(r"calls (fc-\S+) (fc-\S+)", done.stdout).groups()
    assert re.findall(r"^(?:\S+ )?first out (\d)$", done.stdout, re.M) == ["0", "1", "2"], done.all
    assert re.findall(r"first err (\d)$", done.stderr, re.M) == ["0", "1", "2"], done.all
    app = next(a["id"] for a in ingle.apps() if a["name"] == "attributed")
    rows = [json.loads(line) for line in ingle.run("app", "logs", app, "--json").ok().stdout.splitlines()]
    for call, mark in ((first, "first"), (second, "second")):
        own = [row for row in rows if row["input"].startswith(call)]
        assert {row["text"] for row in own} == {f"{mark} {s} {i}" for s in ("out", "err") for i in range(3)}, own
        assert all(row["stream"] == ("stdout" if " out " in row["text"] else "stderr") for row in own), own
        assert all(row["container"] and row["function"] == "lines" and row["at_s"] > 1e9 for row in own), own
    ingle.run("app", "stop", app).ok()


def test_a_printer_without_end_slows_only_itself(ingle):
    ingle.run("run", "-q", "talks.py::noise", bound_s=110).ok()


def test_children_threads_unfinished_and_odd_lines(ingle):
    done = ingle.run("run", "talks.py::odd").ok()
    for text in ("child out", "thread out", "no newline at the end", "raw"):
        assert text in done.stdout, (text, done.all[:5000])
    assert "child err" in done.stderr
    assert done.stdout.count("w") >= 300_000 or "w" * 1000 in done.stdout, "a long line is cut, but not lost"


def test_logs_come_live_and_are_followed(ingle):
    program = ingle.program("run", "--name", "live", "talks.py::keeps_on")
    try:
        program.see("round 3 out")
        follower = ingle.program("app", "logs", "live", "--follow")
        try:
            number = int(re.search(r"round (\d+)", follower.see("round")).group(1))
            follower.see(f"round {number + 5} out")
        finally:
            follower.kill()
    finally:
        program.kill()
