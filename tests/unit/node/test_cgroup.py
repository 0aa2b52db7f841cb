"""Control groups on v1, v2 and hybrid machines, on files that stand for the kernel's."""

import pytest
from unit.node.test_kernel import HYBRID, PURE_V2

from ingle.model.resources import Limits
from ingle.node.cgroup import Cgroups, CgroupV1, CgroupV2, find, memory_for_containers_mib, quota_us, shares, weight
from ingle.node.kernel import RecordingKernel

MEMINFO = "MemTotal:       16777216 kB\nMemFree: 1 kB\n"


def v1() -> RecordingKernel:
    return RecordingKernel({"/proc/self/mountinfo": HYBRID, "/proc/meminfo": MEMINFO})


def v2(controllers: str = "cpuset cpu io memory pids", on: str = "memory pids") -> RecordingKernel:
    return RecordingKernel(
        {
            "/proc/self/mountinfo": PURE_V2,
            "/proc/meminfo": MEMINFO,
            "/sys/fs/cgroup/cgroup.controllers": controllers,
            "/sys/fs/cgroup/cgroup.subtree_control": on,
            "/sys/fs/cgroup/ingle-x/cgroup.subtree_control": "",
        }
    )


def test_hybrid_machines_use_their_v1_controllers():
    found = find(v1())
    assert (found.version, found.hybrid, found.missing) == (1, True, [])
    assert found.roots["cpu"] == "/sys/fs/cgroup/cpu,cpuacct"


def test_v2_has_what_its_root_offers():
    assert find(v2()).roots == dict.fromkeys(("memory", "cpu", "pids"), "/sys/fs/cgroup")
    assert find(v2("cpuset memory")).missing == ["cpu", "pids"]


def test_a_machine_without_cgroups_misses_them_all():
    assert find(RecordingKernel({"/proc/self/mountinfo": ""})).missing == ["memory", "cpu", "pids"]


def test_v1_limits():
    kernel = v1()
    group = Cgroups(kernel, "x").create("co-1", 250, Limits(cpu_milli=1500, memory_mib=128, pids=64))
    assert isinstance(group, CgroupV1)
    at = "/sys/fs/cgroup"
    assert {name.removeprefix(at): text for name, text in kernel.files.items() if "ingle-x/co-1" in name} == {
        "/memory/ingle-x/co-1/memory.limit_in_bytes": "134217728",
        "/memory/ingle-x/co-1/memory.memsw.limit_in_bytes": "134217728",
        "/memory/ingle-x/co-1/memory.swappiness": "0",
        "/cpu,cpuacct/ingle-x/co-1/cpu.shares": "256",
        "/cpu,cpuacct/ingle-x/co-1/cpu.cfs_quota_us": "150000",
        "/pids/ingle-x/co-1/pids.max": "64",
    }
    assert [str(path) for path in group.procs] == [
        f"{at}/{one}/ingle-x/co-1/cgroup.procs" for one in ("cpu,cpuacct", "memory", "pids")
    ]


def test_v2_limits():
    kernel = v2()
    cgroups = Cgroups(kernel, "x")
    cgroups.prepare()
    assert kernel.files["/sys/fs/cgroup/cgroup.subtree_control"] == "+cpu"
    assert kernel.files["/sys/fs/cgroup/ingle-x/cgroup.subtree_control"] == "+memory +cpu +pids"
    group = cgroups.create("co-1", 1000, Limits(cpu_milli=500, memory_mib=64))
    assert isinstance(group, CgroupV2)
    inside = "/sys/fs/cgroup/ingle-x/co-1/"
    assert {name.removeprefix(inside): text for name, text in kernel.files.items() if name.startswith(inside)} == {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "cpu.weight": "39",
        "cpu.max": "50000 100000",
        "pids.max": "4096",
    }


def test_without_limits_only_the_parent_bounds():
    kernel = v2()
    Cgroups(kernel, "x").create("co-1", 125, Limits())
    assert kernel.files["/sys/fs/cgroup/ingle-x/co-1/memory.max"] == "max"
    assert kernel.files["/sys/fs/cgroup/ingle-x/co-1/cpu.max"] == "max 100000"


def test_the_parent_leaves_a_reserve_to_the_machine():
    kernel = v1()
    Cgroups(kernel, "x").prepare()
    limit = int(kernel.files["/sys/fs/cgroup/memory/ingle-x/memory.limit_in_bytes"]) >> 20
    assert limit == memory_for_containers_mib(kernel) == 16384 - 819


def test_killed_for_memory():
    kernel = v1()
    group = Cgroups(kernel, "x").create("co-1", 125, Limits())
    assert group.oom_kills() == 0
    kernel.files["/sys/fs/cgroup/memory/ingle-x/co-1/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
    assert group.oom_kills() == 2
    kernel = v2()
    group = Cgroups(kernel, "x").create("co-1", 125, Limits())
    kernel.files["/sys/fs/cgroup/ingle-x/co-1/memory.events"] = "low 0\noom 1\noom_kill 3\n"
    assert group.oom_kills() == 3


def test_v2_kills_at_once_where_the_kernel_can():
    kernel = v2()
    Cgroups(kernel, "x").create("co-1", 125, Limits()).kill()
    assert kernel.said[-1] == "write /sys/fs/cgroup/ingle-x/co-1/cgroup.kill 1"


def test_v1_stops_forks_before_it_kills():
    kernel = v1()
    group = Cgroups(kernel, "x").create("co-1", 125, Limits())
    kernel.files["/sys/fs/cgroup/pids/ingle-x/co-1/cgroup.procs"] = "70\n71\n"
    kernel.said.clear()
    group.kill()
    assert kernel.said == ["write /sys/fs/cgroup/pids/ingle-x/co-1/pids.max 0", "kill 70 9", "kill 71 9"]


def test_a_group_that_cannot_be_limited_is_removed():
    kernel = v1()

    def refuse(path, text):
        raise OSError("refused")

    kernel.write = refuse
    with pytest.raises(OSError, match="refused"):
        Cgroups(kernel, "x").create("co-1", 125, Limits(memory_mib=1))
    assert [line for line in kernel.said if line.startswith("rmdir")] == [
        f"rmdir /sys/fs/cgroup/{one}/ingle-x/co-1" for one in ("cpu,cpuacct", "memory", "pids")
    ]


def test_sweep_removes_what_lies_below_the_parent():
    kernel = v1()
    kernel.files["/sys/fs/cgroup/pids/ingle-x/co-old/cgroup.procs"] = ""
    kernel.files["/sys/fs/cgroup/pids/ingle-y/co-other/cgroup.procs"] = ""
    Cgroups(kernel, "x").sweep()
    assert "rmdir /sys/fs/cgroup/memory/ingle-x/co-old" in kernel.said
    assert not any("ingle-y" in line for line in kernel.said)


def test_units():
    assert (shares(125), shares(1000), shares(0)) == (128, 1024, 2)
    assert (weight(1000), weight(1), weight(10**9)) == (39, 1, 10000)
    assert (quota_us(1500), quota_us(1)) == (150_000, 1000)
