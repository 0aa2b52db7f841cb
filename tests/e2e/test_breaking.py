"""When things break: a clear error where the user can see it, and nothing lost."""

import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import urllib.error
import urllib.request

import pytest
from e2e.support import BIN, INGLE, PROGRAMS, Place, read_available

from ingle.testing import wait_until
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION


def clear(done, *words: str) -> None:
    """The command failed with a sentence of ours that says these words, and no traceback."""
    assert done.code not in (0, 130), done.all
    for word in words:
        assert word in done.stderr, f"{word!r} is not said:\n{done.all}"
    assert "Traceback" not in done.stderr, done.all


# ---- the platform cannot start


def test_the_port_is_taken(lone):
    with socket.create_server(("127.0.0.1", lone.port)):
        clear(lone.run("up", "--detach"), str(lone.port))
        clear(lone.run("run", "command.py::add", "--left", "1"), str(lone.port))
    lone.start()
    assert "11" in lone.run("run", "command.py::add", "--left", "1").ok().stdout


def test_started_twice_one_runs(lone):
    lone.start()
    first = lone.said()
    done = lone.run("up", "--detach")
    assert done.code == 0 and lone.said() == first, done.all
    clear(lone.run("up"), "already runs")


def test_a_runtime_binary_is_missing(lone):
    """Both are hidden, in a mount namespace of the command's own."""
    found = [path for name in ("crun", "runc") if (path := shutil.which(name))]
    hide = "; ".join(f"mount --bind /dev/null {os.path.realpath(path)}" for path in found)
    inside = ("/usr/bin/unshare", "--mount", "sh", "-c", f'{hide}; exec "$0" "$@"', INGLE)
    clear(lone.run(*inside, "up", "--detach"), "ingle setup")
    done = lone.run(*inside, "doctor")
    assert done.code == 1 and "ingle setup" in done.stdout + done.stderr, done.all


@pytest.mark.parametrize("damage", ["not a database", "a torn page"])
def test_the_database_is_damaged(lone, damage):
    lone.start()
    lone.run("run", "command.py::add", "--left", "1").ok()
    lone.stop()
    path = lone.state / "server" / "ingle.db"
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    if damage == "not a database":
        path.write_bytes(b"this was a database once " * 400)
    else:
        data = bytearray(path.read_bytes())
        data[100 : len(data) // 2] = os.urandom(len(data) // 2 - 100)
        path.write_bytes(bytes(data))
    done = lone.run("up", "--detach")
    clear(done, "ingle.db")
    assert path.exists() and path.stat().st_size, "the damaged file is evidence: it is not removed"


def test_no_root(lone, tmp_path):
    """Somebody else: a clear message says what to do."""
    if not _others_may_run():
        pytest.skip("other users cannot reach this environment's interpreter")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    os.chmod(tmp_path, 0o755)
    done = lone.run(
        "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(BIN / "ingle"), "up", "--detach",
        env={"INGLE_STATE_DIR": str(home / "state"), "HOME": str(home)}, cwd="/",
    )  # fmt: skip
    clear(done, "root", "sudo")


def _others_may_run() -> bool:
    argv = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(BIN / "ingle"), "--version"]
    return os.path.exists(argv[0]) and subprocess.run(argv, capture_output=True, cwd="/", check=False).returncode == 0


# ---- strangers at the door


def http(place: Place, path: str, token: str | None, version: int | None = WIRE_VERSION, data: bytes | None = None):
    headers = {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if version is not None:
        headers[VERSION_HEADER] = str(version)
    request = urllib.request.Request(place.said()["url"] + path, headers=headers, data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_wrong_token_and_a_wrong_version(ingle):
    clear(ingle.run("run", "command.py::add", "--left", "1", env={"INGLE_SERVER_URL": ingle.said()["url"], "INGLE_TOKEN": "wrong"}), "token")
    clear(ingle.run("app", "list", env={"INGLE_SERVER_URL": ingle.said()["url"], "INGLE_TOKEN": "wrong"}), "token")
    for path in ("/v1/status", "/v1/apps", "/v1/containers", "/v1/blobs/bl-1", "/v1/session", "/v1/node"):
        for token in (None, "", "wrong", "ü".encode().decode("latin-1")):
            status, body = http(ingle, path, token)
            assert status == 401 and json.loads(body)["code"] == "auth", (path, token, status, body)
    for version in (None, WIRE_VERSION + 1, 0):
        status, body = http(ingle, "/v1/status", ingle.token, version)
        assert status == 426 and json.loads(body)["code"] == "version", (version, status, body)
    assert http(ingle, "/v1/status", ingle.token)[0] == 200


def test_the_token_is_its_owners(ingle):
    for name in ("token", "node_token"):
        assert (ingle.state / name).stat().st_mode & 0o777 == 0o600, name
    # A container's root may leave a setuid program there, which another user of the machine would start as root.
    for name in ("node", "server"):
        assert (ingle.state / name).stat().st_mode & 0o777 == 0o700, name
    assert ingle.token != (ingle.state / "node_token").read_text().strip()
    assert http(ingle, "/v1/node", ingle.token)[0] == 401, "the client's token does not open the node's door"


def test_no_server_there(ingle):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        clear(ingle.run("run", "command.py::add", "--left", "1", env={"INGLE_SERVER_URL": url, "INGLE_TOKEN": "x"}), url)
    clear(ingle.run("app", "list", env={"INGLE_SERVER_URL": "no url at all", "INGLE_TOKEN": "x"}), "no url at all")


def upgrade(place: Place, path: str, token: str) -> socket.socket:
    url = place.said()["url"]
    host, port = url.removeprefix("http://").split(":")
    link = socket.create_connection((host, int(port)), 10)
    key = base64.b64encode(os.urandom(16)).decode()
    link.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n"
        f"{VERSION_HEADER}: {WIRE_VERSION}\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        data = link.recv(4096)
        assert data, head
        head += data
    assert head.startswith(b"HTTP/1.1 101"), head
    return link


def message(payload: bytes, opcode: int = 2, claimed: int | None = None) -> bytes:
    """A masked WebSocket frame; `claimed`: a length that is not its own."""
    length = len(payload) if claimed is None else claimed
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload


def header(text: bytes, claimed: int | None = None) -> bytes:
    return struct.pack("<I", len(text) if claimed is None else claimed) + text


MALFORMED = {
    "empty": message(b""),
    "cut off": message(b"\x05\x00"),
    "claims more than it has": message(header(b"[]", 1 << 30)),
    "not JSON": message(header(b"\xff\xfe\x00nonsense")),
    "JSON but no message": message(header(b'{"a": 1}')),
    "unknown message": message(header(b'["Explode", {}]')),
    "a field of the wrong type": message(header(b'["Hello", {"session": 5, "version": "x"}]')),
    "before hello": message(header(b'["CancelCall", {"call": "fc-x"}]')),
    "text": message(b"hello", opcode=1),
    "reserved opcode": message(b"x", opcode=11),
    "too long by its own word": message(b"", claimed=1 << 40),
    "never ends": message(b"x" * 1000, claimed=1 << 20),
    "deeply nested": message(header(b"[" * 100_000)),
    "sizes that do not add up": message(header(
        b'["PutInputs", {"call": "fc-1", "function": "fu-1", "kind": "remote", "first": 0, "sizes": [5]}]')),
}  # fmt: skip


@pytest.mark.parametrize("door", ["session", "node"])
def test_malformed_frames_hurt_nobody_else(ingle, door):
    pid = ingle.pid("server")
    token = ingle.token if door == "session" else (ingle.state / "node_token").read_text().strip()
    open_links = []
    for name, data in MALFORMED.items():
        link = upgrade(ingle, f"/v1/{door}", token)
        try:
            link.sendall(data)
        except OSError:
            pass
        open_links.append((name, link))
    for name, link in open_links:
        if name == "never ends":
            continue  # nothing is wrong with it yet
        answer = read_available(link.fileno(), 10.0)
        assert answer, f"{name}: neither an answer nor an end"
    assert ingle.pid("server") == pid, "the server did not live through it"
    assert "11" in ingle.run("run", "command.py::add", "--left", "1").ok().stdout, "with bad links still open"
    for _, link in open_links:
        link.close()


def test_malformed_requests(ingle):
    token = ingle.token
    for path, data in (
        ("/v1/apps", b"{"), ("/v1/apps", b"[]"), ("/v1/apps", b'{"name": 5}'), ("/v1/sources", b'{"files": [{"path": "../x"}]}'),
        ("/v1/sources", b'{"files": [{"path": "../x", "sha256": "00", "size": 1}]}'),
        ("/v1/sources", b'{"files": [{"path": "/etc/x", "sha256": "00", "size": 1}]}'),
        ("/v1/apps/nothing/stop", b"{}"), ("/v1/containers/%2e%2e/stop", b"{}"),
    ):  # fmt: skip
        status, body = http(ingle, path, token, data=data)
        assert status in (400, 404), (path, data, status, body)
        assert json.loads(body)["code"] in ("invalid", "not_found"), body
    assert http(ingle, "/v1/nowhere", token)[0] == 404


HOSTILE = '''
"""Says nonsense on its own socket, then works on."""
import os, socket, struct
import ingle

app = ingle.App("hostile")

@app.function(max_containers=1)
def hostile():
    path = "/run/ingle/node.sock"
    for data in (b"", b"\\xff" * 100, struct.pack("<I", 1 << 31), struct.pack("<I", 40) + b"x" * 40,
                 struct.pack("<HI", 1, 1 << 31), struct.pack("<H", 65535), b"\\0" * 200_000):
        link = socket.socket(socket.AF_UNIX)
        link.connect(path)
        link.settimeout(1)
        try:
            link.sendall(data)
            link.recv(100)
        except OSError:
            pass
    kept = []
    for _ in range(300):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(0.5)
        try:
            link.connect(path)
        except OSError:
            break
        kept.append(link)
    return "alive"

@app.function()
def other():
    return "well"

@app.local_entrypoint()
def main():
    call = hostile.spawn()
    assert other.remote() == "well"
    print(call.get(timeout=60), other.remote(), hostile.remote())
'''


def test_a_hostile_container_hurts_nobody_else(ingle, tmp_path):
    (tmp_path / "hostile.py").write_text(HOSTILE)
    node = ingle.pid("node")
    done = ingle.run("run", "hostile.py", cwd=tmp_path).ok()
    assert "alive well alive" in done.stdout, done.all
    assert ingle.pid("node") == node


# ---- the disk


def test_the_disk_is_full(lone, tmp_path):
    """State on a small file system: what does not fit is refused by name, and what fits later works again."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(small)], check=True)
    place = Place(small / "state")
    try:
        place.start()
        assert "11" in place.run("run", "command.py::add", "--left", "1").ok().stdout
        filler = small / "filler"
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(b"x" * (1 << 16))
                    file.flush()
            except OSError:
                pass
        done = place.run("run", "sizes.py::sixty_four_mebibytes_both_ways", bound_s=100)
        assert done.code == 1, done.all
        assert "space" in done.stderr.lower() or "disk" in done.stderr.lower(), done.all
        filler.unlink()
        wait_until(
            lambda: place.run("run", "command.py::add", "--left", "1", bound_s=60).code == 0,
            "it works again when there is room", 60,
        )  # fmt: skip
    finally:
        place.close()
        subprocess.run(["umount", str(small)], check=False)


# ---- what dies is made again


def test_the_server_is_killed_and_containers_run_on(lone):
    lone.start()
    program = lone.program("run", "lives.py::long", "--seconds", "4")
    program.see("working")
    container = lone.listed()[0]["id"]
    server, node = lone.pid("server"), lone.pid("node")
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: lone.pid("server") not in (None, server), "the supervisor starts another server", 30)
    assert lone.pid("node") == node
    wait_until(lambda: container in [c["id"] for c in lone.listed()], "the new server finds the container", 20)
    assert program.wait(60) == 0, program.all()
    assert program.all().count("working") == 1, "the input ran twice although its container lived on"


def test_the_node_is_killed_and_its_inputs_run_again(lone):
    lone.start()
    program = lone.program("run", "lives.py::long", "--seconds", "3")
    program.see("working")
    node = lone.pid("node")
    os.kill(node, signal.SIGKILL)
    assert program.wait(90) == 0, program.all()
    assert program.all().count("working") == 2, program.all()


def test_everything_is_killed_then_up_again(lone):
    """Leftovers are cleared; spawned calls of detached apps, accepted before, run."""
    lone.start()
    program = lone.program("run", "-d", "--name", "survivor", "lives.py::leave", "--seconds", "4")
    call = program.see(r"^call fc-").split()[-1]
    assert program.wait(60) == 0, program.all()
    ephemeral = lone.program("run", "--name", "mortal", "lives.py::long")
    ephemeral.see("working")
    ephemeral.kill()
    lone.kill_all()
    lone.running = False
    lone.start()
    done = lone.run("run", "lives.py::fetch", "--call", call, "--timeout", "60").ok()
    assert "result worked" in done.stdout, done.all
    wait_until(lambda: "mortal" not in [a["name"] for a in lone.apps()], "the app of a dead client ends", 60)
    assert (PROGRAMS / "lives.py").exists()


def test_down_stops_everything_and_up_goes_on(lone):
    lone.start()
    program = lone.program("run", "-d", "--name", "kept", "lives.py::leave", "--seconds", "2")
    call = program.see(r"^call fc-").split()[-1]
    assert program.wait(60) == 0
    lone.stop()
    done = lone.run("status")
    assert done.code == 1, done.all
    assert lone.run("down").code == 0, "said twice, it is as good as once"
    lone.start()
    assert "result worked" in lone.run("run", "lives.py::fetch", "--call", call, "--timeout", "60").ok().stdout


def test_nothing_configured_it_starts_by_itself(lone):
    done = lone.run("run", "command.py::add", "--left", "1").ok()
    assert "11" in done.stdout
    assert lone.pid("server") and lone.pid("node")
