"""Removing what a platform that was killed has left on this machine. Needs root; safe when there is nothing."""

import contextlib
import os
from pathlib import Path


def sweep(state: Path) -> None:
    """Processes in our cgroups, the cgroups, mounts, network namespaces and their rules, the containers' directories."""
    from ingle.node import mark
    from ingle.node.cgroup import Cgroups
    from ingle.node.kernel import Kernel
    from ingle.node.network import NetworkPool
    from ingle.node.rootfs import remove_tree

    kernel, name = Kernel(), mark.of(state)
    Cgroups(kernel, name).remove()
    # The node's mounts live in a namespace of its own and went with it; what is seen here was made otherwise.
    for point in mounts_below(state):
        kernel.umount(point)
    NetworkPool(kernel, state / "node" / "net", mark=name, size=0).sweep()
    for directory in ("containers", "runtime"):
        remove_tree(state / "node" / directory)


def mounts_below(state: Path) -> list[str]:
    """Mount points below the state directory that this process sees, the deepest first."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split(" ")[4].encode().decode("unicode_escape") for line in lines]
        below = [point for point in points if point.startswith(f"{state}{os.sep}")]
        return sorted(below, key=len, reverse=True)
    return []
