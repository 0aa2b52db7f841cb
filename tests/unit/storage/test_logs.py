"""Log lines: order, filters, bounds."""

import json
import os

import pytest

from ingle.storage.logs import SEGMENTS, Logs


@pytest.fixture
def logs(tmp_path):
    made = Logs(tmp_path / "logs")
    yield made
    made.close()


def line(text, **fields):
    return json.dumps({"text": text} | fields).encode()


def texts(lines):
    return [json.loads(one)["text"] for one in lines]


def test_lines_come_back_in_order(logs):
    logs.append("ap-1", [line("a"), line("b")])
    logs.append("ap-2", [line("other")])
    logs.append("ap-1", [line("c")])
    assert texts(logs.read("ap-1")) == ["a", "b", "c"]
    assert texts(logs.read("ap-1", tail=2)) == ["b", "c"]
    assert texts(logs.read("ap-1", tail=0)) == []
    assert texts(logs.read("ap-1", lambda fields: fields["text"] != "b")) == ["a", "c"]
    assert texts(logs.read("ap-none")) == []


def test_an_app_keeps_its_newest_lines(tmp_path):
    logs = Logs(tmp_path, app_bytes_max=16_000)
    for n in range(3000):
        logs.append("ap-1", [line(f"{n:05}")])
    kept = texts(logs.read("ap-1"))
    assert kept[-1] == "02999" and kept == [f"{n:05}" for n in range(3000 - len(kept), 3000)]
    size = sum(f.stat().st_size for f in (tmp_path / "ap-1").iterdir())
    assert 12_000 < size <= 17_000
    assert len(list((tmp_path / "ap-1").iterdir())) <= SEGMENTS
    logs.close()


def test_another_process_goes_on_after_a_cut_off_line(tmp_path):
    logs = Logs(tmp_path)
    logs.append("ap-1", [line("a")])
    logs.close()
    with open(tmp_path / "ap-1" / "00000001.log", "ab") as file:
        file.write(b'{"text": "cut o')
    again = Logs(tmp_path)
    again.append("ap-1", [line("b")])
    assert texts(again.read("ap-1")) == ["a", "b"]
    again.close()


def test_reading_stops_at_a_mark(logs):
    logs.append("ap-1", [line("a")])
    mark = logs.end("ap-1")
    logs.append("ap-1", [line("b")])
    assert texts(logs.read("ap-1", until=mark)) == ["a"]
    assert texts(logs.read("ap-2", until=logs.end("ap-2"))) == []


def test_forgotten_and_old_apps(logs, tmp_path):
    logs.append("ap-1", [line("a")])
    logs.append("ap-2", [line("a")])
    os.utime(tmp_path / "logs" / "ap-1" / "00000001.log", (1.0, 1.0))
    assert logs.old(60.0) == ["ap-1"]
    logs.forget("ap-1")
    logs.forget("ap-1")
    assert texts(logs.read("ap-1")) == []
    logs.append("ap-1", [line("b")])
    assert texts(logs.read("ap-1")) == ["b"]


def test_few_files_are_open(tmp_path):
    logs = Logs(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for n in range(200):
        logs.append(f"ap-{n}", [line("a")])
    assert len(os.listdir("/proc/self/fd")) - before <= 64
    logs.append("ap-0", [line("b")])
    assert texts(logs.read("ap-0")) == ["a", "b"]
    logs.close()
