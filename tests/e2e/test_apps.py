"""An ephemeral app ends with its program, however that ends; a detached one lives on."""

import os
import signal
import subprocess
import sys

import pytest
from e2e.support import INGLE, Place

from ingle.testing import wait_until


def gone(place: Place, name: str) -> bool:
    ids = {app["id"] for app in place.apps() if app["name"] == name}
    return not ids


def no_containers_of(place: Place, app_id: str) -> bool:
    return all(container["app_id"] != app_id for container in place.listed())


def started(place: Place, name: str, entry: str, sees: str, *options: str):
    program = place.program("run", *options, "--name", name, f"lives.py::{entry}")
    program.see(sees)
    app = next(app for app in place.apps() if app["name"] == name)
    return program, app["id"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_its_program_is_ended_from_outside(ingle, end):
    name = f"ended-by-{end.name.lower()}"
    program, app = started(ingle, name, "long", "working")
    program.signal(end)
    program.wait(20)
    wait_until(lambda: gone(ingle, name), f"the app of a program that got {end.name} ends", 30)
    wait_until(lambda: no_containers_of(ingle, app), "its containers end", 30)


def test_its_program_crashes(ingle):
    program, app = started(ingle, "crashes", "crash", "spawned")
    assert program.wait(30) == 5
    wait_until(lambda: gone(ingle, "crashes"), "the app of a crashed program ends", 30)
    wait_until(lambda: no_containers_of(ingle, app), "its containers end", 30)


@pytest.fixture
def far(lone):
    """A laptop: a network namespace with a cable to this machine. Yields its name, the cable's name and this end's address."""
    mark = f"e2e{os.getpid() % 100000}"
    address = f"10.213.{os.getpid() % 250}"
    ip = ["ip", "-batch", "-"]
    lines = (
        f"netns add {mark}\nlink add {mark} type veth peer name eth0 netns {mark}\n"
        f"addr add {address}.1/24 dev {mark}\nlink set {mark} up\n"
    )
    inside = f"addr add {address}.2/24 dev eth0\nlink set eth0 up\nlink set lo up\n"
    subprocess.run(ip, input=lines, text=True, check=True)
    subprocess.run(["ip", "-n", mark, "-batch", "-"], input=inside, text=True, check=True)
    yield mark, f"{address}.1"
    subprocess.run(["ip", "link", "delete", mark], check=False)
    subprocess.run(["ip", "netns", "delete", mark], check=False)


def test_its_programs_connection_is_cut(lone, far):
    """A laptop goes to sleep, a cable is cut: nothing is said any more, by anybody."""
    mark, address = far
    lone.run("up", "--detach", "--host", "0.0.0.0").ok()
    env = {"INGLE_SERVER_URL": f"http://{address}:{lone.port}", "INGLE_TOKEN": lone.token}
    program = lone.program("/usr/sbin/ip", "netns", "exec", mark, INGLE, "run", "--name", "cut-off", "lives.py::long", env=env)
    program.see("working")
    subprocess.run(["ip", "link", "set", mark, "down"], check=True)
    wait_until(lambda: gone(lone, "cut-off"), "the app of a program that was cut off ends", 100)
    wait_until(lambda: not lone.listed(), "its containers end", 30)
    program.kill()


def test_detached_it_lives_on_and_its_result_is_kept(ingle):
    program = ingle.program("run", "-d", "--name", "lives-on", "lives.py::leave", "--seconds", "3")
    call = program.see(r"^call fc-").split()[-1]
    assert program.wait(30) == 0, program.all()
    assert not gone(ingle, "lives-on")
    done = ingle.run("run", "lives.py::fetch", "--call", call).ok()
    assert "result worked" in done.stdout, done.all
    ingle.run("app", "stop", "lives-on").ok()
    assert gone(ingle, "lives-on")


def test_calls_of_a_stopped_app_end(ingle):
    program, app = started(ingle, "stopped-under", "long", "working")
    ingle.run("app", "stop", app).ok()
    assert program.wait(30) == 1, program.all()
    assert "CallCancelledError" in program.all() or "stopped" in program.all(), program.all()


def test_a_script_runs_its_own_app(ingle):
    done = ingle.python("lives.py").ok()
    assert "script worked" in done.stdout, done.all
    assert gone(ingle, "lives")


def test_async_with(ingle, tmp_path):
    (tmp_path / "near.py").write_text(
        "import asyncio, ingle\n"
        "app = ingle.App('near')\n"
        "@app.function()\n"
        "async def twice(x):\n    await asyncio.sleep(0.01)\n    return 2 * x\n"
        "async def main():\n"
        "    async with app.run():\n        print('twice', await twice.remote.aio(4))\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    done = ingle.run(sys.executable, "near.py", cwd=tmp_path).ok()
    assert "twice 8" in done.stdout, done.all
