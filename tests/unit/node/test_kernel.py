"""The kernel object: what it asks for, without asking."""

import errno

import pytest

from ingle.node.kernel import Kernel, RecordingKernel, hybrid_unified, mounts_of_cgroups

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
PURE_V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_a_hybrid_machine_is_told_by_its_mounts():
    assert hybrid_unified(HYBRID) == ["/sys/fs/cgroup/unified"]
    assert hybrid_unified(PURE_V2) == []
    assert [point for point, _, _ in mounts_of_cgroups(PURE_V2)] == ["/sys/fs/cgroup"]


def test_an_overlay_is_one_mount_call():
    kernel = RecordingKernel()
    kernel.mount_overlay("/m", ["/top", "/base"], "/u", "/w", "volatile")
    assert kernel.said == ["mount overlay /m lowerdir=/top:/base,upperdir=/u,workdir=/w,volatile"]


def test_separators_in_paths_are_escaped():
    kernel = RecordingKernel()
    kernel.mount_overlay("/m", ["/a:b"], "/u,v", "/w")
    assert kernel.said == [r"mount overlay /m lowerdir=/a\:b,upperdir=/u\,v,workdir=/w"]


def test_more_layers_than_a_page_of_options_go_step_by_step():
    kernel = RecordingKernel()
    kernel.mount_overlay("/m", [f"/layers/{'x' * 60}{n}" for n in range(100)], "/u", "/w", "volatile")
    assert kernel.said == ["mount overlay /m by steps: 102 paths"]


def test_unmounting_what_is_not_mounted_is_quiet(tmp_path):
    Kernel().umount(str(tmp_path))
    Kernel().umount(str(tmp_path / "nothing"))


def test_directories_are_made_and_removed_twice(tmp_path):
    kernel = Kernel()
    for _ in range(2):
        kernel.mkdir(tmp_path / "a")
    assert kernel.directories(tmp_path) == ["a"]
    for _ in range(2):
        kernel.rmdir(tmp_path / "a")
    assert kernel.directories(tmp_path / "gone") == []


def test_a_mount_that_fails_says_which(tmp_path):
    with pytest.raises(OSError, match="mount overlay on") as caught:
        Kernel().mount_overlay(str(tmp_path / "gone"), ["/nowhere"], "/u", "/w")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)
