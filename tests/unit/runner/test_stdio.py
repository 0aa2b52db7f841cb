"""Output: to which input its bytes belong, and that the streams remain ordinary streams."""

import re

from ingle.runner import wire


def attributed(data: bytes) -> list[tuple[str, str]]:
    """(input id, text) in order, as the node takes the pipe apart."""
    first, *rest = re.split(re.escape(wire.MARK) + rb"(.*?)" + re.escape(wire.MARK_END), data)
    pairs = [("", first), *zip((name.decode() for name in rest[::2]), rest[1::2], strict=True)]
    return [(name, text.decode()) for name, text in pairs if text]


def ended(runner) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    runner.process.terminate()
    runner.wait()
    return attributed(runner.out), attributed(runner.err)


def test_lines_belong_to_their_inputs(start):
    code = """
    import sys
    print("import")
    def f(x):
        print("out", x)
        if x != 1: print("err", x, file=sys.stderr)
        print("tail", end="")
    """
    runner = start(code, "f")
    for x in range(3):
        runner.call(x)
    out, err = ended(runner)
    assert out == [("", "import\n"), *((f"fc-test:{x}", f"out {x}\ntail") for x in range(3))]
    assert err == [("fc-test:0", "err 0\n"), ("fc-test:2", "err 2\n")]


def test_output_is_there_before_the_answer_and_without_a_newline(start):
    runner = start(
        "import sys\ndef f(): sys.stdout.write('no newline'); sys.stdout.flush(); sys.stdout.buffer.write(b'+bytes')",
        "f",
    )
    runner.call()
    assert attributed(runner.read_until(b"+bytes")) == [("fc-test:0", "no newline+bytes")]


def test_silence_costs_no_mark(start):
    runner = start("def f(): pass", "f")
    for _ in range(3):
        runner.call()
    assert ended(runner) == ([], [])


def test_processes_that_user_code_starts_are_attributed(start):
    code = """
    import os, subprocess, multiprocessing
    def child(): print("forked")
    def f(how):
        if how == "run": subprocess.run(["sh", "-c", "echo run; echo err >&2"])
        if how == "system": os.system("echo system")
        if how == "spawn": os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawn"], os.environ), 0)
        if how == "fork":
            process = multiprocessing.get_context("fork").Process(target=child); process.start(); process.join()
    """
    runner = start(code, "f")
    hows = ["run", "system", "spawn", "fork"]
    for how in hows:
        runner.call(how)
    out, err = ended(runner)
    texts = [f"{how}ed\n" if how == "fork" else f"{how}\n" for how in hows]
    assert out == [(f"fc-test:{n}", text) for n, text in enumerate(texts)]
    assert err == [("fc-test:0", "err\n")]


def test_the_streams_are_ordinary(start):
    code = """
    import faulthandler, io, logging, sys
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    faulthandler.enable()
    def f():
        logging.warning("logged")
        faulthandler.dump_traceback(all_threads=False)
        print("ünï \\udcff", file=sys.stderr)
        s = sys.stdout
        assert s is sys.__stdout__ and sys.stderr is sys.__stderr__
        return (s.fileno(), sys.stderr.fileno(), s.isatty(), s.name, sys.stderr.name, s.mode, s.encoding,
                isinstance(s, io.TextIOWrapper), s.line_buffering, s.writable(), s.readable(), s.buffer.raw.closefd)
    """
    runner = start(code, "f", flags=("-X", "utf8"))
    assert runner.call().value == (
        1, 2, False, "<stdout>", "<stderr>", "w", "utf-8", True, True, True, False, False
    )  # fmt: skip
    out, err = ended(runner)
    assert out == []
    text = "".join(text for _, text in err)
    assert "logged\n" in text and "most recent call first" in text and "ünï \\udcff\n" in text


def test_user_code_may_replace_and_close_the_streams(start):
    code = """
    import contextlib, io, sys
    def f(x):
        if x == 0:
            with contextlib.redirect_stdout(io.StringIO()) as text: print("kept")
            print("first", end=""); return text.getvalue()
        if x == 1: sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False)); print("second")
        if x == 2: sys.stdout = None
        if x == 3: sys.stdout = sys.__stdout__; sys.stderr.close(); print("third")
        if x == 4: sys.stdout.close()
        return x
    """
    runner = start(code, "f")
    assert runner.call(0).value == "kept\n"
    assert [runner.call(x).value for x in range(1, 6)] == [1, 2, 3, 4, 5]
    out, _ = ended(runner)
    assert [text for _, text in out] == ["firstsecond\n", "third\n"]


def test_a_thread_that_lives_on_prints_for_the_last_input(start):
    code = """
    import threading
    go, gone = threading.Event(), threading.Event()
    def late(): go.wait(); print("late", flush=True); gone.set()
    def f(x):
        if x == 0: threading.Thread(target=late).start(); print("zero")
        else: go.set(); gone.wait(); print("one")
    """
    runner = start(code, "f")
    runner.call(0)
    runner.call(1)
    out, _ = ended(runner)
    assert out == [("fc-test:0", "zero\n"), ("fc-test:1", "late\none\n")]


def test_much_output_arrives_whole(start):
    runner = start("def f(n):\n    for x in range(n): print('x' * 1000, x)", "f")
    runner.put(3000)
    data = runner.read_until(b" 2999\n")
    assert attributed(data) == [("fc-test:0", "".join(f"{'x' * 1000} {x}\n" for x in range(3000)))]
    assert runner.answer().outcome == "returned"


def test_a_crash_in_native_code_shows_where(start):
    runner = start("import ctypes\ndef f(): ctypes.string_at(0)", "f")
    runner.put()
    assert runner.wait() < 0
    assert b"Segmentation fault" in runner.err and b"user_code.py" in runner.err
