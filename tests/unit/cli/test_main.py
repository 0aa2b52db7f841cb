import subprocess
import sys

import pytest

from ingle.cli import main


def ingle(*argv, **env):
    done = subprocess.run(
        [sys.executable, "-m", "ingle", *argv],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env},
        timeout=60,
    )
    return done


@pytest.mark.parametrize("name", main.COMMANDS)
def test_each_command_explains_itself(name):
    done = ingle(name, "--help")
    assert done.returncode == 0 and "Usage: ingle" in done.stdout


def test_wrong_usage_is_2():
    assert ingle("nonsense").returncode == 2
    done = ingle("run", "/nowhere/file.py")
    assert done.returncode == 2 and "there is no file" in done.stderr
    done = ingle("up", "--port", "many")
    assert done.returncode == 2 and "--port" in done.stderr


def test_no_server_is_a_sentence(tmp_path):
    done = ingle("app", "list", INGLE_STATE_DIR=str(tmp_path))
    assert done.returncode == 1 and done.stderr.startswith("Error: no server runs on this machine")
    assert "ingle up --detach" in done.stderr and "Traceback" not in done.stderr


def test_nothing_is_there_to_stop(tmp_path):
    done = ingle("down", INGLE_STATE_DIR=str(tmp_path / "s"))
    assert done.returncode == 0 and "Nothing was running" in done.stdout


def test_the_version():
    import ingle as package

    assert ingle("--version").stdout == f"ingle {package.__version__}\n"


def test_the_users_own_error_has_their_traceback_alone(tmp_path):
    (tmp_path / "broken.py").write_text("import ingle\n\n\ndef f():\n    1 / 0\n\n\nf()\n")
    done = ingle("run", str(tmp_path / "broken.py"))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr and "broken.py" in done.stderr
    assert "ingle/cli" not in done.stderr and "importlib" not in done.stderr and "click" not in done.stderr
    (tmp_path / "syntax.py").write_text("def f(:\n")
    done = ingle("run", str(tmp_path / "syntax.py"))
    assert done.returncode == 1 and "SyntaxError" in done.stderr and "importlib" not in done.stderr


def test_options_are_checked_before_anything_starts(tmp_path):
    text = "import ingle\napp = ingle.App('a')\n@app.local_entrypoint()\ndef main(count: int):\n    '''Counts.'''\n"
    (tmp_path / "counting.py").write_text(text)
    done = ingle("run", str(tmp_path / "counting.py"), "--count", "many", INGLE_STATE_DIR=str(tmp_path / "s"))
    assert done.returncode == 2 and "--count" in done.stderr
    assert not (tmp_path / "s").exists()
    done = ingle("run", str(tmp_path / "counting.py"), "--help")
    assert done.returncode == 0 and "Counts." in done.stdout and "--count INTEGER" in done.stdout
