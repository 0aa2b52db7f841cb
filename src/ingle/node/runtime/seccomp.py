"""The default seccomp profile, as an OCI section and as the finished kernel filter.

The profile is the one that the system's container packages bring. Compiling it takes a runtime 11 of the 16 ms of a
start (measured with crun 1.8 on a profile of 400 rules), and it is the same for every container: so it is compiled once,
through the runtime's own library, and crun is given the bytes. A runtime that cannot take them gets the section.
"""

import base64
import ctypes
import errno
import json
import os
import platform
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ingle.exceptions import SetupError

PROFILE = Path("/usr/share/containers/seccomp.json")
_PROFILES = (PROFILE, Path("/etc/containers/seccomp.json"))
BPF_ANNOTATION = "run.oci.seccomp_bpf_data"

#: What the profile calls a machine, its own filter architecture, and those of 32-bit programs on it.
_MACHINES = {
    # Not i386: its programs make sockets by `socketcall` as well, which hides the family from a filter (see _FAMILIES).
    "x86_64": ("amd64", "SCMP_ARCH_X86_64", ("SCMP_ARCH_X32",)),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",)),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64", ()),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE", ()),
    "s390x": ("s390x", "SCMP_ARCH_S390X", ()),
}
_TOKENS = {"SCMP_ARCH_X32": 0x4000003E, "SCMP_ARCH_ARM": 0x40000028}
_ACTIONS = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_KILL": 0x00000000}
_COMPARISONS = ("", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_OPTIMIZE, _OPTIMIZE_TREE = 8, 2

#: The system's profile allows these for the sake of containers within containers: new namespaces (a user namespace
#: brings every capability with it), mounts, kernel keys. No Python program needs them, and each leads to kernel code
#: that is otherwise root's alone. `clone` and `socket` come back below, for what is left of them.
WITHHELD = frozenset({
    "add_key", "clone", "clone3", "fsconfig", "fsmount", "fsopen", "fspick", "keyctl", "mount", "mount_setattr",
    "move_mount", "open_tree", "pivot_root", "request_key", "setns", "socket", "socketcall", "umount", "umount2",
    "unshare",
})  # fmt: skip
#: CLONE_NEW…: threads and processes are made by `clone` without them.
_NAMESPACE_FLAGS = 0x7E020000
#: Unix, IPv4, IPv6. Others are no Python program's business, and the network namespace does not hold them all: through
#: AF_VSOCK a container would reach the machine's own services and the host that it is a guest of.
_FAMILIES = (1, 2, 10)
_NETLINK, _NETLINK_AUDIT = 16, 9


@dataclass(frozen=True, slots=True)
class Profile:
    section: dict  #: `linux.seccomp` of an OCI config
    bpf: str  #: the finished filter, base64; empty where this machine cannot compile one


@lru_cache(maxsize=8)
def default(capabilities: frozenset[str]) -> Profile:
    """The default profile for containers with these capabilities.

    Raises:
        SetupError: the system has no profile, or none that can be read.
    """
    found = next((path for path in _PROFILES if path.exists()), None)
    if found is None:
        raise SetupError(f"no seccomp profile at {PROFILE}; run `ingle setup`")
    try:
        profile = json.loads(found.read_text())
        section = oci_section(profile, capabilities, platform.machine())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"the seccomp profile {found} cannot be used ({error!r}); run `ingle setup`") from error
    try:
        bpf = base64.b64encode(compile_filter(section)).decode()
    except OSError:
        bpf = ""
    return Profile(section, bpf)


def oci_section(profile: dict, capabilities: Collection[str], machine: str) -> dict:
    """A containers-common profile (with conditions on capability and machine) as a plain OCI section."""
    name, arch, more = _MACHINES.get(machine, (machine, "SCMP_ARCH_NATIVE", ()))
    default_errno = _errno(profile.get("defaultErrnoRet"), profile.get("defaultErrno"), errno.EPERM)
    rules: dict[tuple, dict] = {}
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if not _applies(includes, excludes, name, capabilities):
            continue
        action = rule["action"]
        code = _errno(rule.get("errnoRet"), rule.get("errno"), errno.EPERM) if action == "SCMP_ACT_ERRNO" else None
        if (action, code) == (profile["defaultAction"], default_errno):
            continue
        arguments = rule.get("args") or []
        key = (action, code, json.dumps(arguments))
        merged = rules.setdefault(key, {"names": [], "action": action})
        withheld = WITHHELD if action == "SCMP_ACT_ALLOW" and "CAP_SYS_ADMIN" not in capabilities else ()
        merged["names"] = sorted({*merged["names"], *rule["names"]}.difference(withheld))
        if code is not None:
            merged["errnoRet"] = code
        if arguments:
            merged["args"] = arguments
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": default_errno,
        "architectures": [arch, *more],
        "syscalls": [
            rule
            for rule in [*rules.values(), *_processes(machine, capabilities), *_sockets(capabilities)]
            # libseccomp refuses a rule that says what the default says.
            if rule["names"] and (rule["action"], rule.get("errnoRet")) != (profile["defaultAction"], default_errno)
        ],
    }


def _processes(machine: str, capabilities: Collection[str]) -> list[dict]:
    """`clone` without namespaces. `clone3` hides its flags from a filter; told that there is none, the C library uses `clone`."""
    if "CAP_SYS_ADMIN" in capabilities:
        return []
    flags = {
        "index": 1 if machine == "s390x" else 0,
        "value": _NAMESPACE_FLAGS,
        "valueTwo": 0,
        "op": "SCMP_CMP_MASKED_EQ",
    }
    return [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
    ]


def _sockets(capabilities: Collection[str]) -> list[dict]:
    """`socket` of the known families; the others do not exist."""
    if "CAP_SYS_ADMIN" in capabilities:
        return []

    def rule(action: dict, *comparisons: tuple[int, int, str]) -> dict:
        args = [
            {"index": index, "value": value, "valueTwo": 0, "op": f"SCMP_CMP_{op}"} for index, value, op in comparisons
        ]
        return {"names": ["socket"], **action, "args": args}

    allow = {"action": "SCMP_ACT_ALLOW"}
    refuse = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EAFNOSUPPORT}
    return [
        *(rule(allow, (0, family, "EQ")) for family in _FAMILIES),
        rule(allow, (0, _NETLINK, "EQ"), (2, _NETLINK_AUDIT, "NE")),
        *(rule(refuse, (0, family, "EQ")) for family in range(_NETLINK) if family not in _FAMILIES),
        rule(refuse, (0, _NETLINK, "GT")),
    ]


def _applies(includes: dict, excludes: dict, machine: str, capabilities: Collection[str]) -> bool:
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if machine in (excludes.get("arches") or ()):
        return False
    if not set(includes.get("caps") or ()) <= set(capabilities):
        return False
    # `minKernel` conditions are of kernels older than any that we run on.
    return not set(excludes.get("caps") or ()) & set(capabilities)


def _errno(number: int | None, name: str | None, default: int) -> int:
    if name:
        return getattr(errno, name, default)
    return default if number is None else number


def compile_filter(section: dict) -> bytes:
    """The kernel's form of a section, by libseccomp.

    Raises:
        OSError: there is no libseccomp here, or it refused.
    """
    library = _library()
    default_action = _action(section["defaultAction"], section["defaultErrnoRet"])
    context = library.seccomp_init(default_action)
    if not context:
        raise OSError("libseccomp would not begin a filter")
    try:
        for arch in section["architectures"][1:]:
            _done(library.seccomp_arch_add(context, _TOKENS[arch]), f"architecture {arch}")
        _done(library.seccomp_attr_set(context, _OPTIMIZE, _OPTIMIZE_TREE), "optimisation")
        for rule in section["syscalls"]:
            action = _action(rule["action"], rule.get("errnoRet", errno.EPERM))
            comparisons = [
                _Comparison(
                    a["index"], _COMPARISONS.index(a["op"].removeprefix("SCMP_CMP_")), a["value"], a["valueTwo"]
                )
                for a in rule.get("args", ())
            ]
            array = (_Comparison * len(comparisons))(*comparisons)
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number != -1:  # a call that this library has never heard of falls under the default: refused
                    _done(library.seccomp_rule_add_array(context, action, number, len(comparisons), array), name)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _export(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        _done(library.seccomp_export_bpf(context, fd), "export")
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def _action(name: str, code: int) -> int:
    if name not in _ACTIONS:
        raise OSError(f"seccomp action {name} is not known here")
    return _ACTIONS[name] | (code if name == "SCMP_ACT_ERRNO" else 0)


def _done(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp: {what}: {os.strerror(-result)}")


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def has_library() -> bool:
    """Whether this machine has libseccomp."""
    try:
        _library()
    except OSError:
        return False
    return True


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    pointer, number, array = ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(_Comparison)
    library.seccomp_init.restype = pointer
    library.seccomp_init.argtypes = [number]
    library.seccomp_release.argtypes = [pointer]
    library.seccomp_arch_add.argtypes = [pointer, number]
    library.seccomp_attr_set.argtypes = [pointer, ctypes.c_int, number]
    library.seccomp_rule_add_array.argtypes = [pointer, number, ctypes.c_int, ctypes.c_uint, array]
    library.seccomp_export_bpf.argtypes = [pointer, ctypes.c_int]
    return library
