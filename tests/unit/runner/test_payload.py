"""Arguments and results: small, huge, and those that plain pickle cannot do."""

import pickle

import cloudpickle
import pytest

from ingle.runner import payload, wire

BIG = wire.INLINE_BYTES_MAX


def test_huge_arguments_and_results_go_by_files(start):
    runner = start("def f(data, key=b''): return data + key", "f")
    answer = runner.call(b"x" * (8 << 20), key=b"y")
    assert answer.file.startswith(wire.RUNNER_FILE) and answer.value == b"x" * (8 << 20) + b"y"
    again = runner.call(b"z" * (8 << 20))
    assert again.file != answer.file and again.value == b"z" * (8 << 20)
    assert sorted(path.name for path in (runner.io / "out").iterdir()) == sorted([answer.file, again.file])


@pytest.mark.parametrize("size", [BIG - 200, BIG - 20, BIG, BIG + 1, BIG + 1000])
def test_sizes_around_the_bound(start, size):
    runner = start("def f(data): return data", "f")
    assert runner.call(b"x" * size).value == b"x" * size


@pytest.mark.parametrize(
    "result",
    [
        "'x' * (1 << 20)",
        "[b'x' * (1 << 20), {'k': bytearray(1 << 20)}]",
        "[list(range(100)) for _ in range(2000)]",
        "{'a': 'b' * 200_000}",
    ],
)
def test_large_results_of_many_shapes(start, result):
    runner = start(f"def f(): return {result}", "f")
    answer = runner.call()
    assert answer.file and answer.value == eval(result)


def test_a_large_item_of_a_generator_goes_by_a_file(start):
    runner = start("def f(): yield b'x' * (1 << 20); yield 1", "f", generator=b"1")
    runner.put()
    assert runner.item() == (0, b"x" * (1 << 20))
    assert runner.item() == (1, 1)


def test_a_large_exception_goes_by_a_file_and_its_text_is_cut(start):
    runner = start("def f(): raise ValueError('x' * (1 << 20))", "f")
    answer = runner.call()
    assert answer.file and answer.error.args == ("x" * (1 << 20),)
    assert len(answer.raised[2]) < 200_000 > len(answer.raised[3])
    assert "characters left out" in answer.raised[2]


def test_what_plain_pickle_cannot_do_goes_by_value(start, same_python):
    code = """
    def f():
        class Local:
            x = 3
        return (lambda y: y + 1), Local(), [b"x" * (1 << 20), lambda: 5]
    """
    runner = start(code, "f")
    function, local, (_, other) = runner.call().value
    assert (function(1), local.x, other()) == (2, 3, 5)


def test_classes_of_the_client_program_come_and_go(start, same_python):
    """What the client's `__main__` defines travels by value, and comes back as the class it was."""
    namespace = {"__name__": "__main__"}
    exec("class Point:\n    def __init__(self, x): self.x = x", namespace)
    point = namespace["Point"]
    runner = start("def f(p): p.x += 1; return p", "f")
    back = runner.call(point(1)).value
    assert type(back) is point and back.x == 2


def test_a_list_that_contains_itself(start):
    runner = start("def f():\n    x = []; x.append(x)\n    return x", "f")
    value = runner.call().value
    assert value[0] is value


def test_a_result_too_deep_fails_clearly(start):
    runner = start("def f():\n    x = []\n    for _ in range(100_000): x = [x]\n    return x", "f")
    assert "cannot be pickled" in runner.call().raised[2]
    assert runner.silent()


def test_a_full_disk_fails_the_call_and_leaves_no_file(start):
    code = """
    import resource, signal
    def f(n):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
        return bytes(n) if n >= 0 else [0.5 * x for x in range(-n)]
    """
    runner = start(code, "f")
    for n in (1 << 20, -200_000):
        answer = runner.call(n)
        assert answer.raised[1] == "OSError", answer.raised
        assert not list((runner.io / "out").iterdir())
    assert runner.call(10).value == bytes(10)


def test_a_missing_argument_file_fails_the_call(start):
    runner = start("def f(x): return x", "f")
    runner.put(file="never-written")
    assert runner.answer().raised[1] == "FileNotFoundError"


def test_bytes_like_arguments_do_not_share_the_buffer(start):
    runner = start("kept = []\ndef f(x): kept.append(x); return list(kept)", "f")
    runner.call(b"first" * 100)
    assert runner.call(b"other" * 100).value == [b"first" * 100, b"other" * 100]


@pytest.mark.parametrize(
    ("value", "large"),
    [(b"", False), (bytes(BIG + 1), True), ([bytes(BIG + 1)], True), ([[[bytes(BIG + 1)]]], False), ((1, 2.0, None, "x"), False),
     ({"k": "x" * (BIG + 1)}, True), (memoryview(bytes(BIG + 1)), True), ([1] * 1000, False), (object(), False)],
)  # fmt: skip
def test_the_guess_of_sizes(value, large):
    assert payload._is_large(value) is large


def test_the_module_leaves_functools_alone(start):
    runner = start(
        "import functools\ndef f(): return functools.reduce(lambda a, b: a + b, [1, 2]), functools.__file__[-12:]", "f"
    )
    assert runner.call().value == (3, "functools.py")


def test_partials_are_pickled(start):
    import functools

    runner = start("def f(p): return p()", "f")
    assert runner.call(functools.partial(max, 1, 2)).value == 2
    assert pickle.loads(cloudpickle.dumps(functools.partial(max, 1, 2)))() == 2
