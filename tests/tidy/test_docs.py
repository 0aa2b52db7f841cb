"""Documents and programs say the same: errors, commands, settings, the table of the wire."""

import inspect
import re

import click
import pytest
from tidy.source import TOP, files, here, modules

import ingle.exceptions


def pages() -> str:
    """All that a reader finds without opening the code."""
    return "\n".join(path.read_text() for path in files("README.md", "docs/*.md", "docs/**/*.md"))


def drawn() -> dict[str, str]:
    """Name to parent, from the tree at the top of exceptions.py."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (ingle.exceptions.__doc__ or "").splitlines():
        found = re.match(r"^\s{4}((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)\b", line)
        if not found:
            continue
        depth = len(found.group(1))
        while above and above[-1][0] >= depth:
            above.pop()
        parents[found.group(2)] = above[-1][1] if above else ""
        above.append((depth, found.group(2)))
    return parents


def test_the_tree_of_exceptions_is_the_tree():
    tree = drawn()
    real = {n: c for n, c in vars(ingle.exceptions).items() if inspect.isclass(c) and issubclass(c, BaseException)}
    wrong = []
    for name, cls in real.items():
        line = inspect.getsourcelines(cls)[1]
        parent = cls.__base__.__name__ if cls.__base__.__name__ in real else ""
        if name not in tree:
            wrong.append(f"src/ingle/exceptions.py:{line}: {name} is missing from the tree at the top")
        elif tree[name] != parent:
            wrong.append(f"src/ingle/exceptions.py:{line}: the tree draws {name} under {tree[name] or 'nothing'}, it is under {parent}")
        if not cls.__doc__:
            wrong.append(f"src/ingle/exceptions.py:{line}: {name} has no docstring")
    wrong += [f"src/ingle/exceptions.py:1: the tree draws {name}, which is not there" for name in tree if name not in real]
    assert not wrong, "\n".join(wrong)


def test_every_error_has_a_code_and_subclasses_come_first():
    from ingle.wire.errors import TABLE

    wrong = []
    for name, cls in vars(ingle.exceptions).items():
        if inspect.isclass(cls) and issubclass(cls, ingle.exceptions.Error) and cls not in [row[0] for row in TABLE]:
            wrong.append(f"src/ingle/wire/errors.py:1: TABLE has no row for {name}")
    for i, (cls, code, _) in enumerate(TABLE):
        hidden = [row[0].__name__ for row in TABLE[i + 1 :] if issubclass(row[0], cls)]
        if hidden:
            wrong.append(f"src/ingle/wire/errors.py:1: {cls.__name__} ({code}) stands before its subclasses {hidden}")
    codes = [row[1] for row in TABLE]
    wrong += [f"src/ingle/wire/errors.py:1: the code {code} is there twice" for code in {c for c in codes if codes.count(c) > 1}]
    assert not wrong, "\n".join(wrong)


def commands(command: click.Command, path: tuple[str, ...]):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from commands(child, (*path, name))


def test_every_command_and_option_is_explained():
    from ingle.cli import main

    entry = next((v for v in vars(main).values() if isinstance(v, click.Group)), None)
    assert entry is not None, "ingle.cli.main holds no click group"
    text = pages()
    wrong = []
    for path, command in commands(entry, ("ingle",)):
        spoken = " ".join(path)
        if len(path) > 1 and not isinstance(command, click.Group) and not re.search(rf"\b{re.escape(spoken)}\b", text):
            wrong.append(f"README.md or docs: no word about `{spoken}`")
        if not (command.help or "").strip():
            wrong.append(f"`{spoken} --help` says nothing")
        for option in command.params:
            if isinstance(option, click.Option) and not (option.help or "").strip() and not option.hidden:
                wrong.append(f"`{spoken}`: the option {option.opts[-1]} has no help")
    assert not wrong, "\n".join(wrong)


def test_every_setting_has_an_entry():
    text = pages()
    wrong = set()
    for module in modules():
        for number, line in enumerate(module.path.read_text().splitlines(), 1):
            for name in re.findall(r"\bINGLE_[A-Z_]+\b", line):
                if name not in text:
                    wrong.add(f"{here(module.path, number)}: the setting {name} is in no page (docs/settings.md)")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("page", [str(p.relative_to(TOP)) for p in files("docs/checklists/*.md")])
def test_a_checklist_has_at_most_eight_steps(page):
    steps = [line for line in (TOP / page).read_text().splitlines() if re.match(r"^\d+\. ", line)]
    assert 0 < len(steps) <= 8, f"{page}: {len(steps)} steps: past eight, mend the design"


def test_paths_in_the_pages_exist():
    wrong = []
    for page in files("README.md", "ARCHITECTURE.md", "SPECIFICATION.md", "docs/*.md", "docs/**/*.md"):
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for path in re.findall(r"`((?:src|tests|docs|bench|examples)/[\w./-]+)`", line):
                if not (TOP / path).exists() and not path.startswith("bench/results"):
                    wrong.append(f"{here(page, number)}: {path} is not there")
    assert not wrong, "\n".join(wrong)


def test_decisions_are_numbered_once():
    pages = files("docs/decisions/*.md")
    wrong = [
        f"{here(page, 1)}: its name has a number of its own, and its title begins with that number"
        for page in pages
        if page.read_text().partition(".")[0] != f"# {int(page.name[:4])}" or sum(p.name[:4] == page.name[:4] for p in pages) > 1
    ]
    assert not wrong, "\n".join(wrong)
