"""Exceptions as payloads: what the client gets to see, and that it can always be unpickled."""

import pickle

import pytest

from ingle.runner import raised, wire

CODE = """
import threading
class Plain(Exception): pass
class Attributes(Exception):
    def __init__(self, code, why=""): super().__init__(code); self.code = code; self.why = why
class Breaks(Exception):
    def __init__(self, one, two): super().__init__("only one")
class Named(SystemExit):
    __slots__ = ("slot",)
    def __init__(self, code, *, name): super().__init__(code); self.name = name; self.slot = 5
class SaysAgain(Exception):
    def __init__(self, what): super().__init__(f"no such {what}"); self.what = what
class BadFile(OSError):
    def __init__(self, path, *, why): super().__init__(2, "no file", path); self.why = why
class Locked(Exception):
    def __init__(self, *args): super().__init__(*args); self.lock = threading.Lock(); self.kept = 5
class Silent(Exception):
    def __str__(self): raise RuntimeError("no text")
class Stubborn(Exception):
    def __reduce__(self): raise RuntimeError("no pickle")
def inner(x):
    if x == "plain": raise Plain("a", 1)
    if x == "attributes": raise Attributes(7, why="because")
    if x == "breaks": raise Breaks(1, 2)
    if x == "breaks as cause": raise ValueError("outer") from Breaks(1, 2)
    if x == "locked as cause": raise ValueError("outer") from Locked("l")
    if x == "named": raise Named(1, name="n")
    if x == "says again": raise SaysAgain("mine")
    if x == "a file": raise BadFile("/p", why="w")
    if x == "locked": raise Locked("l")
    if x == "silent": raise Silent("s")
    if x == "stubborn": raise Stubborn("s")
    if x == "lock argument": raise ValueError(threading.Lock())
    if x == "local": raise type("Local", (ValueError,), {"__module__": "__main__"})("v")
    if x == "cause":
        try: 1 / 0
        except ZeroDivisionError as error: raise Plain("outer") from error
    if x == "context":
        try: 1 / 0
        except ZeroDivisionError: raise Plain("outer")
    if x == "none":
        try: 1 / 0
        except ZeroDivisionError: raise Plain("outer") from None
    if x == "cause locked":
        try: raise ValueError(threading.Lock())
        except ValueError as error: raise Plain("outer") from error
    if x == "circle":
        one, two = Plain(1), Plain(2)
        one.__context__, two.__context__ = two, one
        raise one
    if x == "noted":
        error = Plain("n"); error.__notes__ = ["a note"]; raise error
    if x == "surrogate": raise ValueError("\\udcff")
    if x == "group": raise ExceptionGroup("g", [Plain(1), ValueError(2)])
    if x == "deep": return inner(x)
    if x == "syntax": exec("def")
def f(x): return inner(x)
"""


@pytest.fixture
def module(tmp_path, monkeypatch, library):
    """The same module, importable in this process, as on a client that has the source."""
    (tmp_path / "user_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib
    import sys

    monkeypatch.delitem(sys.modules, "user_code", raising=False)
    yield importlib.import_module("user_code")
    sys.modules.pop("user_code", None)


def test_type_arguments_and_attributes_come_back(start, module):
    runner = start(CODE, "f")
    error = runner.call("plain").error
    assert type(error) is module.Plain and error.args == ("a", 1)
    error = runner.call("attributes").error
    assert (type(error), error.code, error.why) == (module.Attributes, 7, "because")
    error = runner.call("noted").error
    assert error.__notes__ == ["a note"]


def test_causes_come_along(start, module):
    runner = start(CODE, "f")
    error = runner.call("cause").error
    assert type(error.__cause__) is ZeroDivisionError and error.__suppress_context__
    error = runner.call("context").error
    assert error.__cause__ is None and type(error.__context__) is ZeroDivisionError and not error.__suppress_context__
    error = runner.call("none").error
    assert error.__cause__ is None and error.__suppress_context__
    error = runner.call("circle").error
    assert error.args == (1,)


@pytest.mark.parametrize(
    ("what", "name", "text"),
    [("stubborn", "user_code.Stubborn", "s"),
     ("lock argument", "ValueError", "lock"), ("silent", "user_code.Silent", "(its text cannot be shown)")],
)  # fmt: skip
def test_what_cannot_be_rebuilt_is_told_in_words(start, module, what, name, text):
    pickled, kind, said, formatted, frames = start(CODE, "f").call(what).raised
    assert pickled == b"" or what == "silent"
    assert kind == name and text in said
    assert "raise" in formatted and frames[-1][2] == "inner"


def test_an_init_with_other_arguments_than_it_hands_on_is_no_hindrance(start, module):
    runner = start(CODE, "f")
    error = runner.call("breaks").error
    assert (type(error), error.args) == (module.Breaks, ("only one",))
    error = runner.call("named").error
    assert (type(error), error.code, error.name, error.slot) == (module.Named, 1, "n", 5)
    error = runner.call("says again").error
    assert (error.args, error.what) == (("no such mine",), "mine")
    error = runner.call("a file").error
    assert (type(error), error.errno, error.filename, error.why) == (module.BadFile, 2, "/p", "w")
    error = runner.call("breaks as cause").error
    assert type(error) is ValueError and type(error.__cause__) is module.Breaks
    error = runner.call("locked as cause").error
    assert type(error) is ValueError and error.__cause__.kept == 5


def test_as_much_as_can_be_pickled_is_kept(start, module):
    runner = start(CODE, "f")
    error = runner.call("locked").error
    assert (type(error), error.args, error.kept) == (module.Locked, ("l",), 5)
    error = runner.call("cause locked").error
    assert (type(error), error.args) == (module.Plain, ("outer",))


def test_a_class_of_no_module_goes_by_value(start, same_python):
    error = start(CODE, "f").call("local").error
    assert type(error).__name__ == "Local" and isinstance(error, ValueError) and error.args == ("v",)


def test_the_traceback_shows_user_code_alone(start):
    runner = start(CODE, "f")
    _, _, _, formatted, frames = runner.call("plain").raised
    path = str(runner.root / "user_code.py")
    lines = CODE.split("\n")
    at = next(n for n, line in enumerate(lines, 1) if 'raise Plain("a", 1)' in line)
    assert frames == [
        (path, len(lines) - 1, "f", "def f(x): return inner(x)"),
        (path, at, "inner", lines[at - 1].strip()),
    ]
    assert formatted.startswith("Traceback (most recent call last):\n") and formatted.rstrip().endswith(
        "Plain: ('a', 1)"
    )
    assert "ingle/runner" not in formatted
    assert "direct cause" in runner.call("cause").raised[3]
    assert "SyntaxError" in runner.call("syntax").raised[3]


def test_a_deep_recursion_is_cut(start):
    _, name, _, formatted, frames = start(CODE, "f").call("deep").raised
    assert (
        name == "RecursionError" and len(frames) == raised.FRAMES_MAX and len(formatted) < raised.TEXT_CHARS_MAX + 1000
    )


def test_text_that_is_no_unicode_arrives(start):
    assert start(CODE, "f").call("surrogate").raised[2] == "\\udcff"


def test_a_group_comes_back(start, module):
    import sys

    if sys.version_info < (3, 11):
        pytest.skip("exception groups came with Python 3.11")
    runner = start(CODE, "f")
    answer = runner.call("group")
    if answer.raised[1] == "NameError":
        pytest.skip("the runner's Python has no exception groups")
    assert [type(error).__name__ for error in answer.error.exceptions] == ["Plain", "ValueError"]
    assert "ValueError: 2" in answer.raised[3]


def test_the_failure_of_packing_is_packed():
    class Hostile(Exception):
        def __getattribute__(self, name):
            raise MemoryError

    pickled, name, text, _, frames = wire.unpack_raised(raised.pack(Hostile()))
    assert pickled == b"" and name.endswith("Hostile") and frames == [] and "Hostile" in text


def test_a_payload_is_cut_to_size():
    try:
        raise ValueError("x" * 50_000)
    except ValueError as error:
        packed = raised.pack(error)
    assert raised.cut(packed, len(packed)) is packed
    small = raised.cut(packed, 4096)
    assert len(small) <= 4096
    pickled, name, text, _, _ = wire.unpack_raised(small)
    assert pickled == b"" and name == "ValueError" and text.startswith("xxx")


def test_a_pickle_needs_nothing_of_ours():
    try:
        try:
            raise KeyError("a")
        except KeyError as error:
            raise ValueError("b") from error
    except ValueError as error:
        data = raised.pickled(error)
    assert b"ingle" not in data
    assert type(pickle.loads(data).__cause__) is KeyError
