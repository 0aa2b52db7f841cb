"""Looks at each thing that a node needs of its machine, by trying it; for each failure, the one command that mends it."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ingle.exceptions import SetupError
from ingle.node import cgroup, debian, library, network, setup
from ingle.node.kernel import Kernel
from ingle.node.netlink import Netlink
from ingle.node.runtime import PREFERRED, oci, seccomp, spec

PYTHON_MIN = (3, 10)
#: pidfds that can be waited for, and the mount options in use.
KERNEL_MIN = (5, 4)
DISK_FREE_MIB_MIN = 2048
TRY_S_MAX = 20.0
SETUP = "ingle setup"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    seen: str  #: what was found
    mend: str = ""  #: a command, where something is wrong


def checks(state: Path) -> list[Check]:
    """Every check, in an order in which mending makes sense. Takes about a second; changes nothing."""
    kernel = Kernel()
    all_checks: list[Callable[[], Check]] = [
        check_python,
        check_kernel,
        check_root,
        *(lambda need=need: check_need(need) for need in setup.NEEDS),
        lambda: check_overlay(state),
        lambda: check_cgroups(kernel),
        check_runtime,
        check_seccomp,
        lambda: check_network(kernel),
        check_firewall,
        check_dns,
        check_trust,
        check_images,
        lambda: check_disk(state),
    ]
    return [_guarded(check) for check in all_checks]


def _guarded(check: Callable[[], Check]) -> Check:
    """A check that itself breaks is a failure that is told, not a traceback."""
    try:
        found = check()
        return replace(found, mend="") if found.ok else found
    except Exception as error:
        name = getattr(check, "__name__", "check").removeprefix("check_")
        return Check(name, False, f"cannot be checked: {error!r}", SETUP)


def check_python() -> Check:
    seen = platform.python_version()
    wanted = ".".join(map(str, PYTHON_MIN))
    return Check("python", sys.version_info >= PYTHON_MIN, seen, f"apt-get install --yes python{wanted}")


def check_kernel(release: str | None = None) -> Check:
    release = release or platform.release()
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in release.split("-")[0].split(".")[:2])
    ok = sys.platform == "linux" and numbers >= KERNEL_MIN
    return Check("kernel", ok, f"Linux {release}", "apt-get install --yes linux-image-amd64 && reboot")


def check_root() -> Check:
    is_root = os.geteuid() == 0
    return Check("root", is_root, "yes" if is_root else "no: containers need it in this version", "sudo ingle doctor")


def check_need(need: setup.Need) -> Check:
    ok = not setup.missing([need])
    return Check(need.name, ok, "there" if ok else f"missing: {need.why}", SETUP)


def check_overlay(state: Path) -> Check:
    """Mounts one where containers will have theirs: not every file system can carry it."""
    place = next(path for path in [state, *state.parents] if path.is_dir())
    with tempfile.TemporaryDirectory(prefix="ingle-overlay-", dir=place if os.access(place, os.W_OK) else None) as top:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{top}/{name}")
        options = f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work"
        script = 'mount -t overlay overlay -o "$1" "$2" && touch "$2/file" && rm "$2/file"'
        done = _isolated(["sh", "-c", script, "sh", options, f"{top}/merged"])
    if done == "":
        return Check("overlayfs", True, f"works in {place}")
    mend = "modprobe overlay"
    if "overlay" in Path("/proc/filesystems").read_text():
        mend = "export INGLE_STATE_DIR=/path/on/ext4/or/xfs"
    return Check("overlayfs", False, f"does not work in {place}: {done}", mend)


def check_cgroups(kernel: Kernel) -> Check:
    found = cgroup.find(kernel)
    seen = f"v{found.version}" + (", hybrid: the v1 controllers are used" if found.hybrid else "")
    if found.missing:
        mend = "mount -t cgroup2 none /sys/fs/cgroup" if not found.roots else "systemctl daemon-reexec"
        return Check("cgroups", False, f"{seen}; no controller for {', '.join(found.missing)}", mend)
    for root in sorted(set(found.roots.values())):
        probe = f"{root}/ingle-doctor-{os.getpid()}"
        try:
            kernel.mkdir(probe)
            kernel.rmdir(probe)
        except OSError as error:
            return Check("cgroups", False, f"{seen}; cannot make a group: {error}", f"mount -o remount,rw {root}")
    return Check("cgroups", True, f"{seen}; memory, cpu and pids")


def check_runtime() -> Check:
    """Runs a container."""
    faults: list[str] = []
    for binary in PREFERRED:
        fault = oci.fault(binary)
        if not fault:
            return Check("runtime", True, f"{binary} runs a container" + (f" ({faults[0]})" if faults else ""))
        faults.append(f"{binary}: {fault}")
    return Check("runtime", False, "; ".join(faults), SETUP)


def check_seccomp() -> Check:
    try:
        profile = seccomp.default(frozenset(spec.CAPABILITIES))
    except SetupError as error:
        return Check("seccomp", False, str(error), SETUP)
    seen = f"{sum(len(rule['names']) for rule in profile.section['syscalls'])} system calls in the profile"
    return Check("seccomp", True, seen + ("" if profile.bpf else "; each start compiles it anew"))


def check_network(kernel: Kernel) -> Check:
    """Makes a namespace with a veth pair, and asks nftables."""
    fault: list[str] = []

    def inside() -> None:
        try:
            kernel.unshare_network()
            with Netlink() as netlink, open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as own:
                netlink.add_veth("probe0", "probe1", own.fileno(), network.MTU_DEFAULT)
        except OSError as error:
            fault.append(f"cannot make a network namespace with a veth pair: {error}")

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if fault:
        return Check("network", False, fault[0], "modprobe veth")
    rules = network.ruleset("ingle_doctor", f"{network.PREFIX}doctor", "10.255.0.0/16")
    try:
        done = subprocess.run(
            ["nft", "--check", "-f", "-"], input=rules, capture_output=True, text=True, timeout=TRY_S_MAX
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("network", False, f"cannot run nft: {error}", SETUP)
    if done.returncode:
        return Check(
            "network", False, f"nft refuses the rules: {done.stderr.strip()}", "modprobe nf_tables nft_masq nft_ct"
        )
    forwards = kernel.read("/proc/sys/net/ipv4/ip_forward").strip() == "1"
    writable = os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK)
    if not forwards and not writable:
        return Check("network", False, "IPv4 forwarding is off", "sysctl -w net.ipv4.ip_forward=1")
    return Check(
        "network",
        True,
        "namespaces, veth and nftables work" + ("" if forwards else "; forwarding is turned on by the node"),
    )


def check_firewall() -> Check:
    if network.forward_is_dropped():
        return Check(
            "firewall", True, "iptables drops what is forwarded; the node adds an exception for its containers"
        )
    return Check("firewall", True, "nothing else drops what is forwarded")


def check_dns() -> Check:
    servers = [line.split()[1] for line in network.resolv_conf().splitlines() if line.startswith("nameserver")]
    if servers:
        return Check("dns", True, f"containers ask {', '.join(servers)}")
    mend = "systemctl enable --now systemd-resolved"
    return Check(
        "dns", False, "no name server in /etc/resolv.conf that a container could reach (loopback is its own)", mend
    )


def check_trust() -> Check:
    bundle = library.ca_bundle()
    return Check("trust", bool(bundle), f"containers trust {bundle}" if bundle else "no bundle of certificates", SETUP)


def check_images() -> Check:
    distribution, codename = debian.os_release()
    lines = debian.source_lines(debian.archives(codename), codename, codename)
    if lines:
        offered = ", ".join(debian.SUITES.get(distribution, {}))
        return Check("images", True, f"{distribution} {codename}; Python {offered or 'of the node'} from packages")
    mend = "apt-get update"
    return Check("images", False, f"the apt sources name no archive of {distribution} {codename}", mend)


def check_disk(state: Path) -> Check:
    place = next(path for path in [state, *state.parents] if path.is_dir())
    free = shutil.disk_usage(place).free >> 20
    ok = free >= DISK_FREE_MIB_MIN
    return Check("disk", ok, f"{free} MiB free in {place}", "apt-get clean")


def _isolated(argv: list[str]) -> str:
    """Run in a mount namespace of its own; "" if it went well, else what it said."""
    command = ["unshare", "--mount", "--propagation", "private", *argv]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRY_S_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"ended with {done.returncode}")
