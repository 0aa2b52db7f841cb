"""Ingle for tests: a platform in this process, or as real processes that a test may kill. Users may use it too."""

from ingle.testing.leftovers import find_leftovers
from ingle.testing.platform import Platform
from ingle.testing.processes import Processes
from ingle.testing.waiting import wait_until, wait_until_async

__all__ = ["Platform", "Processes", "find_leftovers", "wait_until", "wait_until_async"]
