"""How the user's code gets into containers."""

import shutil
import sys

import pytest
from e2e.support import PROGRAMS


@pytest.fixture
def shop(tmp_path):
    """A fresh copy of the package, to be edited."""
    shutil.copytree(PROGRAMS / "pack", tmp_path / "pack", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "pack"


@pytest.mark.parametrize("argv", [("-m", "shop.main"), ("shop/main.py",)])
def test_a_package_is_shipped_whole(ingle, shop, argv):
    done = ingle.run("run", *argv, cwd=shop, env={"PYTHONPATH": str(shop)}).ok()
    assert "price (3, 'shop.main')" in done.stdout, done.all


def test_an_edited_line_runs(ingle, shop):
    env = {"PYTHONPATH": str(shop)}
    ingle.run("run", "-m", "shop.main", cwd=shop, env=env).ok()
    (shop / "shop" / "data.py").write_text('PRICES = {"apple": 5}\n')
    assert "price (5," in ingle.run("run", "-m", "shop.main", cwd=shop, env=env).ok().stdout
    (shop / "shop" / "prices.py").write_text("from . import data\n\n\ndef price(name):\n    return -data.PRICES[name]\n")
    assert "price (-5," in ingle.run("run", "-m", "shop.main", cwd=shop, env=env).ok().stdout


def test_only_changed_files_travel(ingle, shop):
    """A large file that did not change is on the server's disk once, and once in the node's."""
    (shop / "shop" / "weights.bin").write_bytes(b"w" * (8 << 20))
    env = {"PYTHONPATH": str(shop)}
    ingle.run("run", "-m", "shop.main", cwd=shop, env=env).ok()
    before = _bytes(ingle.state / "server")
    (shop / "shop" / "data.py").write_text('PRICES = {"apple": 6}\n')
    assert "price (6," in ingle.run("run", "-m", "shop.main", cwd=shop, env=env).ok().stdout
    assert _bytes(ingle.state / "server") - before < 4 << 20


def _bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_file_that_is_not_text_or_is_odd_is_shipped(ingle, shop):
    (shop / "shop" / "data.py").write_text(
        "from pathlib import Path\nPRICES = {'apple': len((Path(__file__).parent / 'a b ü.bin').read_bytes())}\n"
    )
    (shop / "shop" / "a b ü.bin").write_bytes(bytes(range(256)))
    done = ingle.run("run", "-m", "shop.main", cwd=shop, env={"PYTHONPATH": str(shop)}).ok()
    assert "price (256," in done.stdout, done.all


def test_what_lies_beside_the_program_and_was_imported_is_shipped(ingle, tmp_path):
    (tmp_path / "neighbour.py").write_text("NAME = 'next door'\n")
    (tmp_path / "beside.py").write_text(
        "import ingle, neighbour\n"
        "app = ingle.App('beside')\n"
        "@app.function()\n"
        "def ask():\n    return neighbour.NAME\n"
    )
    assert "next door" in ingle.run("run", "beside.py", cwd=tmp_path).ok().stdout


def test_functions_typed_for_editors(tmp_path):
    """mypy knows the parameters and the result of `.remote(...)`."""
    from e2e.support import Program

    (tmp_path / "typed.py").write_text(
        "import ingle\n"
        "app = ingle.App('typed')\n"
        "@app.function()\n"
        "def double(x: int, loud: bool = False) -> str:\n    return str(x)\n"
        "reveal_type(double.remote(1))\n"
        "reveal_type(double.spawn(1))\n"
        "double.remote('one')\n"
        "double.remote(1, quiet=True)\n"
    )
    program = Program([sys.executable, "-m", "mypy", "typed.py"], {"PATH": "/usr/bin:/bin"}, tmp_path)
    program.wait(110)
    text = program.all()
    assert 'Revealed type is "str"' in text or 'Revealed type is "builtins.str"' in text, text
    assert "FunctionCall[" in text and 'incompatible type "str"; expected "int"' in text and '"quiet"' in text, text
