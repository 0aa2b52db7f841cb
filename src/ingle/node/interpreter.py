"""A Python that this machine happens to have, copied into a layer, for versions that no package archive in reach offers."""

import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROBE_S_MAX = 10.0
TRIAL_S_MAX = 60.0
#: What an interpreter must be able to do in a container; prints its minor version.
TRIAL = (
    "import sys, ssl, ctypes, hashlib, json, socket, sqlite3, subprocess, threading, zlib; "
    "print('%d.%d' % sys.version_info[:2])"
)
_PROBE = (
    "import json, sys, sysconfig; print(json.dumps({'version': '%d.%d' % sys.version_info[:2], "
    "'prefix': sys.base_prefix, 'stdlib': sysconfig.get_path('stdlib'), 'executable': sys._base_executable}))"
)
#: Parts of the standard library that no program in a container imports.
_LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "turtledemo", "ensurepip", "config-*")


@dataclass(frozen=True, slots=True)
class Interpreter:
    version: str
    executable: Path
    prefix: Path
    stdlib: Path


def candidates(python: str, home: Path | None = None) -> Iterator[str]:
    """Where an interpreter of that version may lie: pyenv's, uv's, and what is on the path."""
    homes = [home or Path.home()]
    if os.environ.get("SUDO_USER"):
        homes.append(Path(os.path.expanduser(f"~{os.environ['SUDO_USER']}")))
    for place in homes:
        data = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or place / ".local/share/uv/python")
        yield from sorted(glob.glob(f"{place}/.pyenv/versions/{python}.*/bin/python{python}"), reverse=True)
        yield from sorted(glob.glob(f"{data}/cpython-{python}.*/bin/python{python}"), reverse=True)
    for directory in ("/usr/local/bin", "/usr/bin"):
        yield f"{directory}/python{python}"


def find(python: str) -> Interpreter | None:
    """The first candidate that runs and is of that version."""
    own = [sys.executable] if f"{sys.version_info[0]}.{sys.version_info[1]}" == python else []
    for path in [*own, *candidates(python)]:
        found = probe(path)
        if found and found.version == python:
            return found
    return None


def probe(path: str) -> Interpreter | None:
    """What the interpreter says of itself; None if it does not run."""
    if not os.access(path, os.X_OK):
        return None
    try:
        done = subprocess.run([path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_S_MAX)
        told = json.loads(done.stdout)
        executable = Path(told["executable"]).resolve()
        return Interpreter(told["version"], executable, Path(told["prefix"]), Path(told["stdlib"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def copy(here: Interpreter, base: Path, root: Path) -> str:
    """Lay the interpreter under `root`/usr/local, with the shared libraries that `base` lacks.

    Returns:
        Its path as a container sees it.

    Raises:
        OSError: the disk refused, or something of it is not there.
    """
    local = root / "usr/local"
    binaries, libraries = local / "bin", local / "lib"
    binaries.mkdir(parents=True)
    name = f"python{here.version}"
    shutil.copy2(here.executable, binaries / name)
    for alias in ("python3", "python"):
        (binaries / alias).symlink_to(name)
    stdlib = libraries / name
    shutil.copytree(here.stdlib, stdlib, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
    (stdlib / "site-packages").mkdir(exist_ok=True)
    needed = shared_libraries([binaries / name, *stdlib.glob("lib-dynload/*.so")])
    for library in needed:
        if not _in_base(library, base):
            shutil.copy2(library.resolve(), libraries / library.name)
    return f"/usr/local/bin/{name}"


def shared_libraries(files: list[Path]) -> set[Path]:
    """What `ldd` says these files load, beyond the C library's own parts."""
    found: set[Path] = set()
    for file in files:
        done = subprocess.run(["ldd", str(file)], capture_output=True, text=True, timeout=PROBE_S_MAX)
        for line in done.stdout.splitlines():
            _, arrow, rest = line.partition("=> ")
            if arrow and rest.startswith("/"):
                found.add(Path(rest.split(" (")[0]))
    return found


def _in_base(library: Path, base: Path) -> bool:
    return any(
        next(base.glob(f"{place}/{library.name}"), None) for place in ("usr/lib", "usr/lib64", "usr/lib/*-linux-gnu*")
    )


def remember_libraries(merged: Path, root: Path) -> None:
    """Bring the loader's cache up to date: made in `merged` (the layers together), kept in `root`."""
    subprocess.run(["chroot", str(merged), "/sbin/ldconfig"], capture_output=True, timeout=TRIAL_S_MAX)
    cache = merged / "etc/ld.so.cache"
    if cache.exists():
        (root / "etc").mkdir(exist_ok=True)
        shutil.copy2(cache, root / "etc/ld.so.cache")
