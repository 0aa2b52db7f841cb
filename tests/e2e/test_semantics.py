"""Every promise of the SDK against real containers: one `ingle run FILE::check` each, as a user would type it."""

import ast
import json
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from e2e.support import PROGRAMS

#: Programs whose checks need something of the test are called by name further down.
GIVEN = {
    "walls::the_surroundings_are_its_own",
    "walls::the_host_is_out_of_reach",
    "walls::the_world_is_in_reach_and_trusted",
}
FILES = ("errors", "timeouts", "maps", "generators", "cancels", "living", "sizes", "misuse", "walls")


def checks():
    """Every local entrypoint of these programs."""
    for name in FILES:
        for node in ast.parse((PROGRAMS / f"{name}.py").read_text()).body:
            entry = isinstance(node, ast.FunctionDef) and any("local_entrypoint" in ast.unparse(d) for d in node.decorator_list)
            if entry and f"{name}::{node.name}" not in GIVEN:
                yield pytest.param(f"{name}.py::{node.name}", id=f"{name}-{node.name}")


@pytest.mark.parametrize("check", list(checks()))
def test_promise(ingle, check):
    done = ingle.run("run", check, bound_s=110)
    assert done.code == 0, done.all


def test_the_surroundings_of_a_container_are_its_own(ingle):
    ingle.run("run", "walls.py::the_surroundings_are_its_own", "--token", ingle.token).ok()


@pytest.fixture
def listening():
    """Ports that answer on every address of this machine, for as long as the test runs."""
    server = socket.create_server(("0.0.0.0", 0))
    server.settimeout(0.2)
    stop = threading.Event()

    def accept():
        while not stop.is_set():
            try:
                server.accept()[0].close()
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    yield server.getsockname()[1]
    stop.set()
    thread.join()
    server.close()


def test_the_host_is_out_of_reach(ingle, listening):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # says only which address this machine would use
        own = probe.getsockname()[0]
    targets = [(own, listening), ("127.0.0.1", ingle.port), (own, ingle.port)]
    for target in targets[:1]:
        socket.create_connection(target, 5).close()
    ingle.run("run", "walls.py::the_host_is_out_of_reach", "--targets", json.dumps(targets)).ok()


def package_index() -> str:
    """The package index that pip uses here, or "" if none answers."""
    code = "from pip._internal.commands import create_command as c; print(c('download').parser.parse_args([])[0].index_url)"
    url = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    if not url.startswith("https://") or not shutil.which("curl"):
        return ""
    answers = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-m", "20", url + "/pip/"], capture_output=True, check=False)
    return url + "/pip/" if answers.returncode == 0 else ""


def test_the_world_is_in_reach_and_containers_trust_what_the_node_trusts(ingle):
    url = package_index()
    if not url:
        pytest.skip("no package index answers over https here")
    ingle.run("run", "walls.py::the_world_is_in_reach_and_trusted", "--url", url).ok()
