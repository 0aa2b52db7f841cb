"""The container's root, as mounts that are asked for."""

import errno
import os
from pathlib import Path

import pytest

from ingle.node import rootfs
from ingle.node.kernel import RecordingKernel


def test_mount_and_unmount(tmp_path):
    kernel = RecordingKernel()
    work = tmp_path / "work"
    merged = rootfs.mount(kernel, [Path("/top"), Path("/base")], work)
    assert merged == work / "merged" and merged.is_dir()
    assert kernel.said == [
        f"mount overlay {merged} lowerdir=/top:/base,upperdir={work}/upper,workdir={work}/work,volatile"
    ]
    for _ in range(2):
        rootfs.unmount(kernel, work)
    assert not work.exists() and kernel.said[1:] == [f"umount {merged}"] * 2


def test_an_older_kernel_mounts_without_volatile(tmp_path):
    kernel = RecordingKernel()
    kernel.faults = [OSError(errno.EINVAL, "unknown option")]
    rootfs.mount(kernel, [Path("/base")], tmp_path / "work")
    assert len(kernel.said) == 2 and not kernel.said[1].endswith("volatile")


def test_other_refusals_are_told(tmp_path):
    kernel = RecordingKernel()
    kernel.faults = [OSError(errno.ENOSPC, "full")]
    with pytest.raises(OSError, match="full"):
        rootfs.mount(kernel, [Path("/base")], tmp_path / "work")
    rootfs.unmount(kernel, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_no_depth_is_too_deep(tmp_path):
    """A container made more directories within directories than Python can call within calls, under names that make a path too long."""
    work = tmp_path / "work"
    work.mkdir()
    here = os.open(work, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper" * 10, dir_fd=here)
        below = os.open("deeper" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    rootfs.unmount(RecordingKernel(), work)
    assert not work.exists()
