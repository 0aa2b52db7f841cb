"""What interrupts user code: cancels, the loss of the node, SIGTERM."""

import pytest

CANCELLATION = "ingle.exceptions.InputCancellation"


@pytest.mark.parametrize("signalled", [True, False])
@pytest.mark.parametrize(
    ("reason", "text"), [(b"cancelled", "was cancelled"), (b"timeout", "longer than its `timeout`")]
)
def test_cancel_interrupts_the_function(start, signalled, reason, text):
    code = """
    import time
    cleaned = []
    def f(sleep):
        if not sleep: return cleaned
        try: print("sleeping", flush=True); time.sleep(60)
        except Exception: return "swallowed by except Exception"
        finally: cleaned.append(1)
    """
    runner = start(code, "f")
    name = runner.put(True)
    runner.read_until(b"sleeping")
    runner.cancel(name, reason, signalled)
    _, kind, said, formatted, _ = runner.answer().raised
    assert kind == CANCELLATION and text in said
    assert "time.sleep(60)" in formatted and "runner" not in formatted
    assert runner.call(False).value == [1]


def test_a_busy_loop_is_interrupted(start):
    runner = start("def f():\n    print('busy', flush=True)\n    while True: pass", "f")
    name = runner.put()
    runner.read_until(b"busy")
    runner.cancel(name)
    assert runner.answer().raised[1] == CANCELLATION


def test_code_that_swallows_its_cancel_returns(start):
    code = """
    import time
    def f():
        try: print("sleeping", flush=True); time.sleep(60)
        except BaseException: return "anyway"
    """
    runner = start(code, "f")
    name = runner.put()
    runner.read_until(b"sleeping")
    runner.cancel(name)
    assert runner.answer().value == "anyway"


def test_asyncio_run_inside_a_plain_function_is_interrupted(start):
    code = """
    import asyncio
    async def main(): print("sleeping", flush=True); await asyncio.sleep(60)
    def f(): asyncio.run(main())
    """
    runner = start(code, "f")
    for _ in range(2):
        name = runner.put()
        runner.read_until(b"sleeping")
        runner.cancel(name)
        assert runner.answer().raised[1] == CANCELLATION


def test_an_input_that_waits_fails_as_it_begins(start):
    runner = start(
        "import time\nran = []\ndef f(x):\n    ran.append(x); print('in', flush=True); time.sleep(0.05); return ran",
        "f",
    )
    runner.put("first")
    second = runner.put("second")
    runner.read_until(b"in")
    runner.cancel(second)
    assert runner.answer().outcome == "returned"
    assert runner.answer().raised[1] == CANCELLATION
    assert runner.call("third").value == ["first", "third"]


def test_a_late_cancel_hits_nobody_and_not_the_next_attempt(start):
    runner = start("import time\ndef f(x): time.sleep(0.01); return x", "f")
    for _ in range(5):
        name = runner.put(1, name="fc-test:again")
        assert runner.answer().value == 1
        runner.cancel(name)
        runner.cancel("fc-never:0")
    assert runner.call(2).value == 2


def test_cancels_never_hit_another_input(start):
    """Hundreds of cancels at every point of very short inputs."""
    runner = start("def f(x):\n    for _ in range(x[1] % 40): pass\n    return x", "f")
    outcomes = set()
    for round in range(600):
        first = runner.put(("a", round))
        second = runner.put(("b", round))
        runner.cancel(first, signalled=round % 2 == 0)
        one, other = runner.answer(), runner.answer()
        assert (one.input.decode(), other.input.decode()) == (first, second)
        assert one.value == ("a", round) if one.outcome == "returned" else one.raised[1] == CANCELLATION
        assert other.value == ("b", round)
        outcomes.add(one.outcome)
    assert runner.silent()


def test_a_message_that_makes_no_sense_is_dropped(start):
    runner = start("def f(x): return x", "f")
    runner.control.send(b"\xff\xff\xff")
    runner.control.send(b"\x00\x00")
    assert runner.call(1).value == 1


def test_the_runner_ends_with_its_node_when_idle(start):
    runner = start("def f(x): return x", "f")
    for end in (runner.control, runner.inbox, runner.runner_inbox):
        end.close()
    assert runner.wait() == 0


@pytest.mark.parametrize("body", ["time.sleep(60)", "while True: pass", "threading.Event().wait()"])
def test_the_runner_ends_with_its_node_when_busy(start, body):
    runner = start(f"import time, threading\ndef f():\n    print('in')\n    {body}", "f")
    runner.put()
    runner.read_until(b"in")
    runner.control.close()
    assert runner.wait() == 0


def test_the_runner_ends_with_its_node_before_it_is_set_up(start):
    runner = start("")
    runner.stream.close()
    assert runner.wait() == 0


def test_the_runner_ends_with_its_node_while_it_imports(start):
    runner = start("import time; print('importing', flush=True); time.sleep(60)").set_up("f")
    runner.read_until(b"importing")
    runner.control.close()
    assert runner.wait() == 0


ATEXIT = "import atexit, time\natexit.register(lambda: print('at exit'))\n"


def test_sigterm_ends_a_spare(start):
    runner = start("")
    runner.process.terminate()
    assert runner.wait() == 0


def test_sigterm_ends_an_idle_runner_by_way_of_its_exit_handlers(start):
    runner = start(ATEXIT + "def f(): return 1", "f")
    assert runner.call().value == 1
    runner.process.terminate()
    assert runner.wait() == 0
    assert b"at exit" in runner.out


def test_sigterm_interrupts_user_code_and_answers_nothing(start):
    code = ATEXIT + "def f():\n    try: print('in', flush=True); time.sleep(60)\n    finally: print('cleaned')"
    runner = start(code, "f")
    runner.put()
    runner.read_until(b"in")
    runner.process.terminate()
    assert runner.wait() == 0
    assert runner.out.endswith(b"cleaned\nat exit\n")
    assert runner.control.recv(1) == b""


@pytest.mark.parametrize(
    "code",
    ["import atexit, time\natexit.register(time.sleep, 60)\ndef f(): print('in', flush=True); time.sleep(60)",
     "import time\ndef f():\n    print('in', flush=True)\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass"],
)  # fmt: skip
def test_sigterm_is_bounded(start, code):
    runner = start(code, "f")
    runner.put()
    runner.read_until(b"in")
    runner.process.terminate()
    assert runner.wait() == 0


def test_a_subprocess_started_by_user_code_has_default_signals(start):
    code = """
    import signal, subprocess
    def f():
        child = subprocess.Popen(["sleep", "60"]); child.terminate()
        return child.wait(), signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    """
    assert start(code, "f").call().value == (-15, True)


def test_user_code_may_use_alarms(start):
    code = """
    import signal, time
    class Late(Exception): pass
    def late(*_): raise Late
    def f():
        signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, 0.02)
        try: time.sleep(60)
        except Late: return "late"
    """
    assert start(code, "f").call().value == "late"
