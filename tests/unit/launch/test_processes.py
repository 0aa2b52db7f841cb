import subprocess
import sys
from pathlib import Path

import pytest

from ingle.launch import processes
from ingle.launch.processes import NODE, SERVER, SUPERVISOR, role_of
from ingle.testing.waiting import wait_until

STATE = Path("/some/state")
PYTHON = "/x/python"


@pytest.mark.parametrize(
    ("argv", "role"),
    [
        ([PYTHON, "-m", "ingle", "server", "--state", "/some/state", "--port", "1"], SERVER),
        ([PYTHON, "-m", "ingle", "node", "--state", "/some/state", "--url", "u"], NODE),
        ([PYTHON, "-S", "-E", "/x/ingle/launch/supervisor.py", "--state", "/some/state", "{}"], SUPERVISOR),
        ([PYTHON, "-m", "ingle", "server", "--state", "/some/state/other"], None),
        ([PYTHON, "-m", "ingle", "run", "--state", "/some/state"], None),
        (["vim", "--state", "/some/state"], None),
        ([PYTHON, "-m", "ingle", "server", "--state"], None),
        ([PYTHON, "-m"], None),
    ],
)
def test_whose_a_command_line_is(argv, role):
    assert role_of(argv, STATE) == role


def start(tmp_path, code):
    argv = [sys.executable, "-c", code, "-m", "ingle", "server", "--state", str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_a_stray_server_is_found_and_ended(tmp_path):
    process = start(tmp_path, "import signal; print(flush=True); signal.pause()")
    assert processes.find(tmp_path) == [processes.Found(SERVER, process.pid)]
    assert processes.end_strays(tmp_path) == 1
    assert process.wait(10) == -15
    process.stdout.close()
    wait_until(lambda: processes.find(tmp_path) == [], "it is out of the table")


def test_who_does_not_listen_is_killed(tmp_path):
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    process = start(tmp_path, code)
    processes.end(process.pid, bound_s=0.2)
    assert process.wait(10) == -9
    process.stdout.close()


def test_a_process_that_is_gone_is_fine():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert processes.wait_gone(process.pid, 0.1)
    processes.end(process.pid)
