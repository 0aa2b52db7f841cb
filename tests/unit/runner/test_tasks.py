"""Asynchronous functions and generators: one loop, one input at a time."""

import pytest

from ingle.runner import wire


def test_values_come_back_from_one_loop(start):
    code = """
    import asyncio
    loops = set()
    async def f(x):
        loops.add(asyncio.get_running_loop()); await asyncio.sleep(0)
        return x, len(loops)
    """
    runner = start(code, "f")
    names = [runner.put(x) for x in range(50)]
    answers = [runner.answer() for _ in names]
    assert [answer.input.decode() for answer in answers] == names
    assert [answer.value for answer in answers] == [(x, 1) for x in range(50)]


def test_inputs_are_run_one_at_a_time(start):
    code = """
    import asyncio
    running = most = 0
    async def f():
        global running, most
        running += 1; most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return most
    """
    runner = start(code, "f")
    for _ in range(20):
        runner.put()
    assert [runner.answer().value for _ in range(20)] == [1] * 20


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("raise ValueError(1)", "ValueError"),
        ("raise SystemExit(2)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        ("await asyncio.wait_for(asyncio.sleep(9), 0.01)", "TimeoutError"),
        ("asyncio.current_task().cancel(); await asyncio.sleep(9)", "asyncio.exceptions.CancelledError"),
    ],
)
def test_whatever_is_raised_the_container_lives_on(start, statement, name):
    runner = start(
        f"import asyncio\nasync def f(fail=True):\n    if fail:\n        {statement}\n    return 'alive'", "f"
    )
    assert runner.call().raised[1].endswith(name)
    assert runner.call(False).value == "alive"


def test_a_background_task_lives_on_between_inputs_and_may_fail(start):
    code = """
    import asyncio
    done = []
    async def later(x): await asyncio.sleep(0.01); done.append(x); print("done", flush=True); raise SystemExit
    async def f(x):
        task = asyncio.create_task(later(x))
        f.tasks = [*getattr(f, "tasks", ()), task]
        return list(done)
    """
    runner = start(code, "f")
    assert runner.call(1).value == []
    runner.read_until(b"done")
    assert runner.call(2).value == [1]


def test_cancel_raises_cancelled_error_in_the_task(start):
    code = """
    import asyncio
    seen = []
    async def f(wait):
        if not wait: return seen
        try: print("sleeping", flush=True); await asyncio.sleep(60)
        except asyncio.CancelledError: seen.append("cancelled"); raise
    """
    runner = start(code, "f")
    name = runner.put(True)
    runner.read_until(b"sleeping")
    runner.cancel(name)
    assert runner.answer().raised[1].endswith("CancelledError")
    assert runner.call(False).value == ["cancelled"]


def test_a_task_that_swallows_its_cancel_returns(start):
    code = """
    import asyncio
    async def f():
        try: print("sleeping", flush=True); await asyncio.sleep(60)
        except asyncio.CancelledError: return "anyway"
    """
    runner = start(code, "f")
    name = runner.put()
    runner.read_until(b"sleeping")
    runner.cancel(name, signalled=False)
    assert runner.answer().value == "anyway"


def test_cancels_never_hit_another_input(start):
    runner = start("import asyncio\nasync def f(x): await asyncio.sleep(0); return x", "f")
    for round in range(300):
        first = runner.put(("a", round))
        runner.put(("b", round))
        runner.cancel(first, signalled=round % 2 == 0)
        one, other = runner.answer(), runner.answer()
        assert one.input.decode() == first
        assert one.outcome == "raised" or one.value == ("a", round)
        assert other.value == ("b", round)
    assert runner.silent()


def test_an_asynchronous_generator_waits_for_credit(start):
    runner = start("async def f():\n    for n in range(100): yield n", "f", generator=b"1")
    for _ in range(2):
        name = runner.put()
        assert [runner.item()[0] for _ in range(wire.YIELDS_AHEAD_MAX)] == list(range(wire.YIELDS_AHEAD_MAX))
        assert runner.silent()
        runner.credit(name, 100)
        assert [runner.item()[1] for _ in range(36)] == list(range(64, 100))
        assert (runner.answer().outcome) == "returned"


@pytest.mark.parametrize("items", [1, 64])
def test_an_asynchronous_generator_is_cancelled_where_it_is(start, items):
    code = """
    import asyncio
    async def f(n):
        try:
            for x in range(n): yield x
            await asyncio.sleep(60)
        except asyncio.CancelledError: yield "cancelled"; raise
    """
    runner = start(code, "f", generator=b"1")
    name = runner.put(items)
    for _ in range(items):
        runner.item()
    assert runner.silent()
    runner.cancel(name)
    assert runner.item() == (items, "cancelled")
    runner.credit(name, 10)
    assert runner.answer().raised[1].endswith("CancelledError")


def test_a_plain_function_that_returns_a_coroutine_is_awaited(start):
    code = """
    import asyncio, functools
    async def inner(x):
        await asyncio.sleep(0)
        if x < 0: raise ValueError(x)
        return x + 1
    @functools.wraps(inner)
    def f(*args): return inner(*args)
    """
    runner = start(code, "f")
    assert [runner.call(x).value for x in range(5)] == [1, 2, 3, 4, 5]
    error = runner.call(-1)
    assert error.raised[1] == "ValueError" and "IsAsync" not in error.raised[3]


def test_a_wrapped_first_call_that_fails_shows_nothing_of_ours(start):
    code = """
    import asyncio
    async def inner(): await asyncio.sleep(0); raise ValueError("x")
    def f(): return inner()
    """
    error = start(code, "f").call()
    assert "IsAsync" not in error.raised[3] and error.error.__context__ is None


def test_a_plain_function_that_returns_an_asynchronous_generator(start):
    code = """
    async def inner():
        yield 1; yield 2
    def f(): return inner()
    """
    runner = start(code, "f", generator=b"1")
    for _ in range(2):
        runner.put()
        assert [runner.item(), runner.item()] == [(0, 1), (1, 2)]
        assert runner.answer().outcome == "returned"


def test_each_input_has_its_own_context(start):
    code = """
    import asyncio, contextvars
    from ingle.runner import context
    var = contextvars.ContextVar("v", default=0)
    left = []
    async def later():
        await asyncio.sleep(0.01); left.append(context.current_input_id()); print("later", flush=True)
    async def f(start):
        if start: f.task = asyncio.create_task(later())
        before = var.get(); var.set(1)
        return before, context.current_input_id(), left
    """
    runner = start(code, "f")
    assert runner.call(True).value == (0, "fc-test:0", [])
    runner.read_until(b"later")
    assert runner.call(False).value == (0, "fc-test:1", ["fc-test:0"])


def test_the_node_goes_away_while_the_loop_is_blocked(start):
    runner = start("import time\nasync def f():\n    print('in', flush=True)\n    while True: time.sleep(0.05)", "f")
    runner.put()
    runner.read_until(b"in")
    runner.control.close()
    runner.wait()


def test_sigterm_cancels_the_task_and_ends(start):
    code = """
    import asyncio
    async def f():
        try: print("sleeping", flush=True); await asyncio.sleep(60)
        finally: print("cleaned", flush=True)
    """
    runner = start(code, "f")
    runner.put()
    runner.read_until(b"sleeping")
    runner.process.terminate()
    assert runner.wait() == 0
    assert b"cleaned" in runner.out


def test_sigterm_ends_an_idle_loop(start):
    runner = start("async def f(): return 1", "f")
    assert runner.call().value == 1
    runner.process.terminate()
    assert runner.wait() == 0
