"""The system packages that a node needs, why, and their installation through apt."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingle.exceptions import SetupError
from ingle.node.runtime import seccomp, spec

APT_S_MAX = 1200.0
#: Another apt or dpkg at work is waited for so long.
LOCK_S_MAX = 300.0
LOCK_PAUSE_S = 3.0
LINES_TOLD_MAX = 15
_LOCKED = ("Could not get lock", "Unable to acquire", "Unable to lock", "is held by process")


@dataclass(frozen=True, slots=True)
class Need:
    """Something of the system, and the package that brings it."""

    name: str
    why: str
    packages: tuple[str, ...]  #: the first that the machine's archives have is taken
    program: str = ""  #: found on the path if the need is met,
    file: str = ""  #: or there

    def met(self) -> bool:
        if self.program:
            return shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:{spec.PATH}") is not None
        return Path(self.file).exists()


NEEDS = (
    Need("crun", "starts containers", ("crun",), program="crun"),
    Need("runc", "starts containers where crun does not", ("runc",), program="runc"),
    Need(
        "seccomp profile",
        "the system calls that a container may make",
        ("golang-github-containers-common", "containers-common"),
        file="/usr/share/containers/seccomp.json",
    ),
    Need("libseccomp", "prepares that profile for the kernel", ("libseccomp2",), file=""),
    Need("mmdebstrap", "makes the images of debian_slim from packages", ("mmdebstrap",), program="mmdebstrap"),
    Need("nftables", "lets containers out to the network, and nobody in", ("nftables",), program="nft"),
    Need("unshare", "keeps image builds apart from the system", ("util-linux",), program="unshare"),
    Need(
        "certificates",
        "what containers trust when they use TLS",
        ("ca-certificates",),
        file="/etc/ssl/certs/ca-certificates.crt",
    ),
)


def missing(needs: Sequence[Need] = NEEDS) -> list[Need]:
    """What this machine lacks."""
    return [need for need in needs if not (seccomp.has_library() if need.name == "libseccomp" else need.met())]


def install(say: Callable[[str], None] = print, needs: Sequence[Need] = NEEDS) -> list[Need]:
    """Install what is missing, and nothing else; says what and why, then what apt says.

    Returns:
        What was missing.

    Raises:
        SetupError: this process is not root, there is no apt, apt failed, or another one held its lock too long.
    """
    lacking = missing(needs)
    if not lacking:
        return []
    names = ", ".join(need.name for need in lacking)
    if os.geteuid() != 0:
        raise SetupError(f"this machine lacks {names}, and only root can install it; run `sudo ingle setup`")
    if shutil.which("apt-get") is None:
        raise SetupError(f"this machine lacks {names}, and has no apt-get; install these with its own package manager")
    for need in lacking:
        say(f"installing {need.packages[0]}: {need.why}")
    if not all(any(map(_on_offer, need.packages)) for need in lacking):
        _apt(["update"], say)
    packages = [_choose(need) for need in lacking]
    _apt(["install", "--yes", "--no-install-recommends", *packages], say)
    still = missing(lacking)
    if still:
        raise SetupError(
            f"apt has installed {', '.join(packages)}, yet {', '.join(n.name for n in still)} is not there"
        )
    return lacking


def _choose(need: Need) -> str:
    for package in need.packages:
        if _on_offer(package):
            return package
    raise SetupError(f"the apt sources of this machine have no package {' or '.join(need.packages)} ({need.why})")


def _on_offer(package: str) -> bool:
    """Whether apt knows a version of it that can be installed."""
    done = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, env=_environment())
    candidates = [
        line.split(":", 1)[1].strip() for line in done.stdout.splitlines() if line.strip().startswith("Candidate:")
    ]
    return bool(candidates) and candidates[0] != "(none)"


def _apt(arguments: list[str], say: Callable[[str], None]) -> None:
    until_s = time.monotonic() + LOCK_S_MAX
    waiting = False
    while True:
        code, lines = _run_apt(arguments, say)
        if code == 0:
            return
        if not any(sign in line for line in lines for sign in _LOCKED) or time.monotonic() > until_s:
            break
        if not waiting:
            say("waiting for another apt to end")
            waiting = True
        time.sleep(LOCK_PAUSE_S)
    raise SetupError(f"`apt-get {' '.join(arguments)}` failed:\n" + "\n".join(lines[-LINES_TOLD_MAX:]))


def _run_apt(arguments: list[str], say: Callable[[str], None]) -> tuple[int, list[str]]:
    try:
        process = subprocess.Popen(
            ["apt-get", "--quiet", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_environment(),
        )
    except OSError as error:
        raise SetupError(f"cannot run apt-get: {error}") from error
    lines = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            say(f"  {line.rstrip()}")
        try:
            code = process.wait(APT_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SetupError(f"apt-get did not end within {APT_S_MAX:g} s") from None
    return code, lines


def _environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "NEEDRESTART_MODE": "l"}
