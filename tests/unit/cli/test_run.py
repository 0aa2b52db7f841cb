"""What `ingle run` chooses to run, and what it does with the value. Running it for real is tests/e2e."""

import json
import sys
import textwrap

import click
import pytest

from ingle import exceptions as ex
from ingle.cli import run

ONE = """
    import ingle
    app = ingle.App("one")

    @app.function()
    def f(x: int):
        return x

    @app.local_entrypoint()
    def main(x: int = 1):
        return f.local(x)
"""
TWO = """
    import ingle
    app = ingle.App("two")

    @app.function()
    def f(x): ...

    @app.function(name="other")
    def g(x): ...
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writes a file and loads it as `ingle run` would."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["x"])

    def load(text, name="program_of_a_test.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return run.load(str(path), False)

    yield load
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def complaint(call, *args):
    with pytest.raises(click.UsageError) as caught:
        call(*args)
    return caught.value.format_message()


def test_the_only_entrypoint_is_chosen(program):
    chosen = run.choose(program(ONE), "", "p.py")
    assert chosen.name == "main" and chosen.remote is None and chosen.function(5) == 5


def test_a_function_is_chosen_by_name(program):
    chosen = run.choose(program(ONE), "f", "p.py")
    assert chosen.name == "f" and chosen.remote is not None and chosen.function(3) == 3


def test_the_options_of_a_function_are_its_own(program):
    chosen = run.choose(program(ONE), "f", "p.py")
    assert run.arguments_of(chosen, "p.py::f", ("--x", "3")) == ([], {"x": 3})


def test_the_only_function_is_chosen(program):
    text = TWO.split("@app.function(name")[0]
    assert run.choose(program(text), "", "p.py").name == "f"


def test_more_than_one_choice_is_listed(program):
    said = complaint(run.choose, program(TWO), "", "p.py")
    assert "p.py::f, p.py::other" in said
    assert "p.py has no g" in complaint(run.choose, program(TWO, "again.py"), "g", "p.py")


def test_a_file_without_an_app(program):
    assert "ingle.App" in complaint(run.choose, program("x = 1"), "", "p.py")


def test_the_file_is_the_module_of_its_name_and_its_folder_is_on_the_path(program, tmp_path):
    (tmp_path / "beside_it.py").write_text("value = 7")
    loaded = program("import sys\nfrom beside_it import value\nargv = sys.argv\nname = __name__", "01_digits.py")
    assert loaded.value == 7 and loaded.name == "01_digits" and loaded.argv == [str(tmp_path / "01_digits.py")]
    assert sys.modules["01_digits"] is loaded


def test_files_that_are_none(program, tmp_path):
    with pytest.raises(ex.InvalidError, match="there is no file"):
        run.load(str(tmp_path / "nope.py"), False)
    with pytest.raises(ex.InvalidError, match="there is no module"):
        run.load("nowhere_at_all.deep", True)
    for name in ("json.py", "ingle.py"):
        assert "rename it" in complaint(program, "", name)


def test_an_import_that_is_missing_inside_a_module_is_the_users_error(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "has_a_bad_import.py").write_text("import not_there_at_all")
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        run.load("has_a_bad_import", True)


def test_values_are_written_as_they_are(tmp_path):
    path = tmp_path / "out"
    run.write_value(path, "text")
    assert path.read_text() == "text"
    run.write_value(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    run.write_value(path, {"a": [1, None]})
    assert json.loads(path.read_text()) == {"a": [1, None]}
    run.write_value(path, {1, 2})
    assert path.read_text() == "{1, 2}\n"
    with pytest.raises(click.ClickException, match="cannot be written"):
        run.write_value(tmp_path / "no" / "folder", "x")


def test_values_are_shown(capsys):
    for value in ("text", 3, None, b"x"):
        run.show_value(value)
    assert capsys.readouterr().out == "text\n3\nb'x'\n"


def test_an_option_of_the_command_in_the_wrong_place(program):
    chosen = run.choose(program(ONE), "main", "p.py")
    assert "stands before p.py" in complaint(run.arguments_of, chosen, "p.py", ("-w", "x"))
    assert "stands before" not in complaint(run.arguments_of, chosen, "p.py", ("--nothing", "x"))
    assert run.arguments_of(chosen, "p.py", ("--x", "4")) == ([], {"x": 4})
