"""The program's own code: which files a container needs, under which names it imports them, and how they get there.

A module of a package takes its whole top-level package with it; a file of its own takes itself, and what it has imported
from its own directory. All lie under /root in the container. Only files that the server does not have travel.
"""

from __future__ import annotations

import os
import sys

from ingle.exceptions import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType
    from typing import Any

    from ingle.sdk.http import Http

FILES_MAX = 10_000
TREE_BYTES_MAX = 256 << 20
#: Trees of fewer files are hashed anew each time: that is quicker than reading the cache.
CACHED_FILES_MIN = 20
CACHE_ENTRIES_MAX = 50_000
CACHE = "~/.cache/ingle/hashes.json"
#: A file that was changed so shortly before may change again within the same time stamp.
SETTLED_NS = 2_000_000_000
#: Files that change while they are shipped: so many attempts.
ATTEMPTS_MAX = 3

_LEFT_OUT = {"__pycache__", "node_modules", "venv"}


class Entry:
    """A program that `ingle run` was given.

    Attributes:
        module: the name under which it is imported, here and in containers.
        path: its file.
        root: the directory that is on `sys.path` for it.
    """

    def __init__(self, module: str, path: str, root: str):
        self.module = module
        self.path = path
        self.root = root

    def load(self) -> ModuleType:
        """Imports it, as `python file.py` or `python -m module` would find it.

        Raises:
            BaseException: whatever the program raises while it is imported.
        """
        import importlib.util

        if self.root not in sys.path:
            sys.path.insert(0, self.root)
        known = sys.modules.get(self.module)
        if known is not None and _same_file(getattr(known, "__file__", None), self.path):
            return known
        if "." in self.module:
            return importlib.import_module(self.module)
        spec = importlib.util.spec_from_file_location(self.module, self.path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(self.module, None)
            raise
        return module


def entry(target: str, is_module: bool = False) -> Entry:
    """The program in a file (`hello.py`) or, with `is_module`, of a module name (`pkg.mod`).

    Raises:
        InvalidError: there is no such file or module.
    """
    if is_module:
        return _module_entry(target)
    path = os.path.abspath(target)
    if not os.path.isfile(path):
        hint = f"; with `-m` it could be a module: -m {target}" if not target.endswith(".py") else ""
        raise InvalidError(f"there is no file {target}{hint}")
    return _file_entry(path)


def _file_entry(path: str) -> Entry:
    directory, name = os.path.split(path)
    stem = name.removesuffix(".py")
    parts = [] if stem == "__init__" else [stem.replace(".", "_")]
    while os.path.isfile(os.path.join(directory, "__init__.py")):
        directory, package = os.path.split(directory)
        parts.insert(0, package)
    return Entry(".".join(parts), path, directory)


def _module_entry(name: str) -> Entry:
    import importlib.util

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__") or spec
    except (ImportError, ValueError) as error:
        raise InvalidError(f"there is no module {name}: {error}") from None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise InvalidError(f"there is no module {name} (looked in {os.getcwd()} and sys.path)")
    root = spec.origin
    for _ in range(spec.name.count(".") + 1 + os.path.basename(root).startswith("__init__")):
        root = os.path.dirname(root)
    return Entry(spec.name, spec.origin, root)


def main_entry() -> Entry | None:
    """The program that is `__main__` here; None in an interactive session."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    path = getattr(main, "__file__", None)
    if path is None or not os.path.isfile(path):
        return None
    path = os.path.abspath(path)
    if spec is None or not spec.name:
        return _file_entry(path)
    root = path
    for _ in range(spec.name.count(".") + 1):
        root = os.path.dirname(root)
    return Entry(spec.name, path, root)


# ---- which files


class File:
    """One file to ship.

    Attributes:
        path: where it is here.
        name: where it goes, relative to /root.
    """

    __slots__ = ("mode", "mtime_ns", "name", "path", "sha256", "size")

    def __init__(self, path: str, name: str, info: os.stat_result):
        self.path = path
        self.name = name
        self.size = info.st_size
        self.mtime_ns = info.st_mtime_ns
        self.mode = 0o755 if info.st_mode & 0o100 else 0o644
        self.sha256 = ""


def files_of(modules: Iterable[tuple[str, str]]) -> list[File]:
    """What containers need to import these modules, given as (import name there, import name here), sorted by name.

    Raises:
        InvalidError: a module has no file, or the files are too many or too large.
    """
    found: dict[str, File] = {}
    roots: set[str] = set()
    for there, here in modules:
        path = getattr(sys.modules.get(here), "__file__", None)
        if path is None or not path.endswith(".py") or not os.path.isfile(path):
            raise InvalidError(
                f"module {there!r} has no file that could be shipped: write its functions in a file, "
                f"or ship the functions themselves with @app.function(serialized=True)"
            )
        roots.add(_collect_module(there, os.path.abspath(path), found))
    for root in roots:
        for name, path in _imported_from(root):
            _collect_module(name, path, found)
    return sorted(found.values(), key=lambda file: file.name)


def _collect_module(name: str, path: str, found: dict[str, File]) -> str:
    """Adds a module's files; returns the directory in which its top level lies."""
    parts = name.split(".")
    is_package = os.path.basename(path) == "__init__.py"
    depth = len(parts) if is_package else len(parts) - 1
    root = os.path.dirname(path)
    for _ in range(depth):
        root = os.path.dirname(root)
    package = os.path.join(root, parts[0])
    if depth and os.path.isdir(package):
        _collect_tree(package, parts[0], found)
    if not is_package and not any(file.path == path for file in found.values()):
        target = "/".join(parts) + ".py"
        if depth and not path.endswith(os.sep + target.replace("/", os.sep)):
            root = os.path.dirname(path)  # a name that says nothing of directories (pytest makes such)
        found[target] = File(path, target, os.stat(path))
    return root


def _collect_tree(directory: str, name: str, found: dict[str, File]) -> None:
    total = sum(file.size for file in found.values())
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(
            f
            for f in folders
            if f not in _LEFT_OUT
            and not f.startswith(".")
            and not os.path.exists(os.path.join(folder, f, "pyvenv.cfg"))
        )
        relative = os.path.relpath(folder, directory)
        prefix = name if relative == "." else f"{name}/{relative.replace(os.sep, '/')}"
        for file in files:
            if file.endswith((".pyc", ".pyo")) or file.startswith("."):
                continue
            path = os.path.join(folder, file)
            try:
                info = os.stat(path)
            except OSError:  # a dangling link
                continue
            if not os.path.isfile(path):
                continue
            found[f"{prefix}/{file}"] = File(path, f"{prefix}/{file}", info)
            total += info.st_size
            if len(found) > FILES_MAX or total > TREE_BYTES_MAX:
                raise InvalidError(_too_large(directory, found))


def _too_large(directory: str, found: dict[str, File]) -> str:
    folders: dict[str, list[int]] = {}
    for file in found.values():
        entry = folders.setdefault(os.path.dirname(file.name), [0, 0])
        entry[0] += 1
        entry[1] += file.size
    largest = sorted(folders.items(), key=lambda item: (item[1][1], item[1][0]), reverse=True)[:3]
    said = ", ".join(f"{name} ({count} files, {size >> 20} MiB)" for name, (count, size) in largest)
    return (
        f"the package in {directory} is too large to ship: at most {FILES_MAX} files and {TREE_BYTES_MAX >> 20} MiB. "
        f"Largest so far: {said}. Move data out of the package, or use include_source=False"
    )


def _imported_from(root: str) -> Iterator[tuple[str, str]]:
    """Top-level modules that this program has imported from that directory."""
    if os.sep + "site-packages" in root or os.sep + "dist-packages" in root or root == os.path.dirname(os.__file__):
        return
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if "." in name or name in ("__main__", "__mp_main__", "ingle") or not isinstance(path, str):
            continue
        path = os.path.abspath(path)
        if path in (os.path.join(root, name + ".py"), os.path.join(root, name, "__init__.py")):
            yield name, path


# ---- shipping


def ship(http: Http, modules: list[tuple[str, str]]) -> str:
    """Gives the server the files that these modules need and returns the id of the tree.

    Raises:
        InvalidError: see `files_of`; or files change all the time.
        ingle.Error: the server cannot take them.
    """
    for _ in range(ATTEMPTS_MAX):
        files = files_of(modules)
        _hash(files)
        manifest = [{"path": f.name, "sha256": f.sha256, "size": f.size, "mode": f.mode} for f in files]
        state = http.json("POST", "/v1/sources", {"files": manifest})
        missing = set(state["missing"])
        parts = _contents([f for f in files if f.sha256 in missing])
        if parts is None:
            continue
        if parts:
            http.request("POST", f"/v1/sources/{state['source']}/files", parts)
        return str(state["source"])
    raise InvalidError("the program's files change while they are shipped: try again when they rest")


def _contents(files: list[File]) -> list[bytes] | None:
    """The body that carries these files; None if one has changed since it was hashed."""
    import hashlib

    parts: list[bytes] = []
    done: set[str] = set()
    for file in files:
        if file.sha256 in done:
            continue
        done.add(file.sha256)
        try:
            with open(file.path, "rb") as opened:
                data = opened.read()
        except OSError:
            return None
        digest = hashlib.sha256(data).digest()
        if digest.hex() != file.sha256:
            return None
        parts += [digest, len(data).to_bytes(8, "little"), data]
    return parts


def _hash(files: list[File]) -> None:
    import hashlib

    cache = _Cache() if len(files) >= CACHED_FILES_MIN else None
    for file in files:
        known = cache.get(file) if cache else None
        if known is not None:
            file.sha256 = known
            continue
        digest = hashlib.sha256()
        size = 0
        try:
            with open(file.path, "rb") as opened:
                while chunk := opened.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
        except OSError as error:
            raise InvalidError(f"cannot ship {file.path}: {error.strerror}") from None
        file.sha256 = digest.hexdigest()
        file.size = size
        if cache:
            cache.put(file)
    if cache:
        cache.save()


class _Cache:
    """Hashes of files by path, size and time of change. Losing it costs time only."""

    def __init__(self) -> None:
        import json

        self._path = os.path.expanduser(CACHE)
        self._changed = False
        self._known: dict[str, Any] = {}
        try:
            with open(self._path) as file:
                known = json.load(file)
            if isinstance(known, dict) and len(known) <= CACHE_ENTRIES_MAX:
                self._known = known
        except (OSError, ValueError):
            pass

    def get(self, file: File) -> str | None:
        entry = self._known.get(file.path)
        if isinstance(entry, list) and entry[:2] == [file.size, file.mtime_ns] and len(entry) == 3:
            return str(entry[2])
        return None

    def put(self, file: File) -> None:
        import time

        if time.time_ns() - file.mtime_ns > SETTLED_NS:
            self._known[file.path] = [file.size, file.mtime_ns, file.sha256]
            self._changed = True

    def save(self) -> None:
        if not self._changed:
            return
        import json

        partial = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(partial, "w") as file:
                json.dump(self._known, file)
            os.replace(partial, self._path)
        except OSError:
            pass


def _same_file(one: str | None, other: str) -> bool:
    return one is not None and os.path.abspath(one) == other
