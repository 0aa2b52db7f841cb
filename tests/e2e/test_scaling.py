"""Containers follow the work: how many, how long, and what is said when they cannot."""

import time

import pytest
from e2e.support import PROGRAMS

from ingle.testing import wait_until


@pytest.mark.parametrize("check", ["at_most_two", "up_to_six", "what_never_fits", "calls_within_calls"])
def test_bounds(ingle, check):
    ingle.run("run", f"scales.py::{check}").ok()


def test_as_many_as_are_wanted_and_idle_ones_stop(ingle):
    program = ingle.program("run", "--name", "counted", "scales.py::wait_for_a_word")
    try:
        program.see("open")
        app = next(a for a in ingle.apps() if a["name"] == "counted")["id"]

        def counts() -> dict[str, int]:
            found: dict[str, int] = {}
            for container in ingle.listed():
                if container["app_id"] == app and container["state"] in ("starting", "ready"):
                    name = container.get("function_name") or container["function_id"]
                    found[name] = found.get(name, 0) + 1
            return found

        program.see("ahead answered", 60)
        wait_until(lambda: sum(counts().values()) >= 4, "min_containers=2 and the buffers are there")
        # `few` and `ahead` were used and are idle; `kept` has min_containers=2 and was never called.
        wait_until(lambda: sum(counts().values()) == 2, "only those of min_containers stay", 40)
    finally:
        program.kill()
    wait_until(lambda: all(c["app_id"] != app for c in ingle.listed()), "all end with the app", 30)


def test_what_does_not_fit_waits_and_says_why(ingle):
    node = ingle.status()["server"]["nodes"][0]
    total = _memory_mib(node)
    done = ingle.run("run", "scales.py::what_must_wait", "--memory-mib", str(int(total * 0.6))).ok()
    assert "waiting for memory" in done.stdout + done.stderr, done.all


def _memory_mib(value) -> int:
    """The node's capacity, wherever the status puts it."""
    if isinstance(value, dict):
        if isinstance(value.get("capacity"), dict):
            return _memory_mib(value["capacity"])
        return int(value.get("memory_mib") or value.get("capacity_memory_mib"))
    raise AssertionError(f"no capacity in {value}")


def test_an_import_error_fails_the_call_soon_with_its_traceback(ingle):
    start = time.monotonic()
    done = ingle.run("run", "broken_import.py")
    assert time.monotonic() - start < 30
    assert done.code == 1 and "ModuleNotFoundError" in done.stderr, done.all
    assert "surely_not_installed_anywhere" in done.stderr and "broken_import.py" in done.stderr, done.all
    assert (PROGRAMS / "broken_import.py").exists()
