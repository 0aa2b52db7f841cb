"""An ephemeral app ends with its program, however that ends; a detached one lives on."""

import signal
import sys

import pytest
from e2e.support import Place

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


def test_its_program_stands_still(ingle):
    """A laptop that sleeps or a cut cable: the connection is there and says nothing. Stopped programs answer no ping."""
    program, _app = started(ingle, "silent", "idle", "idle")
    program.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: gone(ingle, "silent"), "the app of a silent program ends", 90)
    finally:
        program.signal(signal.SIGCONT)
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
