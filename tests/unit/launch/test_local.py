"""The platform of a machine with a real server and no node: started, found, stopped, and what goes wrong."""

import os
import signal
import socket
import threading

import pytest

from ingle import exceptions as ex
from ingle.launch import local, processes
from ingle.launch.state import State
from ingle.testing.processes import free_port
from ingle.testing.waiting import wait_until


@pytest.fixture
def up(tmp_path):
    state = tmp_path / "s"
    yield local.Up(state, port=free_port(), node=False)
    local.stop(state)
    assert processes.find(state) == []


def test_up_status_down(up):
    now = local.start_in_background(up)
    assert now.running and now.url == f"http://127.0.0.1:{up.port}" and now.node_pid is None
    assert local.start_in_background(up) == now  # it runs already: fine
    assert local.stop(up.state) is True
    assert local.status(up.state) == local.Status(up.state, None, None, None, None, None)
    assert not State(up.state).server_json.exists()
    assert local.stop(up.state) is False


def test_two_who_start_at_once_get_one_platform(up):
    found = []
    threads = [threading.Thread(target=lambda: found.append(local.start_in_background(up))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2 and found[0].supervisor_pid == found[1].supervisor_pid


def test_in_the_foreground_a_second_one_is_refused(up):
    local.start_in_background(up)
    with pytest.raises(local.AlreadyRunning):
        local.run_in_foreground(up)


def test_a_port_that_is_taken_is_said(up):
    said = rf"port {up.port} on 127.0.0.1 is taken by .*process {os.getpid()}"
    with socket.create_server(("127.0.0.1", up.port)), pytest.raises(ex.SetupError, match=said):
        local.start_in_background(up)
    assert processes.find(up.state) == []


def test_after_kill_9_of_everything_it_starts_again(up):
    before = local.start_in_background(up)
    os.kill(before.supervisor_pid, signal.SIGSTOP)  # it must not start the server again
    os.kill(before.server_pid, signal.SIGKILL)
    os.kill(before.supervisor_pid, signal.SIGKILL)
    processes.wait_gone(before.supervisor_pid, 10)
    after = local.start_in_background(up)
    assert after.running and after.server_pid != before.server_pid


def test_after_kill_9_of_the_supervisor_the_server_ends_and_its_port_is_free(up):
    before = local.start_in_background(up)
    os.kill(before.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: processes.find(up.state) == [], "the server has ended")
    assert local.start_in_background(up).running


def test_a_stray_server_that_hangs_is_ended_at_the_next_start(up, monkeypatch):
    monkeypatch.setattr(processes, "TERM_S", 0.3)
    before = local.start_in_background(up)
    os.kill(before.server_pid, signal.SIGSTOP)
    os.kill(before.supervisor_pid, signal.SIGKILL)
    processes.wait_gone(before.supervisor_pid, 10)
    after = local.start_in_background(up)
    assert after.running and after.server_pid != before.server_pid


def test_a_killed_server_comes_back_at_the_same_address(up):
    before = local.start_in_background(local.Up(up.state, port=0, node=False))
    os.kill(before.server_pid, signal.SIGKILL)
    after = wait_until(
        lambda: (now := local.status(up.state)).running and now.server_pid != before.server_pid and now, "it is back"
    )
    said = wait_until(lambda: (State(up.state).read_server() or {}).get("pid") == after.server_pid, "it answers")
    assert said and after.url == before.url


def test_a_state_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ex.SetupError, match="INGLE_STATE_DIR"):
        local.start_in_background(local.Up(tmp_path / "file" / "s", node=False))


def test_without_root_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ex.SetupError, match=r"sudo .*ingle up --detach"):
        local.start_in_background(local.Up(tmp_path))


def test_a_damaged_database_is_said(up):
    folder = up.state / "server"
    folder.mkdir(parents=True)
    (folder / "ingle.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(ex.SetupError, match=r"ingle\.db"):
        local.start_in_background(up)
