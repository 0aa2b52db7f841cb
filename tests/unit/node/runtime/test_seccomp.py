"""The seccomp profile: from the system's file to what a runtime takes."""

import errno
import json

import pytest

from ingle.exceptions import SetupError
from ingle.node.runtime import seccomp, spec

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "defaultErrno": "ENOSYS",
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
        {"names": ["openat"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["bdflush"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM"},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


def names(section: dict, action: str) -> set[str]:
    return {name for rule in section["syscalls"] if rule["action"] == action for name in rule["names"]}


def test_conditions_are_settled():
    section = seccomp.oci_section(PROFILE, {"CAP_CHOWN"}, "x86_64")
    assert section["defaultErrnoRet"] == errno.ENOSYS
    assert names(section, "SCMP_ACT_ALLOW") == {
        "read",
        "write",
        "openat",
        "arch_prctl",
        "personality",
        "clone",
        "socket",
    }
    assert names(section, "SCMP_ACT_ERRNO") == {"bdflush", "bpf", "socket"}
    assert section["architectures"][0] == "SCMP_ARCH_X86_64"


def test_capabilities_and_machine_matter():
    section = seccomp.oci_section(PROFILE, {"CAP_SYS_ADMIN"}, "aarch64")
    assert "bpf" in names(section, "SCMP_ACT_ALLOW") and "arch_prctl" not in names(section, "SCMP_ACT_ALLOW")


def test_rules_of_one_kind_are_one_rule():
    section = seccomp.oci_section(PROFILE, set(), "x86_64")
    counts = [len(rule["names"]) for rule in section["syscalls"] if rule["names"] != ["socket"]]
    assert counts == [4, 2, 1, 1]


def test_namespaces_stay_closed():
    profile = {
        **PROFILE,
        "syscalls": [{"names": ["read", "clone", "clone3", "unshare", "mount"], "action": "SCMP_ACT_ALLOW"}],
    }
    section = seccomp.oci_section(profile, set(), "x86_64")
    plain = {name for rule in section["syscalls"] if "args" not in rule for name in rule["names"]}
    assert plain == {"read"}, "clone3 falls under the default, ENOSYS"
    profile["defaultErrno"] = "EPERM"
    assert seccomp.oci_section(profile, set(), "x86_64")["syscalls"][2] == {
        "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS,
    }  # fmt: skip


def test_sockets_are_of_known_families():
    """AF_VSOCK (40) is not held by a network namespace: it reaches the machine, and the machine's host."""
    profile = {
        **PROFILE,
        "syscalls": [{"names": ["read", "socket", "socketcall", "socketpair"], "action": "SCMP_ACT_ALLOW"}],
    }
    section = seccomp.oci_section(profile, set(), "x86_64")
    plain = {name for rule in section["syscalls"] if "args" not in rule for name in rule["names"]}
    assert plain == {"read", "socketpair"}
    rules = [rule for rule in section["syscalls"] if rule["names"] == ["socket"]]
    allowed = [rule["args"][0] for rule in rules if rule["action"] == "SCMP_ACT_ALLOW"]
    assert {(one["value"], one["op"]) for one in allowed} == {(n, "SCMP_CMP_EQ") for n in (1, 2, 10, 16)}
    assert all(rule["errnoRet"] == errno.EAFNOSUPPORT for rule in rules if rule["action"] != "SCMP_ACT_ALLOW")


def test_the_profile_of_this_machine_compiles():
    if not (seccomp.has_library() and any(path.exists() for path in seccomp._PROFILES)):
        pytest.skip("no profile or no libseccomp here")
    assert seccomp.default(frozenset(spec.CAPABILITIES)).bpf


def test_it_compiles():
    if not seccomp.has_library():
        pytest.skip("no libseccomp here")
    program = seccomp.compile_filter(seccomp.oci_section(PROFILE, set(), "x86_64"))
    assert program and len(program) % 8 == 0, "a filter is a list of 8-byte instructions"


def test_no_profile_names_the_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(seccomp, "_PROFILES", (tmp_path / "none.json",))
    seccomp.default.cache_clear()
    with pytest.raises(SetupError, match="ingle setup"):
        seccomp.default(frozenset(spec.CAPABILITIES))
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"syscalls": 3}))
    monkeypatch.setattr(seccomp, "_PROFILES", (broken,))
    with pytest.raises(SetupError, match="cannot be used"):
        seccomp.default(frozenset(spec.CAPABILITIES))
    seccomp.default.cache_clear()
