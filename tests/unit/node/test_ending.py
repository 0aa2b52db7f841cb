"""What is said about how a container ended."""

import pytest
from unit.node.stub import function

from ingle.exceptions import ImageBuildError
from ingle.node import ending
from ingle.node.ending import Died, Ending, StartFailed, judge
from ingle.runner import wire
from ingle.wire import node as w
from ingle.wire.errors import unpack_failure


def say(known=None, **more):
    given = dict(
        code=0, oom_kills=0, running="", was_ready=True, memory_mib=128, interrupted=None, tail="", known=known
    )
    given.update(more)
    return judge(given.pop("known"), **given)


@pytest.mark.parametrize(
    ("given", "cause", "message"),
    [
        (dict(code=-9, oom_kills=1), "out_of_memory", "killed at its memory limit of 128 MiB"),
        (dict(code=137, oom_kills=1), "out_of_memory", "killed at its memory limit of 128 MiB"),
        (dict(code=-9, oom_kills=1, memory_mib=None), "out_of_memory", "killed at the memory limit of the node"),
        (dict(code=-9, running="fc-1:0"), "killed", "killed from outside while running fc-1:0"),
        (dict(code=-11, running="fc-1:0"), "exited", "by signal SIGSEGV (os._exit or a crash) while running fc-1:0"),
        (dict(code=3), "exited", "with code 3"),
        (dict(code=1, oom_kills=1), "exited", "with code 1"),
        (dict(code=-9, running="fc-1:0", interrupted=("fc-1:0", "timeout")), "timeout", "interrupted"),
    ],
)
def test_causes(given, cause, message):
    end = say(**given)
    assert end.cause == cause and message in end.message and end.outcome == ""


def test_what_we_did_ourselves_comes_first():
    assert say(Ending("stopped", "enough"), code=-9, oom_kills=1) == Ending("stopped", "enough")


@pytest.mark.parametrize(("oom_kills", "code"), [(0, "execution"), (1, "out_of_memory")])
def test_a_death_before_it_was_ready_is_a_failed_start(oom_kills, code):
    end = say(code=-9, oom_kills=oom_kills, was_ready=False, tail="the end")
    assert (end.cause, end.outcome, unpack_failure(end.payload).code) == ("start_failed", "failed", code)
    assert end.message.endswith("the last it said:\nthe end")


def test_errors_of_a_start():
    raised = ending.of_error(StartFailed("", "ValueError: no", b"packed"), "")
    assert (raised.outcome, raised.payload) == ("raised", b"packed")
    assert unpack_failure(ending.of_error(ImageBuildError("apt failed"), "").payload).code == "image_build"
    assert unpack_failure(ending.of_error(OSError(28, "No space left on device"), "").payload).code == "server"
    assert ending.of_error(Died(1), "") is None


def test_setup_says_everything_that_the_runner_needs():
    spec = function("f", env={"A": "ä"}, definition="bl-1")
    message = wire.unpack(ending.setup_message(w.StartContainer("co-1", spec, {"f": "fu-1"}, 0.0, "app")))
    values = wire.unpack_pairs(message[1:])
    assert message[0] == wire.SETUP and tuple(values) == wire.SETUP_KEYS
    assert values[b"container"] == b"co-1" and values[b"definition"] == b"definition" and values[b"generator"] == b""
    assert wire.unpack_pairs(wire.unpack(values[b"env"])) == {b"A": "ä".encode()}
    assert wire.unpack_pairs(wire.unpack(values[b"functions"])) == {b"f": b"fu-1"}
