"""The architecture as tables: who may import whom, and what beyond the standard library. What is in no table may not exist."""

import sys

import pytest
from tidy.source import SRC, imports, modules

#: Part: what it may import of ours. A dotted name allows that module alone.
MAY_IMPORT = {
    "exceptions": set(),
    "model": set(),
    "wire": {"model", "exceptions"},
    "runner": {"exceptions"},
    "sdk": {"model", "wire", "exceptions", "runner.context", "runner.wire"},
    "cli": {"sdk", "model", "exceptions", "launch"},
    "scheduler": {"model"},
    "storage": {"model", "exceptions"},
    "node": {"model", "wire", "exceptions", "runner.wire"},
    "server": {"model", "wire", "exceptions", "scheduler", "storage"},
    "__init__": {"sdk", "exceptions"},
    "__main__": {"cli"},
}
#: These put the parts together, so they may import any of them.
ANYTHING = {"launch", "testing"}
#: (importing part, imported part): only inside functions, at first use.
AT_FIRST_USE = {("runner", "exceptions"), ("__init__", "sdk")}

#: Part: packages beyond the standard library.
PACKAGES = {
    "wire": {"msgspec"},  # where it is installed
    "sdk": {"cloudpickle", "tomli"},  # at first use; tomli before Python 3.11
    "runner": {"cloudpickle"},  # at first use
    "cli": {"click", "rich"},
    "storage": {"sqlalchemy", "alembic", "obstore"},
    "node": {"cloudpickle", "picows", "psutil"},  # cloudpickle: to find and hand it on
    "server": {"aiohttp"},
    "launch": {"psutil", "uvloop"},
}
#: What a container receives: runs with nothing installed beside it.
IN_CONTAINERS = {"exceptions", "model", "wire", "runner", "sdk", "__init__"}

#: The scheduler is told the time and given its dice; it waits for nothing and writes nowhere.
NOT_IN_SCHEDULER = {
    "asyncio", "concurrent", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random",
    "secrets", "select", "selectors", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid",
}  # fmt: skip

#: A server's module may import those in lower rows; never up (but for types), never sideways where a row has a "|".
SERVER_LAYERS = [
    "main",
    "api",
    "background | loop",
    "client exec",
    "app node",
    "call",
    "spawn",
    "generator input outputs",
    "container function image log source",
    "auth config events session tasks",
]


def test_each_part_imports_only_what_the_table_allows():
    wrong = []
    for module in modules():
        if module.part in ANYTHING:
            continue
        allowed = MAY_IMPORT.get(module.part)
        if allowed is None:
            wrong.append(f"{module.at(1)}: the part `{module.part}` is in no table: add it to MAY_IMPORT with a reason")
            continue
        for one in imports(module):
            if one.top != "ingle" or one.target == "ingle":
                continue
            inner = one.target.removeprefix("ingle.")
            part = inner.split(".")[0]
            if part == module.part:
                continue
            if inner == "__version__" or _names_a_public_object(inner):
                wrong.append(f"{module.at(one.line)}: import `{inner}` from the module that makes it, not from `ingle`")
            elif not any(inner == a or inner.startswith(a + ".") for a in allowed):
                wrong.append(f"{module.at(one.line)}: {module.part} may not import {inner}; it may: {_said(allowed)}")
            elif (module.part, part) in AT_FIRST_USE and not one.lazy:
                wrong.append(f"{module.at(one.line)}: {module.part} imports {inner} inside functions only, at first use")
    assert not wrong, "\n".join(wrong)


def test_packages_beyond_the_standard_library_stand_in_the_table():
    wrong = []
    for module in modules():
        allowed = PACKAGES.get(module.part, set())
        for one in imports(module):
            if one.top in sys.stdlib_module_names or one.top == "ingle":
                continue
            if one.top not in allowed:
                wrong.append(f"{module.at(one.line)}: {module.part} may not use the package {one.top}; it may: {_said(allowed)}")
            elif module.part in IN_CONTAINERS and not (one.lazy or one.tolerated):
                wrong.append(f"{module.at(one.line)}: {one.top} is not there in every container: import it at first use, or try")
    assert not wrong, "\n".join(wrong)


def test_the_tables_allow_no_more_than_is_used():
    used = {(module.part, one.target) for module in modules() for one in imports(module)}
    wrong = [
        f"{part} does not import {name}: take it out of the table"
        for part, names in MAY_IMPORT.items()
        for name in names
        if not any(p == part and f"{target}.".startswith(f"ingle.{name}.") for p, target in used)
    ]
    wrong += [
        f"{part} does not use the package {name}: take it out of the table"
        for part, names in PACKAGES.items()
        for name in names
        if not any(p == part and target.split(".")[0] == name for p, target in used)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_scheduler_has_no_clock_dice_or_io():
    wrong = [
        f"{module.at(one.line)}: the scheduler may not use {one.top}: what it needs arrives in events"
        for module in modules()
        if module.part == "scheduler"
        for one in imports(module)
        if one.top in NOT_IN_SCHEDULER
    ]
    assert not wrong, "\n".join(wrong)


def test_the_server_imports_downwards():
    depth, alone = {}, set()
    for row, names in enumerate(SERVER_LAYERS):
        for name in names.replace("|", " ").split():
            depth[name] = row
            if "|" in names:
                alone.add(name)
    wrong = []
    for module in modules():
        if module.part != "server" or module.name == "ingle.server":
            continue
        here = module.name.split(".")[2]
        if here not in depth:
            wrong.append(f"{module.at(1)}: server.{here} is in no layer: add it to SERVER_LAYERS")
            continue
        for one in imports(module):
            if not one.target.startswith("ingle.server.") or one.typing_only:
                continue
            there = one.target.split(".")[2]
            if there == here:
                continue
            if depth.get(there, -1) < depth[here]:
                wrong.append(f"{module.at(one.line)}: server.{here} may not import server.{there}: it stands above")
            elif depth[there] == depth[here] and here in alone:
                wrong.append(f"{module.at(one.line)}: server.{here} and server.{there} may not know each other")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle():
    """Also not inside functions; only names for type checkers may look back."""
    names = {module.name: module for module in modules()}
    known = {module.name: _imported_modules(module, names) for module in modules()}
    wrong = []
    for start in sorted(known):
        reached, waiting = {}, [start]
        while waiting:
            here = waiting.pop()
            for there in known[here] - reached.keys():
                reached[there] = here
                waiting.append(there)
        if start in reached:
            wrong.append(f"{names[start].at(1)}: {start} imports itself by way of {reached[start]}: move what both need below both")
    assert not wrong, "\n".join(wrong)


def _imported_modules(module, names) -> set[str]:
    found = set()
    for one in imports(module):
        target = one.target
        while target and target not in names:
            target = target.rpartition(".")[0]
        if target and not one.typing_only and target != module.name:
            found.add(target)
    return found


@pytest.mark.parametrize("part", sorted({*MAY_IMPORT, *ANYTHING} - {"__init__"}))
def test_the_table_names_only_what_exists(part):
    assert (SRC / "ingle" / part).is_dir() or (SRC / "ingle" / f"{part}.py").is_file(), f"{part} is in the table only"


def _names_a_public_object(inner: str) -> bool:
    return inner[:1].isupper() and "." not in inner


def _said(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
