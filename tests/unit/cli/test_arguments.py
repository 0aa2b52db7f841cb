import datetime
import pathlib
from typing import Literal, Optional

import click
import pytest

from ingle import exceptions as ex
from ingle.cli.arguments import parse


def given(function, *argv):
    return parse(function, function.__name__, "ingle run file.py", list(argv))


def called(function, *argv):
    positional, named = given(function, *argv)
    return function(*positional, **named)


def complaint(function, *argv):
    with pytest.raises(click.UsageError) as caught:
        called(function, *argv)
    return caught.value.format_message()


def test_scalars_and_dashes():
    def main(first_name: str, count: int, ratio: float = 0.5):
        return first_name, count, ratio

    assert called(main, "--first-name", "Ada", "--count", "3") == ("Ada", 3, 0.5)
    assert called(main, "--first-name=Ada", "--count=-3", "--ratio", "2") == ("Ada", -3, 2.0)


def test_a_flag_can_be_switched_on_and_off():
    def main(dry_run: bool = True):
        return dry_run

    assert called(main) is True
    assert called(main, "--no-dry-run") is False
    assert called(main, "--dry-run") is True


def test_a_flag_without_a_default_must_be_given():
    def main(verbose: bool):
        return verbose

    assert called(main, "--no-verbose") is False
    assert "verbose" in complaint(main)


def test_moments():
    def main(since: datetime.datetime, day: datetime.date = datetime.date(2020, 1, 1)):
        return since, day

    assert called(main, "--since", "2024-05-01T12:30") == (
        datetime.datetime(2024, 5, 1, 12, 30),
        datetime.date(2020, 1, 1),
    )
    aware, day = called(main, "--since", "2024-05-01T12:30:00Z", "--day", "2024-06-01")
    assert aware.utcoffset() == datetime.timedelta(0) and day == datetime.date(2024, 6, 1)
    assert "2024-05-01T12:30:00" in complaint(main, "--since", "tomorrow")


def test_literal_gives_its_own_value():
    def main(size: Literal["small", "large"] = "small", level: Literal[1, 2] = 1):
        return size, level

    assert called(main) == ("small", 1)
    assert called(main, "--size", "large", "--level", "2") == ("large", 2)
    assert "--size" in complaint(main, "--size", "huge")


def test_optional_may_be_left_out():
    def main(a: Optional[int], b: str | None = None, c: "int | None" = 4):  # noqa: UP045
        return a, b, c

    assert called(main) == (None, None, 4)
    assert called(main, "--a", "1", "--b", "x", "--c", "2") == (1, "x", 2)


def test_lists_are_repeated():
    def main(tags: list[str], numbers: list[int] | None = None, more: list[int] = [7]):  # noqa: B006
        return tags, numbers, more

    assert called(main, "--tags", "a", "--tags", "b") == (["a", "b"], None, [7])
    assert called(main, "--tags", "a", "--numbers", "1", "--numbers", "2")[1] == [1, 2]
    assert "--tags" in complaint(main)


def test_paths_and_what_has_no_annotation():
    def main(path: pathlib.Path, plain, number=3):
        return path, plain, number

    assert called(main, "--path", "/x/y", "--plain", "text", "--number", "5") == (pathlib.Path("/x/y"), "text", 5)


def test_the_rest_of_the_line():
    def main(name: str = "n", *words):
        return name, words

    assert called(main, "a", "b") == ("n", ("a", "b"))
    assert called(main, "--name", "x", "a", "--unknown") == ("x", ("a", "--unknown"))


def test_positional_only():
    def main(a: int, /, b: int = 2):
        return a, b

    assert called(main, "--a", "1") == (1, 2)


def test_a_wrong_type_names_the_parameter():
    def main(count: int):
        return count

    assert "count" in complaint(main, "--count", "many")
    assert "count" in complaint(main)
    assert "cuont" in complaint(main, "--cuont", "3")


def test_a_type_no_option_can_give():
    class Thing: ...

    def bad(thing: Thing):
        return thing

    def good(thing: Thing = None, x: int = 1):
        return thing, x

    with pytest.raises(ex.InvalidError, match=r"`thing` of bad\(\)"):
        called(bad)
    assert called(good, "--x", "2") == (None, 2)


def test_help_shows_the_docstring_and_the_parameters(capsys):
    def main(name: str, count: int = 3):
        """Greets people."""

    with pytest.raises(click.exceptions.Exit):
        given(main, "--help")
    shown = capsys.readouterr().out
    assert "Greets people." in shown and "--name" in shown and "default: 3" in shown
    assert "ingle run file.py" in shown
