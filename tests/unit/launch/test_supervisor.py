"""The supervisor with children of a few lines each: what it starts again, what it gives up, how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingle.launch import supervisor
from ingle.testing.waiting import wait_until

DEADLINE_S = 20

CHILD = """
import json, os, signal, sys, time
name, folder = sys.argv[1], sys.argv[2]
with open(os.path.join(folder, name + ".starts"), "a") as file:
    file.write(f"{os.getpid()} {' '.join(sys.argv[3:])}\\n")
behave = open(os.path.join(folder, name + ".behave")).read().split()
if behave[0] == "config":
    print(json.dumps({"error": "the port is taken"}), flush=True)
    sys.exit(78)
if behave[0] == "dies":
    print("a sad story", file=sys.stderr)
    sys.exit(3)
def end(*_):
    with open(os.path.join(folder, "ends"), "a") as file:
        file.write(name + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if behave[0] == "stubborn" else end)
print("a stray print", flush=True)
print(json.dumps({"ready": {"url": "http://127.0.0.1:4321", "version": "0", "text": name}}), flush=True)
if not os.read(0, 1):
    end()
"""


class Rig:
    """A supervisor process over scripted children."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "log").mkdir()
        (folder / "child.py").write_text(CHILD)
        self.behave("server", "well")
        self.behave("node", "well")
        self.process = None

    def behave(self, name, how):
        (self.folder / f"{name}.behave").write_text(how)

    def start(self):
        python, child, folder = sys.executable, str(self.folder / "child.py"), str(self.folder)
        self.heard, report = os.pipe()
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR)
        config = {
            "state": folder,
            "lock_fd": lock,
            "report_fd": report,
            "foreground": True,
            "server_argv": [python, "-S", "-E", child, "server", folder, "--port", "0"],
            "node_argv": [python, "-S", "-E", child, "node", folder, "--url", "{url}"],
        }
        self.process = subprocess.Popen(
            [python, "-S", "-E", supervisor.__file__, "--state", folder, json.dumps(config)],
            pass_fds=(lock, report),
            stdout=subprocess.PIPE,
        )
        os.close(report)
        os.close(lock)

    def report(self):
        with os.fdopen(self.heard) as file:
            return json.loads(file.readline())

    def starts(self, name):
        path = self.folder / f"{name}.starts"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, name):
        return int(self.starts(name)[-1].split()[0])

    def server_json(self):
        path = self.folder / "server.json"
        return json.loads(path.read_text()) if path.exists() else None

    def log(self, name):
        return (self.folder / "log" / f"{name}.log").read_text()

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
            self.process.stdout.close()


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def gone(pid):
    """Whether the process has ended; an orphan that nobody reaps counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_it_starts_both_says_so_and_stops_the_node_first(rig):
    rig.start()
    assert rig.report() == {"ready": True}
    said = rig.server_json()
    assert said["url"] == "http://127.0.0.1:4321"
    assert said["pid"] == rig.pid("server") and said["node_pid"] == rig.pid("node")
    assert said["supervisor_pid"] == rig.process.pid
    assert rig.starts("node")[0].endswith("--url http://127.0.0.1:4321")
    rig.process.send_signal(signal.SIGTERM)
    assert rig.process.wait(DEADLINE_S) == 0
    assert (rig.folder / "ends").read_text().split() == ["node", "server"]
    assert rig.server_json() is None
    assert b"Ready. Stop with Ctrl-C." in rig.process.stdout.read()
    assert "a stray print" in rig.log("server")


def test_a_killed_child_comes_back_on_the_same_port_and_the_other_lives_on(rig):
    rig.start()
    rig.report()
    node = rig.pid("node")
    os.kill(rig.pid("server"), signal.SIGKILL)
    wait_until(lambda: len(rig.starts("server")) == 2, "the server starts again")
    wait_until(lambda: (rig.server_json() or {}).get("pid") == rig.pid("server"), "server.json is new")
    assert rig.starts("server")[1].endswith("--port 4321")
    assert rig.pid("node") == node and not gone(node)
    os.kill(node, signal.SIGKILL)
    wait_until(lambda: len(rig.starts("node")) == 2, "the node starts again")
    wait_until(lambda: rig.server_json()["node_pid"] == rig.pid("node"), "server.json has the new node")


def test_when_it_is_killed_the_children_end_by_themselves(rig):
    rig.start()
    rig.report()
    server, node = rig.pid("server"), rig.pid("node")
    rig.process.kill()
    rig.process.wait()
    wait_until(lambda: gone(server) and gone(node), "both are gone")
    assert sorted((rig.folder / "ends").read_text().split()) == ["node", "server"]


def test_a_wrong_configuration_ends_it_with_the_sentence(rig):
    rig.behave("server", "config")
    rig.start()
    assert rig.report() == {"error": "the port is taken"}
    assert rig.process.wait(DEADLINE_S) == 1
    assert len(rig.starts("server")) == 1
    assert b"Error: the port is taken" in rig.process.stdout.read()


def test_a_wrong_configuration_of_the_node_ends_the_server_too(rig):
    rig.behave("node", "config")
    rig.start()
    assert rig.report() == {"error": "the port is taken"}
    assert rig.process.wait(DEADLINE_S) == 1
    assert gone(rig.pid("server"))


def test_what_once_ran_is_tried_again_though_its_configuration_is_wrong_just_now(rig):
    """The disk is full for a while, say: nothing that waits for the platform is given up for that."""
    rig.start()
    rig.report()
    server = rig.pid("server")
    rig.behave("node", "config")
    os.kill(rig.pid("node"), signal.SIGKILL)
    wait_until(lambda: len(rig.starts("node")) == 7, "the node is started again, and again")
    rig.behave("node", "well")
    wait_until(lambda: "node is back" in rig.log("up"), "the node is back")
    assert "node cannot start: the port is taken; starting it again in" in rig.log("up")
    assert rig.pid("server") == server and not gone(server)


def test_a_child_that_never_becomes_ready_is_given_up_with_its_last_words(rig):
    rig.behave("node", "dies")
    rig.start()
    said = rig.report()["error"]
    assert "the node ended with code 3 3 times" in said and "a sad story" in said
    assert rig.process.wait(DEADLINE_S) == 1


def test_a_second_signal_kills_at_once(rig):
    rig.behave("node", "stubborn")
    rig.start()
    rig.report()
    began = time.monotonic()
    rig.process.send_signal(signal.SIGINT)
    wait_until(lambda: "Stopping." in rig.log("up"), "it stops")
    rig.process.send_signal(signal.SIGINT)
    assert rig.process.wait(DEADLINE_S) == 0
    assert time.monotonic() - began < supervisor.NODE_STOP_S / 2
    assert gone(rig.pid("node"))


def test_the_log_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "LOG_BYTES_MAX", 1000)
    log = supervisor.LogFile(str(tmp_path / "x.log"))
    for _ in range(50):
        log.write(b"a" * 99 + b"\n")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2 and max(sizes) <= 1000


def test_the_log_goes_on_after_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "LOG_BYTES_MAX", 1000)
    log = supervisor.LogFile(str(tmp_path / "x.log"))
    log.write(b"a" * 999 + b"\n")
    tmp_path.chmod(0o500)  # for those whom modes bind; root is refused by a name that is a directory
    (tmp_path / "x.log.1").mkdir()
    log.write(b"lost\n")
    (tmp_path / "x.log.1").rmdir()
    tmp_path.chmod(0o700)
    log.write(b"kept\n")
    assert (tmp_path / "x.log").read_bytes() == b"kept\n"


def test_it_is_small(rig):
    rig.start()
    rig.report()
    status = Path(f"/proc/{rig.process.pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < 16_000  # kB
