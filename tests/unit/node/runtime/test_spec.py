"""The OCI config: a pure function, held by what it must and must not contain."""

import json

from ingle.node.runtime import spec
from ingle.node.runtime.seccomp import BPF_ANNOTATION, Profile
from ingle.node.runtime.spec import Bind, ContainerSpec, oci_config

PROFILE = Profile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}, "Ynl0ZXM=")
BINDS = spec.standard_binds(io="/s/io", out="/s/io/out", library="/s/lib", etc="/s/etc", ca_bundle="/s/ca.crt")


def config(**more) -> dict:
    given = {"rootfs": "/s/merged", "argv": ["/usr/bin/python3", "x.py"], "hostname": "ingle", "network": "/s/net/1"}
    return oci_config(ContainerSpec(**{**given, "binds": BINDS, **more}))


def test_snapshot():
    made = config(env={"TOKENS": "1"}, memory_mib=1024)
    assert made["process"]["args"] == ["/usr/bin/python3", "x.py"] and made["process"]["cwd"] == "/root"
    assert made["root"] == {"path": "/s/merged", "readonly": False} and made["hostname"] == "ingle"
    assert [m["destination"] for m in made["mounts"]] == [
        "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys",
        "/run/ingle", "/run/ingle/out", "/ingle/lib", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname",
        "/etc/ssl/certs/ca-certificates.crt",
    ]  # fmt: skip
    assert json.loads(json.dumps(made)) == made


def test_namespaces():
    kinds = {n["type"]: n.get("path") for n in config()["linux"]["namespaces"]}
    assert kinds == {"pid": None, "mount": None, "ipc": None, "uts": None, "cgroup": None, "network": "/s/net/1"}


def test_privileges():
    process = config()["process"]
    assert process["noNewPrivileges"] is True
    allowed = set(process["capabilities"]["bounding"])
    assert not allowed & {"CAP_NET_RAW", "CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_SETFCAP"}
    assert "inheritable" not in process["capabilities"] and "ambient" not in process["capabilities"]


def test_only_out_is_writable():
    binds = [m for m in config()["mounts"] if m["type"] == "bind"]
    assert [m["destination"] for m in binds if "rw" in m["options"]] == ["/run/ingle/out"]
    assert all({"nosuid", "nodev"} <= set(m["options"]) for m in binds)
    assert "ro" in next(m for m in config()["mounts"] if m["destination"] == "/sys")["options"]


def test_shared_memory_follows_the_limit():
    def size(memory_mib):
        return next(m for m in config(memory_mib=memory_mib)["mounts"] if m["destination"] == "/dev/shm")["options"][-1]

    assert (size(None), size(64), size(1024)) == ("size=64m", "size=64m", "size=512m")


def test_environment():
    env = dict(pair.split("=", 1) for pair in config(env={"HOME": "/h"})["process"]["env"])
    assert env["HOME"] == "/h" and env["LANG"] == "C.UTF-8"
    assert {env[name] for name in spec.CA_VARIABLES} == {spec.CA_BUNDLE}
    bare = dict(pair.split("=", 1) for pair in config(binds=[Bind("/a", "/b")])["process"]["env"])
    assert not set(spec.CA_VARIABLES) & set(bare)


def test_the_filter_goes_in_the_form_that_the_runtime_takes():
    as_bpf = config(seccomp=PROFILE, seccomp_as_bpf=True)
    assert as_bpf["annotations"] == {BPF_ANNOTATION: "Ynl0ZXM="} and "seccomp" not in as_bpf["linux"]
    as_section = config(seccomp=PROFILE)
    assert as_section["linux"]["seccomp"] == PROFILE.section and "annotations" not in as_section
    uncompiled = config(seccomp=Profile(PROFILE.section, ""), seccomp_as_bpf=True)
    assert uncompiled["linux"]["seccomp"] == PROFILE.section


def test_a_process_with_a_terminal():
    made = spec.process(["sh"], {"A": "b"}, "/", tty=True)
    assert made["terminal"] and made["env"] == ["A=b"] and made["noNewPrivileges"]
