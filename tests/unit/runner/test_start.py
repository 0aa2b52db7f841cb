"""From the first connection to READY, or to the reason why not."""

import cloudpickle
import pytest

from ingle.runner import wire

#: All that may be loaded before user code: built in, or small.
LOADED = {
    "_collections", "_compat_pickle", "_functools", "_operator", "_pickle", "_signal", "_socket", "_stat", "_struct", "_thread", "atexit",
    "copyreg", "faulthandler", "fcntl", "gc", "genericpath", "itertools", "os", "os.path", "posix", "posixpath", "stat", "time", "_collections_abc",
    "ingle", "ingle.runner", "user_code",
}  # fmt: skip


def test_nothing_heavy_is_loaded_before_user_code(start):
    # -S: what the `site` of a test environment loads is not ours.
    runner = start("import sys\nloaded = set(sys.modules)\ndef f(): return loaded", "f", flags=("-S",))
    bare = {"encodings", "codecs", "io", "abc", "marshal", "sys", "builtins", "zipimport", "__main__", "_abc", "_codecs", "_io", "_imp",
            "_weakref", "_warnings", "_frozen_importlib", "_frozen_importlib_external", "winreg", "_sitebuiltins", "site"}  # fmt: skip
    seen = {name for name in runner.call().value if not name.startswith(("ingle.runner.", "encodings."))}
    assert seen - LOADED - bare == set()
    modules = {name.rpartition(".")[2] for name in runner.call().value if name.startswith("ingle.runner.")}
    assert modules == {"context", "control", "payload", "serve", "start", "stdio", "wire"}


def test_hello_says_who(start, python):
    runner = start("")
    role, pid, version = runner.hello[1:]
    assert (runner.hello[0], role, int(pid)) == (wire.HELLO, b"runner", runner.process.pid)
    assert version.startswith(b"3.")


def test_ready_says_how_long_it_took(start):
    runner = start("import time; time.sleep(0.02)\ndef f(): pass").set_up("f")
    phases = runner.ready()
    assert float(phases[b"import"]) >= 20 and phases[b"enter"] == b"0"


def test_the_process_is_as_user_code_expects(start):
    code = """
    import os, sys, time
    import beside
    def f():
        main = sys.modules["__main__"]
        return (os.getcwd(), sys.path[0], sys.path[1], os.environ["GREETING"], time.tzname[0], vars(main).get("start"), __name__, beside.x,
                [path for path in sys.path if path.endswith("runner")], sys.argv, sys.path[-1])
    """
    env = wire.pack(b"GREETING", "hällo=1".encode(), b"TZ", b"XYZ-3", b"PYTHONPATH", b"/somewhere/else")
    runner = start(code)
    (runner.root / "beside.py").write_text("x = 5")
    runner.set_up("f", env=env).ready()
    root = str(runner.root)
    *values, last = runner.call().value
    assert values == [root, root, "/somewhere/else", "hällo=1", "XYZ", None, "user_code", 5, [], [root]]
    assert last.startswith("/") and "lib" in last


def test_the_library_is_found_last(start):
    runner = start("import sys, cloudpickle\ndef f(): return sys.path, cloudpickle.__file__", "f", flags=("-S",))
    path, found = runner.call().value
    assert found.startswith(path[-1]) and path[-1] not in path[:-1]


def test_a_function_inside_a_package(start):
    runner = start("", module="pack.age")
    (runner.root / "pack").mkdir()
    (runner.root / "pack/__init__.py").write_text("")
    (runner.root / "pack/age.py").write_text(
        "from . import other\nclass K:\n    @staticmethod\n    def f(): return other.x"
    )
    (runner.root / "pack/other.py").write_text("x = 7")
    runner.set_up("K.f").ready()
    assert runner.call().value == 7


def test_a_decorated_function_is_unwrapped(start):
    code = """
    class Function:
        def __init__(self, raw): self._ingle_raw = raw
    @Function
    def f(x): return x + 1
    """
    assert start(code, "f").call(1).value == 2


def test_a_pickled_definition(start, same_python):
    runner = start("")
    (runner.io / "in" / "definition").write_bytes(cloudpickle.dumps(lambda x: x * 2))
    runner.set_up("f", definition=b"definition").ready()
    assert runner.call(21).value == 42


def failure(runner):
    kind, payload = runner.receive()
    assert kind == wire.START_FAILED
    assert runner.wait() == 1
    return wire.unpack_raised(payload)


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [("import not_there_at_all", "ModuleNotFoundError", "not_there_at_all"), ("raise ValueError('at import')", "ValueError", "at import"),
     ("import sys; sys.exit(3)", "SystemExit", "3"), ("def f(:", "SyntaxError", "invalid syntax"), ("x = 1", "AttributeError", "has no `f`"),
     ("f = 5", "TypeError", "no function"), ("raise type('E', (BaseException,), {})", "user_code.E", ""),
     ("raise ValueError('x' * 1_000_000)", "ValueError", "xxx")],
)  # fmt: skip
def test_a_module_that_fails_says_why(start, code, name, text):
    runner = start(code + "\n").set_up("f")
    _, kind, said, formatted, _ = failure(runner)
    assert kind == name and text in said
    assert "ingle/runner" not in formatted and "importlib" not in formatted


def test_a_failing_import_shows_the_users_lines(start):
    runner = start("import beside\n")
    (runner.root / "beside.py").write_text("def broken(): 1 / 0\nbroken()\n")
    runner.set_up("f")
    _, _, _, _, frames = failure(runner)
    assert [(file.rpartition("/")[2], line, text) for file, line, _, text in frames] == [
        ("user_code.py", 1, "import beside"), ("beside.py", 2, "broken()"), ("beside.py", 1, "def broken(): 1 / 0"),
    ]  # fmt: skip


def test_a_missing_module_says_so(start):
    runner = start("", module="absent").set_up("f")
    assert failure(runner)[1:3] == ("ModuleNotFoundError", "No module named 'absent'")


def test_output_of_a_failing_import_is_there(start):
    runner = start("print('before', end='')\nimport nothing_here").set_up("f")
    failure(runner)
    assert runner.out == b"before"


def test_user_code_keeps_its_own_garbage_collector(start):
    runner = start("import gc\ngc.set_threshold(5, 6, 7)\ndef f(): return gc.get_threshold(), gc.isenabled()", "f")
    assert runner.call().value == ((5, 6, 7), True)
    runner = start("import gc\ndef f(): return gc.get_threshold()[0] < 20_000, gc.isenabled()", "f")
    assert runner.call().value == (True, True)


def test_without_a_node_the_runner_says_so(tmp_path, library, python):
    import os
    import subprocess

    environment = {**os.environ, "INGLE_IO_DIR": str(tmp_path)}
    done = subprocess.run(
        [python, library / "ingle/runner/__main__.py"], env=environment, capture_output=True, timeout=20
    )
    assert done.returncode == 1 and b"cannot reach its node" in done.stderr


def test_an_answer_that_is_no_setup_ends_it(start):
    runner = start("")
    runner.stream.send(wire.pack(b"something", b"else"))
    assert runner.wait() == 1
    assert b"something else" in runner.err


def test_the_program_also_runs_as_a_module(start, python, library, tmp_path):
    import os
    import subprocess

    environment = {**os.environ, "INGLE_IO_DIR": str(tmp_path), "PYTHONPATH": str(library)}
    done = subprocess.run([python, "-m", "ingle.runner"], env=environment, capture_output=True, timeout=20)
    assert b"cannot reach its node" in done.stderr
