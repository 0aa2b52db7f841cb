"""Errors come home as they were."""

import os
import sys
import threading
import traceback
from pathlib import Path

import ingle

app = ingle.App("errors")
TOKEN = os.urandom(8).hex()
ATTEMPTS = []


class Broken(Exception):
    """Survives with what was put on it."""


@app.function(max_containers=1)
def fail(how):
    if how == "key":
        raise KeyError("missing", 7)
    if how == "broken":
        error = Broken("a", 2)
        error.hint = {"line": 3}
        raise error
    if how == "unbuildable":
        Path("/root/only_here.py").write_text("class Unbuildable(Exception):\n    pass\n")
        import only_here  # a class that the caller's machine does not have

        raise only_here.Unbuildable(1, 2)
    if how == "unpicklable":
        error = ValueError("holds a lock")
        error.lock = threading.Lock()
        raise error
    if how == "chain":
        try:
            {}["inner"]
        except KeyError as cause:
            raise RuntimeError("outer") from cause
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    return TOKEN


def deeper(value):
    return 1 / value  # the line that breaks


@app.function()
def shallow(value):
    return deeper(value)


@app.function()
def returns_error():
    return ValueError("a value like any other")


@app.function(max_containers=1)
def count():
    ATTEMPTS.append(1)
    return len(ATTEMPTS)


@app.function()
def dies():
    os._exit(9)


@app.function()
def dies_once():
    if count.remote() == 1:
        os._exit(9)
    return "ran again"


def raised(function, *args):
    try:
        value = function.remote(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"it returned {value!r}")


@app.local_entrypoint()
def type_arguments_and_attributes():
    error = raised(fail, "key")
    assert type(error) is KeyError and error.args == ("missing", 7), repr(error)
    error = raised(fail, "broken")
    assert type(error) is Broken and error.args == ("a", 2) and error.hint == {"line": 3}, repr(error)


@app.local_entrypoint()
def traceback_goes_on_into_the_remote_frames():
    error = raised(shallow, 0)
    assert type(error) is ZeroDivisionError
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "in deeper" in text and "in shallow" in text, text
    assert "return 1 / value  # the line that breaks" in text, text
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    assert last.name == "deeper" and last.filename.endswith("errors.py"), last
    lines = Path(__file__).read_text().splitlines()
    assert lines[last.lineno - 1].strip().startswith("return 1 / value"), last
    assert "function.remote(*args)" in text, "the caller's own frame is missing"


@app.local_entrypoint()
def cause_is_told():
    error = raised(fail, "chain")
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert type(error) is RuntimeError and "inner" in text, text


@app.local_entrypoint()
def what_cannot_be_rebuilt_is_a_remote_error():
    for how, word in (("unbuildable", "Unbuildable"), ("unpicklable", "holds a lock")):
        error = raised(fail, how)
        if how == "unpicklable" and type(error) is ValueError:
            continue  # rebuilt without the attribute that cannot travel: better still
        assert isinstance(error, ingle.exceptions.RemoteError), repr(error)
        assert word in str(error) and "errors.py" in str(error) and "Traceback" in str(error), str(error)


@app.local_entrypoint()
def a_returned_exception_is_a_value():
    value = returns_error.remote()
    assert type(value) is ValueError and value.args == ("a value like any other",)
    assert [type(value) for value in returns_error.starmap([(), ()])] == [ValueError, ValueError]


@app.local_entrypoint()
def sys_exit_fails_the_call_and_the_container_lives_on():
    before = fail.remote("no")
    error = raised(fail, "exit")
    assert type(error) is SystemExit and error.code == 3, repr(error)
    assert fail.remote("no") == before, "another container answered"


@app.local_entrypoint()
def a_function_that_kills_its_container_ends_with_a_reason():
    error = raised(dies)
    assert isinstance(error, ingle.exceptions.ExecutionError), repr(error)
    assert str(error), "no reason is given"


@app.local_entrypoint()
def a_lost_container_is_no_attempt():
    assert dies_once.remote() == "ran again"
