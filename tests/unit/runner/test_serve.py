"""The main loop: values, exceptions of every kind, generators and their credit."""

import pytest

from ingle.runner import wire


def test_values_come_back_and_the_module_lives_on(start):
    runner = start("n = 0\ndef f(x, y=1):\n    global n; n += 1\n    return x + y, n", "f")
    assert runner.call(2).value == (3, 1)
    assert runner.call(2, y=5).value == (7, 2)


def test_inputs_that_wait_are_answered_in_order(start):
    runner = start("def f(x): return x * x", "f")
    names = [runner.put(x) for x in range(200)]
    answers = [runner.answer() for _ in names]
    assert [answer.input.decode() for answer in answers] == names
    assert [answer.value for answer in answers] == [x * x for x in range(200)]


def test_the_body_is_timed(start):
    runner = start("import time\ndef f(s): time.sleep(s)", "f")
    assert 50_000 <= runner.call(0.05).took_us < 5_000_000
    assert runner.call(0).took_us < 50_000


def test_code_runs_in_the_main_thread_and_may_use_its_own_loop_and_signals(start):
    runner = start(
        """
        import asyncio, signal, threading
        async def add(x): await asyncio.sleep(0); return x + 1
        def f(x):
            signal.signal(signal.SIGUSR1, lambda *_: None)
            return threading.current_thread() is threading.main_thread(), asyncio.run(add(x))
        """,
        "f",
    )
    assert runner.call(1).value == (True, 2)
    assert runner.call(2).value == (True, 3)


def test_an_exception_fails_the_call_and_a_returned_one_does_not(start):
    runner = start("def f(fail):\n    e = ValueError('no', 7)\n    if fail: raise e\n    return e", "f")
    answer = runner.call(True)
    assert answer.raised[1:3] == ("ValueError", "('no', 7)")
    assert answer.error.args == ("no", 7)
    returned = runner.call(False).value
    assert type(returned) is ValueError and returned.args == ("no", 7)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import sys; sys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise MemoryError", "MemoryError"),
        ("raise StopIteration", "StopIteration"),
        ("(lambda g: g(g))(lambda g: g(g))", "RecursionError"),
        ("raise type('Own', (BaseException,), {})", "user_code.Own"),
        ("bytearray(1 << 62)", "MemoryError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(9)", "KeyboardInterrupt"),
    ],
)
def test_whatever_is_raised_the_container_lives_on(start, statement, name):
    runner = start(f"def f(fail=True):\n    if fail:\n        {statement}\n    return 'alive'", "f")
    assert runner.call().raised[1] == name
    assert runner.call(False).value == "alive"


def test_a_result_that_cannot_be_pickled_says_which_type_and_function(start):
    runner = start("import threading\ndef make(): return {'lock': threading.Lock()}", "make")
    answer = runner.call()
    assert answer.raised[1] == "TypeError"
    assert "`make`" in answer.raised[2] and "dict" in answer.raised[2] and "lock" in answer.raised[2]


def test_arguments_that_cannot_be_rebuilt_name_the_module(start):
    runner = start("def f(x): return x", "f")
    runner.put(payload=b"cnot_there_at_all\nThing\n.")
    _, name, text, formatted, _ = runner.answer().raised
    assert name == "ModuleNotFoundError" and "not_there_at_all" in text
    assert "`f`" in formatted and "add it to the function's image" in formatted
    runner.put(payload=b"no pickle")
    assert "arguments of `f`" in runner.answer().raised[3]
    assert runner.call(5).value == 5


def test_an_interrupt_between_inputs_is_harmless(start):
    import signal

    runner = start("def f(x): return x", "f")
    for x in range(30):
        runner.process.send_signal(signal.SIGINT)
        name = runner.put(x)
        answer = runner.answer()
        # It may have hit user code: then that call fails with it. No input is lost, none is answered twice.
        assert answer.input.decode() == name
        assert answer.outcome == "raised" or answer.value == x
    assert runner.silent()


# ---- generators


def test_items_come_one_by_one_and_then_the_end(start):
    runner = start("def f(n): yield from range(n)", "f", generator=b"1")
    runner.put(3)
    assert [runner.item() for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    answer = runner.answer()
    assert (answer.outcome, answer.payload) == ("returned", b"")


def test_a_generator_waits_for_credit(start):
    runner = start("def f():\n    n = 0\n    while n < 100: yield n; n += 1", "f", generator=b"1")
    for _ in range(2):  # the credit of one input is not that of the next
        name = runner.put()
        assert [runner.item()[0] for _ in range(wire.YIELDS_AHEAD_MAX)] == list(range(wire.YIELDS_AHEAD_MAX))
        assert runner.silent()
        runner.credit(name, 2)
        runner.credit(name, 2)  # said again
        assert [runner.item()[0] for _ in range(2)] == [wire.YIELDS_AHEAD_MAX, wire.YIELDS_AHEAD_MAX + 1]
        assert runner.silent()
        runner.credit("fc-other:0", 50)
        assert runner.silent()
        runner.credit(name, 1)  # late
        assert runner.silent()
        runner.credit(name, 50)
        assert [runner.item()[1] for _ in range(34)] == list(range(66, 100))
        assert runner.answer().outcome == "returned"


def test_credit_that_comes_while_the_generator_works_counts(start):
    runner = start("import time\ndef f():\n    for n in range(300): yield n", "f", generator=b"1")
    name = runner.put()
    for n in range(300):
        assert runner.item() == (n, n)
        runner.credit(name, n + 1)
    assert runner.answer().outcome == "returned"


def test_a_generator_that_raises_keeps_what_it_yielded(start):
    runner = start("def f():\n    yield 1\n    raise KeyError('k')", "f", generator=b"1")
    runner.put()
    assert runner.item() == (0, 1)
    assert runner.answer().error.args == ("k",)


def test_a_generator_ends_by_return_and_by_cancel(start):
    code = """
    closed = []
    def f(n):
        try:
            while True: yield n
        finally: closed.append(n)
    """
    runner = start(code, "f", generator=b"1")
    name = runner.put(1)
    for _ in range(wire.YIELDS_AHEAD_MAX):
        runner.item()
    assert runner.silent()
    runner.cancel(name)
    assert runner.answer().raised[1] == "ingle.exceptions.InputCancellation"
    name = runner.put(2)
    runner.item()
    runner.credit(name, 1_000_000)
    runner.cancel(name, signalled=False)
    while True:
        kind, *parts = runner.receive()
        if kind == wire.OUTPUTS:
            break
    assert wire.unpack_raised(parts[3])[1] == "ingle.exceptions.InputCancellation"
    assert runner.silent()


def test_a_generator_may_catch_its_cancel(start):
    code = """
    def f():
        n = 0
        while n < 70:
            try: yield n
            except BaseException as error: yield type(error).__name__; return
            n += 1
    """
    runner = start(code, "f", generator=b"1")
    name = runner.put()
    for _ in range(wire.YIELDS_AHEAD_MAX):
        runner.item()
    assert runner.silent()
    runner.cancel(name)
    assert runner.item() == (64, "InputCancellation")
    runner.credit(name, 10)
    assert runner.answer().outcome == "returned"


def test_an_item_that_cannot_be_pickled_fails_the_call(start):
    runner = start("def f():\n    yield 1\n    yield (x for x in ())", "f", generator=b"1")
    runner.put()
    runner.item()
    assert "cannot be pickled" in runner.answer().raised[2]


def test_any_iterator_serves_as_generator(start):
    runner = start("def f(): return ['a', 'b']", "f", generator=b"1")
    runner.put()
    assert [runner.item()[1], runner.item()[1]] == ["a", "b"]
    assert runner.answer().outcome == "returned"


# ---- processes and threads of user code


def test_a_forked_child_that_returns_does_not_serve(start):
    runner = start(
        "import os\ndef f():\n    pid = os.fork()\n    return pid and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])",
        "f",
    )
    assert runner.call().value == 0
    assert runner.call().value == 0
    assert runner.silent()


def test_a_forked_child_that_raises_prints_it_and_ends(start):
    code = """
    import os
    def f():
        pid = os.fork()
        if pid == 0: raise ValueError("in the child")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """
    runner = start(code, "f")
    assert runner.call().value == 1
    assert b"ValueError: in the child" in runner.read_until(b"in the child", "stderr")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works(start, method):
    code = f"""
    import multiprocessing, os
    def square(x): return x * x
    def f():
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            return pool.map(square, range(5))
    """
    runner = start(code, "f")
    assert runner.call().value == [0, 1, 4, 9, 16]
    assert runner.call().value == [0, 1, 4, 9, 16]


def test_a_child_process_can_be_terminated(start):
    code = """
    import multiprocessing, time
    def sleep(): time.sleep(60)
    def f():
        child = multiprocessing.get_context("fork").Process(target=sleep)
        child.start(); child.terminate(); child.join(20)
        return child.exitcode
    """
    assert start(code, "f").call().value == -15


def test_subprocess_works(start):
    runner = start("import subprocess\ndef f(): return subprocess.run('exit 7', shell=True).returncode", "f")
    assert [runner.call().value for _ in range(3)] == [7, 7, 7]


def test_a_child_that_lives_on_does_not_hold_the_sockets(start):
    code = """
    import os, time
    def f():
        pid = os.fork()
        if pid == 0: time.sleep(30); os._exit(0)
        return pid
    """
    runner = start(code, "f")
    pid = runner.call().value
    runner.process.kill()
    runner.process.wait()
    runner.runner_inbox.close()
    assert runner.control.recv(1) == b""
    import os

    os.kill(pid, 9)


def test_threads_left_running_do_no_harm(start):
    code = """
    import threading
    stop = threading.Event()
    def f(): threading.Thread(target=stop.wait).start(); return threading.active_count()
    """
    runner = start(code, "f")
    assert [runner.call().value for _ in range(3)] == [2, 3, 4]
    runner.process.terminate()
    assert runner.wait() == 0


def test_os_exit_ends_the_container(start):
    runner = start("import os\ndef f(): print('bye', flush=True); os._exit(9)", "f")
    runner.put()
    assert runner.wait() == 9
    assert b"bye\n" in runner.out
    assert runner.control.recv(1) == b""
