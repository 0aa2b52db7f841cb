"""Values to bytes and back: by name where a container can import, by value where it cannot."""

import pickle
import subprocess
import sys
import threading

import pytest

from ingle.exceptions import ExecutionError, InvalidError
from ingle.sdk import serialization
from ingle.sdk.serialization import dumps, loads


class Here:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x


def back(value):
    pieces, size = dumps(value)
    data = b"".join(pieces)
    assert len(data) == size
    return loads(data)


@pytest.mark.parametrize(
    "value",
    [None, 1, "ü", b"x" * 200_000, bytearray(300_000), [1, {2: (3,)}], {1, 2}, Here(3), Here, len, ValueError("x")],
)
def test_round_trip(value):
    again = back(value)
    assert type(again) is type(value) and (again == value or isinstance(value, Exception))


def test_large_bytes_are_not_copied():
    data = bytes(1 << 20)
    pieces, _ = dumps(((data,), {}))
    assert any(piece is data for piece in pieces)
    changing = bytearray(1 << 20)
    pieces, _ = dumps(changing)
    changing[0] = 1
    assert pickle.loads(b"".join(pieces))[0] == 0


def test_what_no_import_finds():
    offset = 3
    assert back(lambda x: x + offset)(4) == 7

    class Local:
        value = 5

    again = back([Local()])
    assert again[0].value == 5 and type(again[0]) is Local
    assert back({"f": lambda: 1})["f"]() == 1


def test_what_cannot_be_pickled():
    with pytest.raises(InvalidError, match=r"(?i)pickle"):
        dumps(threading.Lock())
    with pytest.raises(ExecutionError, match="unpickled here"):
        loads(b"cnowhere\nX\n.")


def test_cloudpickle_is_not_loaded_for_plain_values():
    code = "import sys\nfrom ingle.sdk.serialization import dumps\ndumps(((1, 'a', [b'x', {}]), {}))\nassert 'cloudpickle' not in sys.modules and 'pickle' not in sys.modules"
    subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], check=True)


def test_the_programs_own_names(monkeypatch):
    """What is `__main__` here has another name in containers."""
    import types

    main = types.ModuleType("__main__")
    exec("class Point:\n    class Inner: pass\ndef function(): return 7", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(serialization, "_main_name", None)
    assert b"hello" not in b"".join(dumps(main.Point())[0])
    serialization.name_main("hello_there")
    try:
        for value in (main.Point, main.Point.Inner, main.function):
            data = b"".join(dumps(value)[0])
            assert b"hello_there" in data and b"__main__" not in data
            assert loads(data) is value
        mixed = [main.Point(), lambda: main.Point]
        data = b"".join(dumps(mixed)[0])
        assert b"hello_there" in data and type(loads(data)[0]) is main.Point
    finally:
        del sys.modules["hello_there"]


def test_modules_registered_by_value():
    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        assert back(Here(2)).x == 2
        assert b"__reduce__" not in b"".join(dumps(Here)[0]) and len(b"".join(dumps(Here)[0])) > 200
    finally:
        cloudpickle.unregister_pickle_by_value(module)
