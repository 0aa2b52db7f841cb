"""The style as a test: sizes, names, and bans that name the replacement."""

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tidy.source import TOP, files, functions, here, modules, parse

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 600
#: Longer than allowed, by agreement; may only shrink.
LONG: set[str] = set()
#: Words for a module that has no one job.
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "stuff"}


def ours() -> list[Path]:
    """Python that people read and run, but for the tests."""
    return [path for path in files("*.py") if path.relative_to(TOP).parts[0] != "tests"]


def suite() -> list[Path]:
    """Test code; `programs` are not tests: they run inside containers."""
    return [path for path in files("tests/*.py", "tests/**/*.py") if "programs" not in path.parts]


def test_functions_and_modules_are_short():
    wrong = []
    for path in ours():
        lines = path.read_text().count("\n")
        if lines > MODULE_LINES_MAX and str(path.relative_to(TOP)) not in LONG:
            wrong.append(f"{here(path, lines)}: {lines} lines, at most {MODULE_LINES_MAX}: split it by noun")
        for function in functions(parse(path)):
            length = function.end_lineno - function.lineno - _docstring_lines(function)
            if length > FUNCTION_LINES_MAX and f"{path.relative_to(TOP)}::{function.name}" not in LONG:
                wrong.append(f"{here(path, function.lineno)}: {function.name} has {length} lines, at most {FUNCTION_LINES_MAX}")
    assert not wrong, "\n".join(wrong)


def _docstring_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    return first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0


def test_every_file_of_ours_parses_as_the_oldest_python():
    wrong = []
    for path in files("*.py"):
        try:
            parse(path)
        except SyntaxError as error:
            wrong.append(f"{here(path, error.lineno or 1)}: not Python 3.10: {error.msg}")
    assert not wrong, "\n".join(wrong)


def test_every_module_says_its_one_job():
    wrong = []
    for path in ours():
        text = path.read_text()
        doc = ast.get_docstring(parse(path))
        if text.strip() and not doc:
            wrong.append(f"{here(path, 1)}: open the module with one sentence that names its one job")
        elif doc and not doc.split("\n\n")[0].rstrip().endswith((".", ":", "::")):
            wrong.append(f"{here(path, 1)}: the first paragraph of the docstring is no sentence (it ends without a period)")
        if path.stem in VAGUE:
            wrong.append(f"{here(path, 1)}: `{path.stem}` names no job: name the noun that it holds")
    assert not wrong, "\n".join(wrong)


def test_public_names_are_sorted_exported_and_documented():
    import ingle

    wrong = []
    for name in ingle.__all__:
        value = getattr(ingle, name, None)
        if value is None:
            wrong.append(f"src/ingle/__init__.py:1: `{name}` is in __all__ but cannot be had")
        elif callable(value) and not (value.__doc__ or "").strip():
            wrong.append(f"src/ingle/__init__.py:1: `{name}` is public and has no docstring")
    missing = set(ingle.__all__) - set(dir(ingle))
    if missing:
        wrong.append(f"src/ingle/__init__.py:1: dir(ingle) lacks {', '.join(sorted(missing))}")
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
                try:
                    names = list(ast.literal_eval(node.value))
                except ValueError:
                    continue  # made from another table, which has its own order
                if names != sorted(names):
                    first = next(b for a, b in itertools.pairwise(names) if b < a)
                    wrong.append(f"{module.at(node.lineno)}: __all__ is not sorted: `{first}` comes too late")
    assert not wrong, "\n".join(wrong)


#: Later than Python 3.10; fine under a test of the version, or where a lack is caught.
NEWER = {
    "asyncio.Runner", "asyncio.TaskGroup", "asyncio.timeout", "asyncio.timeout_at", "BaseExceptionGroup", "contextlib.chdir",
    "datetime.UTC", "enum.StrEnum", "ExceptionGroup", "hashlib.file_digest", "itertools.batched", "tomllib", "typing.Never",
    "typing.Self", "typing.Unpack", "typing.assert_never", "typing.override",
}  # fmt: skip


def newer_names(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.If | ast.IfExp) and re.search(r"version_info|hasattr|TYPE_CHECKING", ast.unparse(node.test)):
        return
    if isinstance(node, ast.Try) and any("Error" in ast.unparse(h.type) for h in node.handlers if h.type):
        for handler in node.handlers:
            yield from newer_names(handler)
        return
    if isinstance(node, ast.Attribute | ast.Name) and (name := ast.unparse(node)) in NEWER:
        yield node.lineno, name
    elif isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names if alias.name in NEWER)
    elif isinstance(node, ast.ImportFrom):
        yield from ((node.lineno, n) for a in node.names if (n := f"{node.module}.{a.name}") in NEWER)
    for child in ast.iter_child_nodes(node):
        yield from newer_names(child)


def test_nothing_newer_than_the_oldest_python_is_used():
    wrong = [
        f"{here(path, line)}: {name} came after Python 3.10"
        for path in files("*.py")
        for line, name in newer_names(parse(path))
    ]
    assert not wrong, "\n".join(wrong)


# ---- bans: (what, instead), found in the syntax tree. Each yields the nodes it objects to.


def called(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of these dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node


def dropped_tasks(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            if name.endswith((".create_task", ".ensure_future")) and not re.search(r"\b(tg|group|tasks?)\.", name):
                yield node


def bare_excepts(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node


def shells(tree: ast.AST) -> Iterator[ast.AST]:
    yield from called(tree, "os.system", "os.popen")
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) == "True":
            yield node.value


def sleeps(tree: ast.AST) -> Iterator[ast.AST]:
    """Those in a `while` look at a condition again and again, which is what a test should do."""
    polls = {id(node) for loop in ast.walk(tree) if isinstance(loop, ast.While) for node in ast.walk(loop)}
    for node in called(tree, "time.sleep", "sleep", "asyncio.sleep"):
        if id(node) not in polls and not (node.args and ast.unparse(node.args[0]) == "0"):
            yield node


def unpickling(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(n.split(".")[0] in ("pickle", "_pickle", "cloudpickle", "marshal", "shelve") for n in names):
                yield node


def naked_printing(tree: ast.AST) -> Iterator[ast.AST]:
    yield from called(tree, "print")


def system_calls(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "ctypes" in ast.unparse(node):
            yield node


Finder = Callable[[ast.AST], Iterator[ast.AST]]
#: finder, where it holds (parts of src/ingle; empty: everywhere), except in these files, what to do instead
BANS: tuple[tuple[Finder, set[str], set[str], str], ...] = (
    (dropped_tasks, set(), set(), "a task that nobody holds may vanish before it ends: keep it, and look at its result"),
    (bare_excepts, set(), set(), "a bare except swallows KeyboardInterrupt: name the exceptions"),
    (shells, set(), set(), "no shell: give subprocess a list"),
    (unpickling, {"server", "node", "storage", "scheduler", "wire", "model", "cli"}, {"node/library.py"},
     "nothing but the SDK and the runner unpickles: payloads are untouched bytes"),
    (naked_printing, {"server", "scheduler", "storage", "wire", "model"}, set(),
     "say it in a log record or a reply; only programs in front of a person print"),
    (system_calls, set(), {"node/kernel.py", "node/runtime/seccomp.py"}, "system calls go through node/kernel.py"),
)  # fmt: skip


def test_bans_hold():
    wrong = []
    for module in modules():
        for finder, parts, but, instead in BANS:
            inside = str(module.path).partition("/ingle/")[2]
            if (parts and module.part not in parts) or inside in but:
                continue
            wrong += [f"{module.at(node.lineno)}: {instead}" for node in finder(module.tree)]
    assert not wrong, "\n".join(wrong)


def test_tests_wait_for_something():
    wrong = [
        f"{here(path, node.lineno)}: wait for a condition with a deadline, not for luck"
        for path in suite()
        for node in sleeps(parse(path))
    ]
    assert not wrong, "\n".join(wrong)


# ---- what must not be in the repository

URL = re.compile(r"https?://(?:[\w.~%-]+(?::[^@\s/]*)?@)?([A-Za-z0-9][A-Za-z0-9.-]*)")
#: Names that mean nobody's machine, and pages that documentation may point at.
HOSTS = re.compile(
    r"^(localhost|127(\.\d+){3}|10(\.\d+){3}|192\.168(\.\d+){2}|169\.254(\.\d+){2}|192\.0\.2\.\d+|0\.0\.0\.0|[a-z0-9-]+"
    r"|.*\.(example|invalid|test|local|internal)|(www\.)?example\.(com|org|net)|docs\.python\.org|(www\.)?kernel\.org"
    r"|docs\.kernel\.org|man7\.org|www\.rfc-editor\.org|json-schema\.org|www\.apache\.org)$"
)
#: Absolute paths of one machine. A path that goes on from a variable ("{root}/work/…") is not meant.
MACHINE_PATH = re.compile(r"(?<![\w.}\])*~$<>\"'-])/(?:work|workspace|home|Users|opt|mnt)/[\w.-]+")
QUOTED_PATH = re.compile(r"""["'](/(?:work|workspace|home|Users|opt|mnt)/[\w.-]+)""")


def lines() -> Iterator[tuple[Path, int, str]]:
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield path, number, line


def test_no_hosts_or_paths_of_one_machine():
    wrong = []
    for path, number, line in lines():
        for host in URL.findall(line):
            if not HOSTS.match(host.lower().rstrip(".")):
                wrong.append(f"{here(path, number)}: the host {host} does not belong here: read it from the environment")
        if (found := MACHINE_PATH.search(line) or QUOTED_PATH.search(line)) and path != Path(__file__):
            wrong.append(f"{here(path, number)}: {found.group()} is a path of one machine")
    assert not wrong, "\n".join(wrong)
