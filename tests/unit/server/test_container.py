"""Running and ended containers."""

import pytest

from ingle.exceptions import NotFoundError
from ingle.server import container as module
from ingle.server.container import Containers, Running


def add(containers, name, node="no-1"):
    return containers.add(Running(name, "ap-1", "fu-1", node, "starting", 1.0, function_name="f"))


def test_ended_ones_are_remembered_for_a_while(monkeypatch):
    containers = Containers()
    add(containers, "co-1").inputs["fc-1:0"] = None
    add(containers, "co-2").stopping = True
    assert [(c.id, c.state, c.inputs) for c in containers.values()] == [
        ("co-1", "starting", ["fc-1:0"]),
        ("co-2", "stopping", []),
    ]
    containers.ended("co-1", "why")
    assert containers.ended("co-1", "again") is None
    assert {c.function_name for c in containers.values(with_ended=True)} == {"f"}
    assert [(c.id, c.state, c.exit_reason) for c in containers.values(with_ended=True)] == [
        ("co-1", "exited", "why"),
        ("co-2", "stopping", ""),
    ]
    assert containers.app_of("co-1") == "ap-1" and containers.app_of("co-9") is None
    with pytest.raises(NotFoundError, match="container list"):
        containers.get("co-1")


def test_the_memory_of_ended_ones_is_bounded():
    containers = Containers()
    for n in range(module.HISTORY_MAX + 10):
        add(containers, f"co-{n}")
        containers.ended(f"co-{n}", "")
    assert len(containers.values(with_ended=True)) == module.HISTORY_MAX


def test_they_are_found_by_their_node():
    containers = Containers()
    add(containers, "co-1", "no-1")
    add(containers, "co-2", "no-2")
    assert [c.id for c in containers.on_node("no-2")] == ["co-2"]
