"""The program's own code: what is shipped, under which names, and that classes of the program are the same on both sides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ingle
from ingle.exceptions import InvalidError
from ingle.sdk import source

HELLO = """
import ingle
import helper

app = ingle.App()

class Broken(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)
        self.two = two

class Point:
    def __init__(self, x):
        self.x = x

@app.function()
def move(point):
    assert type(point) is Point, type(point)
    assert __name__ == "hello" and not ingle.is_local()
    return Point(point.x + helper.STEP)

@app.function()
def fail(kind):
    raise kind(1, 2)

@app.function()
def apply(function, value):
    return function(value)

@app.function(serialized=True)
def shipped(x):
    return Point(x), move.name

@app.local_entrypoint()
def main():
    got = move.remote(Point(1))
    assert type(got) is Point and got.x == 3, got
    try:
        fail.remote(Broken)
    except Broken as error:
        assert type(error) is Broken and error.args == (1, 2) and error.two == 2
    assert apply.remote(lambda x: Point(x * 2), 4).x == 8
    point, name = shipped.remote(5)
    assert type(point) is Point and point.x == 5 and name == "move"
    [same] = move.map([Point(7)])
    assert type(same) is Point and same.x == 9
    print("all is well")

if __name__ == "__main__":
    with app.run():
        main()
"""


@pytest.fixture
def place(tmp_path, stub):
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "hello.py").write_text(HELLO)
    (tmp_path / "program" / "helper.py").write_text("STEP = 2\n")
    (tmp_path / "program" / "unrelated.py").write_text("")
    (tmp_path / "containers").mkdir()
    stub.containers = tmp_path / "containers"
    return tmp_path / "program"


def python(*argv, cwd):
    done = subprocess.run([sys.executable, *argv], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_script(place, stub):
    assert "all is well" in python("hello.py", cwd=place)
    assert [f["path"] for f in stub.manifests[-1]] == ["hello.py", "helper.py"]
    assert stub.apps["ap-0"]["name"] == "hello"
    before = dict(stub.files)
    assert "all is well" in python("hello.py", cwd=place)
    assert stub.files == before


LOAD = "from ingle.sdk import source; m = source.entry({!r}, {!r}).load(); ctx = m.app.run(); ctx.__enter__(); m.main(); ctx.__exit__(None, None, None)"


def test_as_ingle_run_loads_it(place, stub):
    assert "all is well" in python("-c", LOAD.format("hello.py", False), cwd=place)
    assert [f["path"] for f in stub.manifests[-1]] == ["hello.py", "helper.py"]


SHOP = """
import ingle
from shop import prices
from .inner.deep import VALUE

app = ingle.App("shop")

@app.function()
def price():
    return prices.PRICE + VALUE, __name__

@app.local_entrypoint()
def main():
    print(price.remote())

if __name__ == "__main__":
    with app.run():
        main()
"""


@pytest.fixture
def shop(place):
    folder = place / "shop"
    (folder / "inner").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / ".git").mkdir()
    for name, text in {
        "__init__.py": "", "main.py": SHOP, "prices.py": "PRICE = 3", "data.bin": "x", "__pycache__/a.pyc": "", ".git/b": "",
        "inner/__init__.py": "", "inner/deep.py": "VALUE = 4",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return place


@pytest.mark.parametrize(
    "argv",
    [("-m", "shop.main"), ("-c", LOAD.format("shop.main", True)), ("-c", LOAD.format("shop/main.py", False))],
)
def test_a_package_travels_whole(shop, stub, argv):
    assert "(7, 'shop.main')" in python(*argv, cwd=shop)
    paths = [f["path"] for f in stub.manifests[-1]]
    assert paths == [
        "shop/__init__.py", "shop/data.bin", "shop/inner/__init__.py", "shop/inner/deep.py", "shop/main.py", "shop/prices.py",
    ]  # fmt: skip


def test_only_changed_files_travel(shop, stub):
    python("-m", "shop.main", cwd=shop)
    known = set(stub.files)
    (shop / "shop" / "prices.py").write_text("PRICE = 10")
    assert "(14, 'shop.main')" in python("-m", "shop.main", cwd=shop)
    assert len(set(stub.files) - known) == 1


def test_hashes_are_cached(shop, stub, tmp_path, monkeypatch):
    for i in range(30):
        (shop / "shop" / f"m{i}.py").write_text(f"X = {i}")
        os.utime(shop / "shop" / f"m{i}.py", (1e9, 1e9))
    python("-m", "shop.main", cwd=shop)
    cache = tmp_path / ".cache" / "ingle" / "hashes.json"
    assert cache.is_file()
    (shop / "shop" / "m3.py").write_text("X = 33")
    python("-m", "shop.main", cwd=shop)
    import hashlib

    by_path = {f["path"]: f for f in stub.manifests[-1]}
    assert by_path["shop/m3.py"]["sha256"] == hashlib.sha256(b"X = 33").hexdigest()
    cache.write_text("{damaged")
    python("-m", "shop.main", cwd=shop)


def test_too_large(shop, stub, monkeypatch):
    monkeypatch.setattr(source, "FILES_MAX", 3)
    monkeypatch.syspath_prepend(str(shop))
    entry = source.entry(str(shop / "shop" / "main.py"))
    assert (entry.module, entry.root) == ("shop.main", str(shop))
    module = entry.load()
    with pytest.raises(InvalidError, match="too large") as caught, module.app.run():
        pass
    assert "include_source=False" in str(caught.value) and "shop" in str(caught.value)


def test_no_source(stub):
    app = ingle.App("x")
    app.function(include_source=False)(python)
    with app.run():
        pass
    assert stub.manifests == [] and stub.apps["ap-0"]["functions"][0]["source"] is None


def test_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidError, match=r"no file nowhere\.py"):
        source.entry("nowhere.py")
    for name in ("nowhere.at.all", "nowhere", ".", "json.nowhere"):
        with pytest.raises(InvalidError, match="no module"):
            source.entry(name, is_module=True)


def test_a_function_of_an_interactive_session(stub, tmp_path):
    code = "import ingle\napp = ingle.App('i')\ndef f(): pass\napp.function()(f)\nwith app.run(): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "serialized=True" in done.stderr and "InvalidError" in done.stderr


def test_a_file_with_an_odd_name(tmp_path, stub):
    (tmp_path / "01-my.file.py").write_text("import ingle\napp = ingle.App()\n")
    entry = source.entry(str(tmp_path / "01-my.file.py"))
    assert entry.module == "01-my_file"
    assert entry.load().__name__ == "01-my_file"
    del sys.modules["01-my_file"]
    sys.path.remove(str(tmp_path))


def test_main_of_this_test_run():
    entry = source.main_entry()
    assert entry is None or Path(entry.path).is_file()
