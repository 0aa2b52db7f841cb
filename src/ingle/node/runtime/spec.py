"""The OCI config of a container, as a pure function of what it is given."""

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingle.node.runtime.seccomp import BPF_ANNOTATION, Profile
from ingle.runner.wire import IO_DIR

LIBRARY_DIR = "/ingle/lib"
ROOT_DIR = "/root"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The usual default set less what Python programs have no use for: raw sockets, device nodes, audit, file
#: capabilities, and setting capability bits.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
#: Not above the node's own hard limit, which even root may not be allowed to raise (no CAP_SYS_RESOURCE).
OPEN_FILES_MAX = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
#: A container dies before the node when the whole machine is out of memory.
OOM_SCORE_ADJUST = 500
SHM_MIB_DEFAULT = 64
#: What programs read to find the certificate authorities that they trust.
CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the node, seen in the container."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What one container differs by from the next."""

    rootfs: str  #: the merged directory
    argv: Sequence[str]
    hostname: str
    network: str | None  #: path of a network namespace; None: the runtime makes one, with nothing but loopback
    env: Mapping[str, str] = field(default_factory=dict)
    binds: Sequence[Bind] = ()  #: see `standard_binds`
    cwd: str = ROOT_DIR
    memory_mib: int | None = None  #: bounds /dev/shm as well
    capabilities: Sequence[str] = CAPABILITIES
    seccomp: Profile | None = None
    seccomp_as_bpf: bool = False  #: the runtime takes the finished filter


def standard_binds(*, io: str, out: str, library: str, etc: str, ca_bundle: str = "") -> list[Bind]:
    """What every container gets of the node.

    Args:
        io: seen read-only at IO_DIR; out: seen writable at IO_DIR/out (the directory must exist in `io`).
        library: of `library.ensure`.
        etc: a directory with `resolv.conf`, `hosts` and `hostname`.
        ca_bundle: what the node trusts, or "".
    """
    binds = [
        Bind(io, IO_DIR),
        Bind(out, f"{IO_DIR}/out", writable=True),
        Bind(library, LIBRARY_DIR),
        Bind(f"{etc}/resolv.conf", "/etc/resolv.conf"),
        Bind(f"{etc}/hosts", "/etc/hosts"),
        Bind(f"{etc}/hostname", "/etc/hostname"),
    ]
    return [*binds, Bind(ca_bundle, CA_BUNDLE)] if ca_bundle else binds


def oci_config(spec: ContainerSpec) -> dict:
    """`config.json` of the bundle."""
    config: dict = {
        "ociVersion": "1.0.2",
        "process": process(spec.argv, environment(spec), spec.cwd, spec.capabilities),
        "root": {"path": spec.rootfs, "readonly": False},
        "hostname": spec.hostname,
        "mounts": [*_mounts(spec.memory_mib), *map(_bind, spec.binds)],
        "linux": {
            "namespaces": [
                {"type": "pid"},
                {"type": "mount"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "cgroup"},
                {"type": "network", **({"path": spec.network} if spec.network else {})},
            ],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }
    if spec.seccomp and spec.seccomp_as_bpf and spec.seccomp.bpf:
        config["annotations"] = {BPF_ANNOTATION: spec.seccomp.bpf}
    elif spec.seccomp:
        config["linux"]["seccomp"] = spec.seccomp.section
    return config


def process(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    capabilities: Sequence[str] = CAPABILITIES,
    *,
    tty: bool = False,
) -> dict:
    """The `process` part, of a container's first process or of a further one."""
    sets = {name: list(capabilities) for name in ("bounding", "effective", "permitted")}
    return {
        "terminal": tty,
        "user": {"uid": 0, "gid": 0},
        "args": list(argv),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": cwd,
        "capabilities": sets,
        "noNewPrivileges": True,
        "oomScoreAdj": OOM_SCORE_ADJUST,
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "hard": OPEN_FILES_MAX, "soft": OPEN_FILES_MAX},
            {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
        ],
    }


def environment(spec: ContainerSpec) -> dict[str, str]:
    """What a program in the container finds in its environment: the usual, then the container's own on top."""
    trusted = any(bind.target == CA_BUNDLE for bind in spec.binds)
    usual = {"PATH": PATH, "HOME": ROOT_DIR, "LANG": "C.UTF-8", "HOSTNAME": spec.hostname}
    return {**usual, **({name: CA_BUNDLE for name in CA_VARIABLES} if trusted else {}), **spec.env}


def _mounts(memory_mib: int | None) -> list[dict]:
    shm_mib = SHM_MIB_DEFAULT if memory_mib is None else max(SHM_MIB_DEFAULT, memory_mib // 2)
    return [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_mib}m"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    ]


def _mount(target: str, kind: str, source: str, *options: str) -> dict:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _bind(bind: Bind) -> dict:
    access = "rw" if bind.writable else "ro"
    # Not `rbind`: a directory given to a container brings no mounts of the node with it.
    return _mount(bind.target, "bind", bind.source, "bind", "private", access, "nosuid", "nodev")
