import asyncio
import linecache
import traceback

from ingle.cli import trace
from ingle.exceptions import InvalidError


def shown(error):
    trace.clean(error)
    return "".join(traceback.format_exception(error))


def raised_at(filename, source, **names):
    """The exception of a program with that file name, with its source to show."""
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    try:
        exec(compile(source, filename, "exec"), names)
    except Exception as error:
        error.__traceback__ = error.__traceback__.tb_next  # this test's own frame
        return error


def test_our_frames_are_left_out_wherever_they_stand():
    def user():
        raise ValueError("theirs")

    between = raised_at(trace._OURS + "sdk/call.py", "call()\n", call=user)
    text = shown(between)
    assert "sdk/call.py" not in text and "in user" in text and "ValueError: theirs" in text


def test_remote_frames_stay_and_the_runners_go():
    def inner():
        raise KeyError("x")

    def runner():
        exec(compile("inner()\n", "/root/user.py", "exec"), {"inner": inner})

    error = raised_at("/ingle/lib/ingle/runner/serve.py", "runner()\n", runner=runner)
    text = shown(error)
    assert "/ingle/lib/" not in text and "/root/user.py" in text


def test_causes_are_cleaned_too():
    ours = raised_at(trace._OURS + "x.py", "raise OSError('deep')\n")
    try:
        raise ValueError("outer") from ours
    except ValueError as error:
        text = shown(error)
    assert "deep" in text and "outer" in text and trace._OURS not in text


def test_what_carries_an_async_entrypoint_is_left_out():
    async def main():
        raise ValueError("async")

    try:
        asyncio.run(main())
    except ValueError as error:
        error.__traceback__ = error.__traceback__.tb_next
        text = shown(error)
    assert "asyncio" not in text.replace("ValueError: async", "") and "in main" in text


def test_an_error_of_ours_without_a_frame_of_theirs_has_no_traceback():
    error = raised_at(trace._OURS + "sdk/x.py", "raise error\n", error=InvalidError("say it so"))
    assert trace.clean(error).__traceback__ is None


def test_a_ring_of_causes_ends():
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__context__ = b, a
    assert trace.clean(a) is a
