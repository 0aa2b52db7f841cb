"""What a platform that has stopped must not leave on the machine: processes, mounts, cgroups, network namespaces."""

import os
import shutil
import subprocess
from pathlib import Path

from ingle.launch import processes
from ingle.node import mark


def find_leftovers(state: Path) -> list[str]:
    """A line for each thing of this state directory that is still there; empty: all is clean."""
    return [*_processes(state), *_mounts(state), *_cgroups(state), *_networks(state), *_sockets(state)]


def _processes(state: Path) -> list[str]:
    found = [f"process {one.pid}: the {one.role}" for one in processes.find(state)]
    needle = str(state).encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            argv = Path("/proc", entry, "cmdline").read_bytes()
            groups = Path("/proc", entry, "cgroup").read_text()
        except OSError:
            continue
        if f"ingle-{mark.of(state)}" in groups:
            found.append(f"process {entry} in a cgroup of ours: {argv[:200]!r}")
        elif needle in argv and (b"crun" in argv or b"runc" in argv or b"ingle/runner" in argv):
            found.append(f"process {entry}: {argv[:200]!r}")
    return found


def _mounts(state: Path) -> list[str]:
    """In any mount namespace that we can see, this process's first."""
    found: dict[str, str] = {}
    for entry in ["self", *(e for e in os.listdir("/proc") if e.isdigit())]:
        try:
            lines = Path("/proc", entry, "mountinfo").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            point = line.split(" ")[4]
            if point.startswith(f"{state}/"):
                found.setdefault(point, f"mount {point} (seen by process {entry})")
    return list(found.values())


def _cgroups(state: Path) -> list[str]:
    """Groups of containers. The parent group, empty, may stay."""
    found = []
    # Not Path.glob: groups of others come and go while one looks.
    for folder, children, _ in os.walk("/sys/fs/cgroup"):
        if Path(folder).name == f"ingle-{mark.of(state)}":
            found += [f"cgroup {folder}/{child}" for child in children]
    return found


def _networks(state: Path) -> list[str]:
    needle = mark.of(state)
    tables = ""
    if shutil.which("nft") and os.geteuid() == 0:
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    rules = [f"nftables {line}" for line in tables.splitlines() if f"ingle_{needle}" in line]
    places = [Path("/run/netns"), Path("/run/ingle"), Path("/sys/class/net")]
    return rules + [f"network {p / n}" for p in places if p.is_dir() for n in os.listdir(p) if needle in n]


def _sockets(state: Path) -> list[str]:
    found = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        path = line.split(" ")[-1]
        if path.startswith(f"{state}/"):
            found.append(f"socket {path}")
    return found
