"""What containers get of this node's own files: our code with cloudpickle, and the certificates that the node trusts.

The code lies in a directory named by its content, compiled for the Pythons of the images: a container mounts it
read-only, so it could not keep what it compiles itself.
"""

import hashlib
import importlib.util
import marshal
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import ingle

PARTS = ("exceptions.py", "__init__.py", "model", "wire", "sdk", "runner")
COMPILE_S_MAX = 120.0
#: Where the bundle of trusted certificates lies: what the environment names, then Debian's and Red Hat's places.
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_PLACES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

#: Run by an interpreter of an image, which sees none of our files: names and sources come over stdin, compiled modules
#: go back over stdout, both as length and bytes.
_COMPILER = """
import sys, marshal, struct, importlib.util
data, out = sys.stdin.buffer, sys.stdout.buffer
out.write(importlib.util.MAGIC_NUMBER)
while True:
    head = data.read(8)
    if not head: break
    n, m = struct.unpack("<II", head)
    name, text = data.read(n).decode(), data.read(m)
    code = b""
    try: code = marshal.dumps(compile(text, name, "exec", dont_inherit=True))
    except SyntaxError: pass
    out.write(struct.pack("<I", len(code)) + code)
"""


def ensure(root: Path) -> Path:
    """The directory to mount at /ingle/lib, made if it is not there, compiled for the Python that runs this.

    Raises:
        OSError: the disk refused.
    """
    files = dict(_files())
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    directory = root / digest.hexdigest()[:16]
    if not (directory / _DONE).exists():
        root.mkdir(parents=True, exist_ok=True)
        _make(files, directory)
    return directory


_DONE = "complete"


def _make(files: dict[str, Path], directory: Path) -> None:
    part = directory.with_name(f"part-{directory.name}-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    for name, path in files.items():
        target = part / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (part / _DONE).write_text("")
    for name in files:
        _compile_here(part, name)
    if directory.exists():
        shutil.rmtree(directory)
    os.rename(part, directory)


def _compile_here(directory: Path, name: str) -> None:
    text = (directory / name).read_bytes()
    try:
        code = marshal.dumps(compile(text, _inside(name), "exec", dont_inherit=True, optimize=0))
    except SyntaxError:
        return
    _write_pyc(directory, name, _tag(*sys.version_info[:2]), importlib.util.MAGIC_NUMBER, code)


def compile_for(directory: Path, python: str, command: Sequence[str]) -> bool:
    """Compile the library for another Python minor version as well.

    Args:
        directory: of `ensure`.
        python: such as "3.12".
        command: runs that interpreter, which need not see `directory`.

    Returns:
        Whether it is compiled for it now; if not, containers compile for themselves, which only takes longer.
    """
    tag = _tag(*map(int, python.split(".")[:2]))
    names = _names(directory)
    said = b""
    for name in names:
        inside, text = _inside(name).encode(), (directory / name).read_bytes()
        said += struct.pack("<II", len(inside), len(text)) + inside + text
    try:
        done = subprocess.run(
            [*command, "-I", "-S", "-c", _COMPILER], input=said, capture_output=True, timeout=COMPILE_S_MAX
        )
    except (OSError, subprocess.SubprocessError):
        return False
    if done.returncode != 0 or len(done.stdout) < 4:
        return False
    magic, at = done.stdout[:4], 4
    for name in names:
        (size,) = struct.unpack_from("<I", done.stdout, at)
        if size:
            _write_pyc(directory, name, tag, magic, done.stdout[at + 4 : at + 4 + size])
        at += 4 + size
    return True


def is_compiled(directory: Path, python: str) -> bool:
    """Whether the library is compiled for that Python minor version."""
    tag = _tag(*map(int, python.split(".")[:2]))
    return all(_pyc(directory, name, tag).exists() for name in _names(directory))


def ca_bundle() -> str:
    """The file of certificates that this node trusts, or ""."""
    named = [os.environ.get(name, "") for name in CA_VARIABLES]
    return next((path for path in [*named, *CA_PLACES] if path and os.path.isfile(path)), "")


def _files() -> Iterator[tuple[str, Path]]:
    """Name in the library and path of every file of it."""
    home = Path(ingle.__file__).parent
    for part in PARTS:
        path = home / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield f"ingle/{file.relative_to(home)}", file
    import cloudpickle

    theirs = Path(cloudpickle.__file__).parent
    for file in sorted(theirs.rglob("*.py")):
        yield f"cloudpickle/{file.relative_to(theirs)}", file


def _names(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in sorted(directory.rglob("*.py"))]


def _inside(name: str) -> str:
    return f"/ingle/lib/{name}"


def _tag(major: int, minor: int) -> str:
    return f"cpython-{major}{minor}"


def _pyc(directory: Path, name: str, tag: str) -> Path:
    path = directory / name
    return path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc"


def _write_pyc(directory: Path, name: str, tag: str, magic: bytes, code: bytes) -> None:
    """As "unchecked hash" (PEP 552): the interpreter does not look at the source's time."""
    pyc = _pyc(directory, name, tag)
    pyc.parent.mkdir(exist_ok=True)
    part = pyc.with_suffix(f".part{os.getpid()}")
    source_hash = importlib.util.source_hash((directory / name).read_bytes())
    part.write_bytes(magic + struct.pack("<I", 0b01) + source_hash + code)
    os.rename(part, pyc)
