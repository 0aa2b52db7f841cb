"""Which server and which token: environment, profiles, the server of this machine."""

import json
import sys

import pytest

from ingle.exceptions import AuthError, ConnectionError, InvalidError, SetupError
from ingle.sdk import local, profile


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in ("INGLE_SERVER_URL", "INGLE_TOKEN", "INGLE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INGLE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()


def profiles(tmp_path, text):
    (tmp_path / ".ingle.toml").write_text(text)


def test_nothing_configured():
    assert profile.configured() is None and local.find() is None


def test_the_environment(monkeypatch):
    monkeypatch.setenv("INGLE_SERVER_URL", "http://a:1")
    monkeypatch.setenv("INGLE_TOKEN", " t \n")
    found = profile.configured()
    assert (found.url, found.token, found.token_from, found.local) == ("http://a:1", "t", "INGLE_TOKEN", False)
    assert found.headers() == "Authorization: Bearer t\r\nIngle-Wire: 1\r\n"
    monkeypatch.setenv("INGLE_TOKEN", "two words")
    with pytest.raises(AuthError, match="INGLE_TOKEN"):
        profile.configured()


def test_profiles(monkeypatch, tmp_path):
    profiles(
        tmp_path, '[default]\nserver_url="http://a"\ntoken="x"\n[team]\nserver_url="http://b"\ntoken="y"\n[bare]\n'
    )
    assert profile.configured().url == "http://a"
    monkeypatch.setenv("INGLE_PROFILE", "team")
    found = profile.configured()
    assert found.url == "http://b" and found.token == "y" and "team" in found.token_from
    monkeypatch.setenv("INGLE_TOKEN", "z")
    assert profile.configured().token == "z"
    monkeypatch.setenv("INGLE_PROFILE", "bare")
    assert profile.configured() is None
    monkeypatch.setenv("INGLE_PROFILE", "nobody")
    with pytest.raises(InvalidError, match="bare, default, team"):
        profile.configured()


def test_damaged_profiles(tmp_path):
    for text, words in (
        ("[default", "TOML"),
        ("default = 3", "section"),
        ("[default]\nserver_url = 5", "server_url"),
    ):
        profiles(tmp_path, text)
        with pytest.raises(InvalidError, match=words):
            profile.configured()
    profiles(tmp_path, '[default]\nserver_url = "http://a"')
    with pytest.raises(AuthError, match="no token"):
        profile.configured()


def test_the_server_of_this_machine(monkeypatch, tmp_path):
    state = tmp_path / "state"
    (state / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:5", "pid": 1}))
    assert local.find() is None
    (state / "token").write_text("abc\n")
    found = local.find()
    assert (found.url, found.token, found.local) == ("http://127.0.0.1:5", "abc", True)
    monkeypatch.setenv("INGLE_SERVER_URL", "http://127.0.0.1:5")
    assert profile.configured().token == "abc"
    (state / "server.json").write_text("{")
    assert local.find() is None


def test_a_token_of_somebody_else(tmp_path, monkeypatch):
    state = tmp_path / "state"
    (state / "server.json").write_text('{"url": "http://127.0.0.1:5"}')
    (state / "token").write_text("abc")

    def refuse(path, *args, **kwargs):
        if str(path).endswith("token"):
            raise PermissionError(13, "denied")
        return open(path, *args, **kwargs)

    monkeypatch.setattr(local, "open", refuse, raising=False)
    with pytest.raises(AuthError, match="another user"):
        local.find()


@pytest.fixture
def up(monkeypatch, tmp_path):
    """What `ingle up --detach` does, as a script."""

    def make(script):
        program = tmp_path / "fake-python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return make


def test_it_is_started(up, tmp_path):
    up(f'echo \'{{"url": "http://127.0.0.1:5"}}\' > {tmp_path}/state/server.json; echo t > {tmp_path}/state/token')
    assert local.start().url == "http://127.0.0.1:5"


def test_it_cannot_be_started(up):
    up("echo 'Error: crun is not there: run `ingle setup`' >&2; exit 1")
    with pytest.raises(SetupError, match=r"^crun is not there"):
        local.start()
    up("echo 'the port 7090 is taken' >&2; exit 1")
    with pytest.raises(ConnectionError, match="port 7090 is taken"):
        local.start()
    up("exit 7")
    with pytest.raises(ConnectionError, match="code 7"):
        local.start()
    up("exit 0")
    with pytest.raises(ConnectionError, match=r"no server\.json"):
        local.start()
