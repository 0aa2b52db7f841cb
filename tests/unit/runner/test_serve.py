"""The main loop: values, exceptions, generators."""

from ingle.runner import wire
from ingle.model import call


def test_value(start):
    runner = start("def f(x, y=1): return x + y", "f")
    assert runner.call(2).value == 3
    assert runner.call(2, y=5).value == 7
