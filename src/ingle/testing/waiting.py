"""Waiting for a condition with a deadline, instead of sleeping for luck."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 30.0
STEP_S = 0.01


class NeverHappened(AssertionError):
    """The condition did not become true in time."""


def wait_until(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """The condition's value once it is true.

    Raises:
        NeverHappened: it was not within `deadline_s`.
    """
    ends = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > ends:
            raise NeverHappened(f"not within {deadline_s:g} s: {what}")
        time.sleep(STEP_S)
    return value


async def wait_until_async(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """As `wait_until`, with the event loop running on."""
    ends = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > ends:
            raise NeverHappened(f"not within {deadline_s:g} s: {what}")
        await asyncio.sleep(STEP_S)
    return value
