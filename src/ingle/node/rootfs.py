"""A container's root: overlayfs of read-only layers under a private writable one."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

from ingle.node.kernel import Kernel

#: Nothing in a container's upper layer outlives the container, so nothing there needs syncing (Linux 5.10).
_VOLATILE = "volatile"


def mount(kernel: Kernel, lower: list[Path], work: Path) -> Path:
    """Mount `lower` (top first) under a fresh writable layer inside `work`; returns the merged directory.

    Raises:
        OSError: the kernel refused; nothing stays mounted.
    """
    for name in ("upper", "work", "merged"):
        os.makedirs(work / name, exist_ok=True)
    merged = work / "merged"
    arguments = str(merged), [str(path) for path in lower], str(work / "upper"), str(work / "work")
    try:
        kernel.mount_overlay(*arguments, _VOLATILE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        kernel.mount_overlay(*arguments)
    return merged


def unmount(kernel: Kernel, work: Path) -> None:
    """Undo `mount`, whatever part of it was done, and delete `work`. Twice is fine."""
    kernel.umount(str(work / "merged"))
    remove_tree(work)


def remove_tree(directory: Path) -> None:
    """Delete what a container may have written: no depth of directories makes it fail. One that is gone is fine."""
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except RecursionError:
        subprocess.run(["rm", "-rf", "--", str(directory)], stdin=subprocess.DEVNULL, check=False)
