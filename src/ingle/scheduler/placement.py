"""Which node a container goes to: feasible first, then the best fit. Pure functions of the nodes as they are."""

from collections.abc import Iterable

from ingle.scheduler.state import Function, Node


def choose_node(
    nodes: Iterable[Node], function: Function, reserved: Node | None = None, *, over: bool = False
) -> Node | None:
    """The node with room on which the least is left over, so that big needs find room later; None if none has room.
    `reserved` is kept for another function. `over`: only memory counts, and the node least over its cpu is the best."""
    best, least = None, 0.0
    for node in nodes:
        cpu = node.free_cpu - function.cpu
        memory = node.free_memory - function.memory
        if not node.up or (cpu < 0 and not over) or memory < 0 or node is reserved:
            continue
        left = -cpu if over else cpu / (node.cpu or 1) + memory / (node.memory or 1)
        if best is None or left < least:
            best, least = node, left
    return best


def holds(node: Node, function: Function) -> bool:
    """Could this node hold such a container if nothing else were on it?"""
    return function.cpu <= node.cpu and function.memory <= node.memory


def fitting(node: Node, function: Function) -> int:
    """How many such containers fit now and when everything that is being stopped is gone; 0 for a node that is away."""
    if not node.up:
        return 0
    count = 1 << 30
    if function.cpu:
        count = (node.free_cpu + node.freeing_cpu) // function.cpu
    if function.memory:
        count = min(count, (node.free_memory + node.freeing_memory) // function.memory)
    return max(0, count)


def why_never(nodes: Iterable[Node], function: Function) -> str:
    """Why no known node can ever hold such a container; "" if one can, or none is known. A node that is away counts: it may be back."""
    nodes = list(nodes)
    if not nodes or any(holds(node, function) for node in nodes):
        return ""
    memory = max(node.memory for node in nodes)
    if function.memory > memory:
        return f"needs {function.memory} MiB of memory; the largest node has {memory} MiB"
    cpu = max(node.cpu for node in nodes)
    if function.cpu > cpu:
        return f"needs {_cores(function.cpu)}; the largest node has {_cores(cpu)}"
    return f"needs {_cores(function.cpu)} and {function.memory} MiB of memory together; no node has both"


def why_waiting(nodes: Iterable[Node], function: Function) -> str:
    """What it is that this function waits for, for people to read."""
    nodes = list(nodes)
    up = [node for node in nodes if node.up]
    if not up:
        return "no node is connected" if nodes else "no node has joined yet"
    able = [node for node in up if holds(node, function)] or up
    memory = max(node.free_memory for node in able)
    if function.memory > memory:
        return f"waiting for memory: needs {function.memory} MiB, {memory} free"
    cpu = max(0, *(node.free_cpu for node in able))
    if function.cpu > cpu:
        return f"waiting for cpu: needs {_cores(function.cpu)}, {cpu / 1000:g} free"
    if all(function.cpu > node.free_cpu or function.memory > node.free_memory for node in able):
        return f"waiting for room: no node has {_cores(function.cpu)} and {function.memory} MiB free together"
    return "waiting for room: another function has waited longer"


def _cores(cpu_milli: int) -> str:
    return f"{cpu_milli / 1000:g} {'core' if cpu_milli == 1000 else 'cores'}"
