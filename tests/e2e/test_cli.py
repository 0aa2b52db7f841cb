"""The command as a user meets it: arguments, output, exit codes."""

import json
import re
import signal

import pytest

SHOWN = [
    (["--name", "ada"], "('ada', 1, 0.5, False, None, 'small', '')"),
    (["--name", "ada", "--times", "3", "--ratio", "2", "--loud"], "('ada', 3, 2.0, True, None, 'small', '')"),
    (["--name", "a b", "--no-loud", "--kind", "large", "--two-words", "x"], "('a b', 1, 0.5, False, None, 'large', 'x')"),
    (["--name", "x", "--when", "2024-02-03T04:05:06"], "datetime.datetime(2024, 2, 3, 4, 5, 6)"),
]
WRONG = [
    ([], "--name"),
    (["--name", "x", "--times", "three"], "--times"),
    (["--name", "x", "--kind", "huge"], "--kind"),
    (["--name", "x", "--when", "yesterday"], "--when"),
    (["--name", "x", "--unknown"], "--unknown"),
]


@pytest.mark.parametrize(("argv", "shown"), SHOWN)
def test_options_come_from_the_signature(ingle, argv, shown):
    assert shown in ingle.run("run", "command.py::show", *argv).ok().stdout


@pytest.mark.parametrize(("argv", "named"), WRONG)
def test_wrong_arguments_are_usage_errors_that_name_the_parameter(ingle, argv, named):
    done = ingle.run("run", "command.py::show", *argv)
    assert done.code == 2 and named in done.stderr, done.all


def test_a_function_runs_from_the_command_line(ingle):
    assert ingle.run("run", "command.py::add", "--left", "4").ok().stdout.strip().endswith("14")
    assert "19" in ingle.run("run", "command.py::add", "--left", "4", "--right", "15").ok().stdout
    done = ingle.run("run", "command.py::add", "--left", "four")
    assert done.code == 2 and "--left" in done.stderr, done.all


def test_help_shows_the_parameters(ingle):
    done = ingle.run("run", "command.py::show", "--help")
    assert done.code == 0 and "--two-words" in done.stdout and "--no-loud" in done.stdout, done.all


def test_what_there_is_to_run_is_listed_when_it_is_not_clear(ingle):
    done = ingle.run("run", "command.py")
    assert done.code == 2 and "show" in done.stderr and "hears" in done.stderr, done.all
    done = ingle.run("run", "command.py::nothing_like_it")
    assert done.code == 2 and "nothing_like_it" in done.stderr, done.all


def test_a_file_that_is_not_there_or_is_no_app(ingle, tmp_path):
    done = ingle.run("run", "no_such_file.py")
    assert done.code == 2 and "no_such_file.py" in done.stderr, done.all
    (tmp_path / "plain.py").write_text("x = 1\n")
    done = ingle.run("run", str(tmp_path / "plain.py"))
    assert done.code in (1, 2) and "App" in done.stderr, done.all
    (tmp_path / "struct.py").write_text("import ingle\napp = ingle.App()\n")
    done = ingle.run("run", str(tmp_path / "struct.py"), cwd=tmp_path)
    assert done.code == 2 and "rename" in done.stderr, done.all
    (tmp_path / "struct.py").unlink()
    (tmp_path / "syntax.py").write_text("def broken(:\n")
    done = ingle.run("run", str(tmp_path / "syntax.py"))
    assert done.code == 1 and "SyntaxError" in done.stderr and "syntax.py" in done.stderr, done.all


def test_the_result_is_written_to_a_file(ingle, tmp_path):
    ingle.run("run", "-w", str(tmp_path / "sum"), "command.py::add", "--left", "1").ok()
    assert (tmp_path / "sum").read_text().strip() == "11"
    ingle.run("run", "--write-result", str(tmp_path / "raw"), "command.py::raw").ok()
    assert (tmp_path / "raw").read_bytes() == b"\x00bytes"
    ingle.run("run", "-w", str(tmp_path / "list"), "command.py::some", "--count", "2").ok()
    assert json.loads((tmp_path / "list").read_text()) == [0, 1], "of a generator: what it yielded"


def test_quiet_leaves_only_the_programs_own_output(ingle):
    done = ingle.run("run", "-q", "command.py::hears").ok()
    assert "local line" in done.stdout.splitlines(), done.all
    assert not [line for line in done.stderr.splitlines() if not line.strip().startswith("hey")], done.all


def test_stdout_goes_to_stdout_and_stderr_to_stderr(ingle):
    done = ingle.run("run", "command.py::hears").ok()
    assert "hey out" in done.stdout and "hey err" not in done.stdout, done.all
    assert "hey err" in done.stderr and "hey out" not in done.stderr, done.all


def test_timestamps(ingle):
    done = ingle.run("run", "--timestamps", "command.py::hears").ok()
    assert re.search(r"\d\d:\d\d:\d\d\S* .*hey out", done.stdout), done.all


def test_errors_show_the_users_frames_only(ingle):
    done = ingle.run("run", "command.py::remote_error")
    assert done.code == 1, done.all
    assert "LookupError: from the far side" in done.stderr and "in inner" in done.stderr, done.all
    assert "fails.remote()" in done.stderr, done.all
    assert "src/ingle/" not in done.stderr and "ingle/runner" not in done.stderr, done.all
    done = ingle.run("run", "command.py::local_error")
    assert done.code == 1 and "KeyError: 'from here'" in done.stderr and "src/ingle/" not in done.stderr, done.all


def test_exit_codes_of_the_program_itself(ingle):
    assert ingle.run("run", "command.py::leaves", "--code", "0").code == 0
    assert ingle.run("run", "command.py::leaves", "--code", "7").code == 7
    assert ingle.run("nonsense").code == 2


def test_ctrl_c_ends_with_130_and_the_app_ends(ingle):
    program = ingle.program("run", "--name", "to-interrupt", "command.py::waits")
    program.see("waiting")
    program.signal(signal.SIGINT)
    assert program.wait(15) == 130, program.all()
    assert "Traceback" not in "\n".join(program.stderr), program.all()
    assert "to-interrupt" not in [app["name"] for app in ingle.apps()]


def test_apps_are_listed_read_and_stopped_by_name_or_id(ingle):
    program = ingle.program("run", "-d", "--name", "by-name", "lives.py::leave", "--seconds", "60")
    assert program.wait(60) == 0, program.all()
    app = next(a for a in ingle.apps() if a["name"] == "by-name")
    assert app["state"] == "running" and app["detached"] is True
    assert "by-name" in ingle.run("app", "list").ok().stdout
    follow = ingle.program("app", "logs", app["id"], "--follow") if _has_follow(ingle) else None
    if follow:
        follow.see("working")
        follow.kill()
    container = next(c for c in ingle.listed() if c["app_id"] == app["id"])
    assert "working" in ingle.run("container", "logs", container["id"]).ok().stdout
    done = ingle.run("container", "exec", container["id"], "--", "python3", "-c", "import os; print(os.getcwd(), flush=True); os._exit(4)")
    assert done.code == 4 and done.stdout.strip() == "/root", done.all
    done = ingle.run("container", "exec", container["id"], "sh", "-c", "echo to err >&2; cat /proc/1/comm")
    assert done.code == 0 and "to err" in done.stderr and "to err" not in done.stdout, done.all
    done = ingle.run("container", "exec", container["id"], "no-such-program")
    assert done.code != 0 and f"'no-such-program' in {container['id']}" in done.stderr, done.all
    assert container["function_name"] in ingle.run("container", "list").ok().stdout
    ingle.run("app", "stop", "by-name").ok()
    assert "by-name" not in [a["name"] for a in ingle.apps()]
    assert "working" in ingle.run("app", "logs", app["id"]).ok().stdout, "logs outlive their app"


def _has_follow(ingle) -> bool:
    return "--follow" in ingle.run("app", "logs", "--help").ok().stdout


def test_a_container_is_stopped_and_its_input_runs_again(ingle):
    program = ingle.program("run", "--name", "stopped-once", "lives.py::long", "--seconds", "3")
    program.see("working")
    app = next(a for a in ingle.apps() if a["name"] == "stopped-once")
    container = next(c for c in ingle.listed() if c["app_id"] == app["id"])
    ingle.run("container", "stop", container["id"]).ok()
    assert program.wait(60) == 0, program.all()
    assert program.all().count("working") == 2, program.all()


@pytest.mark.parametrize(
    "argv",
    [
        ("app", "logs", "no-such-app"),
        ("app", "stop", "no-such-app"),
        ("container", "logs", "co-0000000000000000"),
        ("container", "stop", "co-0000000000000000"),
        ("container", "exec", "co-0000000000000000", "true"),
    ],
)
def test_what_is_not_there_is_said(ingle, argv):
    done = ingle.run(*argv)
    assert done.code == 1 and argv[2] in done.stderr and "Traceback" not in done.stderr, done.all


def test_status_and_doctor(ingle):
    said = ingle.status()
    assert said["local"]["server_pid"] and said["local"]["node_pid"] and said["server"]["nodes"], said
    assert str(said["local"]["url"]) in ingle.run("status").ok().stdout
    done = ingle.run("doctor", "--json")
    checks = json.loads(done.stdout)
    assert isinstance(checks, list | dict) and checks, done.all
    assert "cgroup" in done.stdout and "overlay" in done.stdout, done.all
    assert ingle.run("doctor").code == done.code


def test_phases_of_a_start_are_shown(ingle):
    ingle.run("run", "-d", "--name", "phases", "lives.py::leave", "--seconds", "30").ok()
    app = next(a for a in ingle.apps() if a["name"] == "phases")
    container = next(c for c in ingle.listed() if c["app_id"] == app["id"])
    assert container["phases_ms"] and all(ms >= 0 for ms in container["phases_ms"].values()), container
    assert "import" in ingle.run("container", "list", "--phases").ok().stdout
    ingle.run("app", "stop", app["id"]).ok()
