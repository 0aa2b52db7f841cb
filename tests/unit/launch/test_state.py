import os
import stat

from ingle.launch import state as module
from ingle.launch.state import State, default_directory


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("INGLE_STATE_DIR", str(tmp_path / "x"))
    assert default_directory() == tmp_path / "x"
    monkeypatch.delenv("INGLE_STATE_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(default_directory()) == "/var/lib/ingle"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(default_directory()) == "/somewhere/.local/share/ingle"


def test_tokens_are_made_once_and_are_their_owners_alone(tmp_path):
    place = State(tmp_path / "s")
    place.prepare()
    first = place.token(), place.node_token()
    assert first[0] != first[1] and min(map(len, first)) >= 32
    assert mode(place.root / "token") == mode(place.root / "node_token") == 0o600
    os.chmod(place.root / "token", 0o644)
    place.prepare()
    assert (place.token(), place.node_token()) == first
    assert mode(place.root / "token") == 0o600


def test_with_sudo_the_token_is_the_callers(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path.name, uid, gid)))
    monkeypatch.setenv("SUDO_UID", "1234")
    State(tmp_path).prepare()
    assert given == [("token", 1234, -1)]


def test_what_cannot_be_read_is_no_server(tmp_path):
    place = State(tmp_path)
    assert place.read_server() is None
    place.server_json.write_text("{")
    assert place.read_server() is None
    place.server_json.write_text("[]")
    assert place.read_server() is None
    place.server_json.write_text('{"url": "u"}')
    assert place.read_server() == {"url": "u"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "f"
    module.write_whole(path, "one", 0o600)
    module.write_whole(path, "two", 0o644)
    assert path.read_text() == "two" and mode(path) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
