"""A child's life, in a process of its own as the supervisor starts it."""

import json
import logging
import subprocess
import sys
import textwrap

from ingle.launch import service
from ingle.launch.supervisor import CONFIG_ERROR_CODE

PROGRAM = """
import asyncio, sys
from ingle import exceptions as ex
from ingle.launch import service

class Service:
    async def stop(self):
        print("stopped", file=sys.stderr)
    {run}

async def start():
    {start}
    return Service(), {{"text": "hello"}}

sys.exit(service.run(start))
"""


def child(start="pass", run=""):
    code = PROGRAM.format(start=start, run=run)
    env = {"INGLE_SUPERVISED": "1", "PATH": "/usr/bin"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=env, text=True, **pipes)


def test_it_says_that_it_is_ready_and_stops_in_order():
    process = child()
    assert json.loads(process.stdout.readline()) == {"ready": {"text": "hello"}}
    process.terminate()
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0 and "stopped" in log


def test_it_stops_when_the_supervisor_is_gone():
    process = child()
    process.stdout.readline()
    _, log = process.communicate(timeout=20)  # closes its stdin
    assert process.returncode == 0 and "the supervisor is gone" in log and "stopped" in log


def test_an_error_of_ours_is_a_sentence():
    process = child(start='raise ex.SetupError("install it")')
    said, log = process.communicate(timeout=20)
    assert process.returncode == CONFIG_ERROR_CODE
    assert json.loads(said) == {"error": "install it"}
    assert "Traceback" not in log


def test_a_fault_of_ours_is_a_traceback():
    process = child(start="1 / 0")
    said, log = process.communicate(timeout=20)
    assert process.returncode == 1 and said == "" and "ZeroDivisionError" in log


def test_what_prints_to_stdout_by_mistake_goes_to_the_log():
    process = child(start='print("oops", flush=True)')
    assert "ready" in json.loads(process.stdout.readline())
    said, log = process.communicate(timeout=20)
    assert said == "" and "oops" in log


def test_a_service_that_ends_by_itself_ends_the_process():
    process = child(run="async def run(self): raise OSError('broken')")
    assert "ready" in json.loads(process.stdout.readline())
    process.wait(20)
    _, log = process.communicate()
    assert process.returncode == 1 and "OSError: broken" in log


def test_a_stop_while_it_starts():
    process = child(start="print('here', file=sys.stderr, flush=True); await asyncio.Event().wait()")
    assert process.stderr.readline() == "here\n"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_record_is_bounded():
    record = logging.LogRecord("x", logging.INFO, "", 0, "a" * 100_000, (), None)
    text = service.BoundedFormatter().format(record)
    assert len(text) < service.RECORD_CHARACTERS_MAX + 100
