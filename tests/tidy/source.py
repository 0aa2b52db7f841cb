"""The tree as data: modules, what they import and where, tracked files."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOP = Path(__file__).parents[2]
SRC = TOP / "src"


@dataclass(frozen=True)
class Module:
    """One file under src/ingle."""

    name: str  #: dotted, such as "ingle.node.agent"
    path: Path
    tree: ast.Module

    @property
    def part(self) -> str:
        """The first name below `ingle`: a folder or a file of the table."""
        names = self.name.split(".")
        return names[1] if len(names) > 1 else "__init__"

    def at(self, line: int) -> str:
        return f"{self.path.relative_to(TOP)}:{line}"


@dataclass(frozen=True)
class Import:
    """One imported name, whole: `from a import b` is "a.b"."""

    target: str
    line: int
    lazy: bool  #: inside a function, or only for type checkers: costs nothing at start
    tolerated: bool  #: inside a `try` that catches ImportError
    typing_only: bool

    @property
    def top(self) -> str:
        return self.target.split(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted((SRC / "ingle").rglob("*.py")):
        dotted = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        found.append(Module(dotted, path, parse(path)))
    return tuple(found)


@cache
def parse(path: Path) -> ast.Module:
    # The oldest Python that we promise: newer syntax is a SyntaxError here.
    return ast.parse(path.read_text(), filename=str(path), feature_version=(3, 10))


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Every name that this module imports, wherever the import stands."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    return tuple(_imports(module.tree, package, lazy=False, tolerated=False, typing_only=False))


def _imports(node: ast.AST, package: str, **where: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, **where)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, package)
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, **where)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child, package, **{**where, "lazy": True})
        elif isinstance(child, ast.Try) and any(_catches_import_error(h) for h in child.handlers):
            yield from _imports(child, package, **{**where, "tolerated": True})
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, package, **{**where, "lazy": True, "typing_only": True})
        else:
            yield from _imports(child, package, **where)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    names = package.split(".")
    names = names[: len(names) - (node.level - 1)]
    return ".".join([*names, *(node.module or "").split(".")]).rstrip(".")


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and any(
        name in ast.unparse(handler.type) for name in ("ImportError", "ModuleNotFoundError")
    )


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@cache
def files(*patterns: str) -> tuple[Path, ...]:
    """What is, or is about to be, in the repository; all of it without patterns."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=TOP, capture_output=True, check=True)
    paths = (TOP / name for name in done.stdout.decode().split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def here(path: Path, line: int) -> str:
    return f"{path.relative_to(TOP)}:{line}"
