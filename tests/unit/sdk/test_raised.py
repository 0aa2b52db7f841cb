"""Remote exceptions come home as themselves, with their remote frames."""

import linecache
import pickle
import sys
import traceback

import pytest

from ingle.exceptions import RemoteError
from ingle.runner import raised as remote
from ingle.runner import wire
from ingle.sdk.raised import rebuild, remote_traceback


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__("only one")


def pack(make):
    try:
        make()
    except BaseException as error:
        return remote.pack(error)
    raise AssertionError


def text_of(error):
    try:
        raise error
    except BaseException as caught:
        return "".join(traceback.format_exception(type(caught), caught, caught.__traceback__))


def test_type_arguments_attributes_and_cause():
    def make():
        try:
            {}["inner"]
        except KeyError as cause:
            error = ValueError("outer", 5)
            error.hint = "h"
            raise error from cause

    error = rebuild(pack(make))
    assert type(error) is ValueError and error.args == ("outer", 5) and error.hint == "h"
    text = text_of(error)
    assert "inner" in text and "direct cause" in text and "in make" in text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with 3.11")
def test_notes():
    def make():
        error = ValueError(1)
        error.add_note("look here")
        raise error

    assert "look here" in text_of(rebuild(pack(make)))


def test_frames_of_files_that_are_not_here():
    frames = [
        ("/root/hello.py", 12, "outer", "inner(x)  # calls"),
        ("/root/hello.py", 40_000, "inner", "    return 1 / x"),
        ("<string>", 0, "<module>", ""),
        ("/root/hello.py", 3, "inner", "again()"),
    ]
    payload = wire.pack_raised(pickle.dumps(ZeroDivisionError("x")), "ZeroDivisionError", "x", "…", frames)
    error = rebuild(payload)
    text = text_of(error)
    expected = [
        '  File "/root/hello.py", line 12, in outer\n    inner(x)  # calls\n',
        '  File "/root/hello.py", line 40000, in inner\n    return 1 / x\n',
        '  File "<string>", line 1, in <module>\n',
        '  File "/root/hello.py", line 3, in inner\n    again()\n',
    ]
    assert "".join(expected) in text, text
    assert text.index("in text_of") < text.index("line 12")
    linecache.checkcache()
    assert "return 1 / x" in text_of(error)


def test_frames_are_bounded():
    frames = [("/root/a.py", i, "f", "f()") for i in range(1000)]
    count, trace = 0, remote_traceback(frames)
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    assert count == 200
    assert remote_traceback([]) is None


def test_whatever_its_init_wants_it_keeps_its_type():
    def odd():
        raise Odd(1, 2)

    error = rebuild(pack(odd))
    assert type(error) is Odd and error.args == ("only one",) and "in odd" in text_of(error)


def test_what_cannot_be_rebuilt():
    class Local(Exception):
        def __reduce__(self):
            raise TypeError("no pickling of this")

    def hides():
        raise Local("only one")

    error = rebuild(pack(hides))
    assert type(error) is RemoteError
    assert "Local" in str(error) and "only one" in str(error) and "Traceback" in str(error) and "in hides" in str(error)
    for pickled, word in (
        (b"", "pickled"),
        (b"damaged", "rebuilt"),
        (pickle.dumps(5), "is a int"),
        (b"cnowhere\nX\n.", "nowhere"),
    ):
        error = rebuild(wire.pack_raised(pickled, "pkg.E", "text", "the traceback", [("/root/a.py", 1, "f", "f()")]))
        assert (
            type(error) is RemoteError
            and word in str(error)
            and "pkg.E: text" in str(error)
            and "the traceback" in str(error)
        )
        assert "in f" in text_of(error)
    assert type(rebuild(b"nonsense")) is RemoteError
