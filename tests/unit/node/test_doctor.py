"""The doctor: failures name their mend."""

from unit.node.test_cgroup import v1, v2

from ingle.node import cgroup, debian, doctor, library, network, setup
from ingle.node.kernel import RecordingKernel


def test_all_checks_have_names_and_mends(tmp_path):
    found = doctor.checks(tmp_path)
    assert len({c.name for c in found}) == len(found)
    for check in found:
        assert check.seen and bool(check.mend) is not check.ok, check


def test_an_old_kernel():
    assert not doctor.check_kernel("4.19.0-27-amd64").ok
    assert doctor.check_kernel("6.1.0-13-amd64").ok and doctor.check_kernel("5.4.0").ok


def test_a_missing_package():
    found = doctor.check_need(setup.Need("x", "does things", ("x",), program="no-such-program"))
    assert (found.ok, found.mend) == (False, "ingle setup") and "does things" in found.seen


def test_cgroups(monkeypatch):
    assert "hybrid" in doctor.check_cgroups(v1()).seen
    found = doctor.check_cgroups(v2("memory"))
    assert not found.ok and "cpu, pids" in found.seen and found.mend
    none = doctor.check_cgroups(RecordingKernel({"/proc/self/mountinfo": ""}))
    assert not none.ok and none.mend.startswith("mount")

    def refuse(path):
        raise PermissionError("read-only")

    kernel = v2()
    kernel.mkdir = refuse
    assert not doctor.check_cgroups(kernel).ok and cgroup.find(kernel).version == 2


def test_what_a_container_could_not_reach(monkeypatch):
    monkeypatch.setattr(network, "resolv_conf", lambda: "search lan\n")
    assert not doctor.check_dns().ok
    monkeypatch.setattr(library, "ca_bundle", lambda: "")
    assert not doctor.check_trust().ok
    monkeypatch.setattr(debian, "archives", lambda codename: [])
    assert not doctor.check_images().ok
    monkeypatch.setattr(network, "forward_is_dropped", lambda: True)
    assert "exception" in doctor.check_firewall().seen


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "DISK_FREE_MIB_MIN", 1 << 40)
    found = doctor.check_disk(tmp_path / "not" / "yet")
    assert not found.ok and str(tmp_path) in found.seen


def test_a_check_that_breaks_is_a_failure():
    def check_nothing():
        raise ZeroDivisionError

    found = doctor._guarded(check_nothing)
    assert (found.name, found.ok) == ("nothing", False)
