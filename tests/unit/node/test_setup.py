"""What setup installs and says."""

import os

import pytest

from ingle.exceptions import SetupError
from ingle.node import setup
from ingle.node.setup import Need

HAVE = Need("shell", "runs", ("dash",), program="sh")


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A machine whose apt knows two packages; returns what apt-get was asked. Installing makes tmp_path/<package>."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "apt-cache").write_text(
        '#!/bin/sh\ncase "$2" in good|other) echo "  Candidate: 1.0";; *) echo "  Candidate: (none)";; esac\n'
    )
    (bin_dir / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'
        f'if [ -e {tmp_path}/locked ]; then rm {tmp_path}/locked; echo "E: Could not get lock /x"; exit 100; fi\n'
        f'if [ -e {tmp_path}/broken ]; then echo "E: no space"; exit 100; fi\n'
        f'for word in "$@"; do case "$word" in good|other) touch {tmp_path}/$word;; esac; done\n'
    )
    for file in bin_dir.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_dir}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(setup, "LOCK_PAUSE_S", 0)
    return lambda: (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""


def need(tmp_path, *packages: str, name: str = "thing") -> Need:
    return Need(name, "is of use", packages, file=str(tmp_path / packages[-1]))


def test_nothing_is_done_when_nothing_lacks(apt):
    assert setup.install(needs=[HAVE]) == [] and apt() == ""


def test_only_what_lacks_is_installed_and_told(apt, tmp_path):
    said = []
    lacking = need(tmp_path, "good")
    assert setup.install(said.append, [HAVE, lacking]) == [lacking]
    assert said[0] == "installing good: is of use"
    assert apt() == "--quiet install --yes --no-install-recommends good\n"


def test_the_package_that_the_archives_have_is_taken(apt, tmp_path):
    setup.install(lambda line: None, [need(tmp_path, "unknown", "other")])
    assert apt().endswith("other\n")


def test_lists_are_fetched_when_a_package_is_unknown(apt, tmp_path):
    with pytest.raises(SetupError, match="have no package unknown"):
        setup.install(lambda line: None, [need(tmp_path, "unknown")])
    assert apt() == "--quiet update\n"


def test_another_apt_is_waited_for(apt, tmp_path):
    (tmp_path / "locked").touch()
    said = []
    setup.install(said.append, [need(tmp_path, "good")])
    assert "waiting for another apt to end" in said and apt().count("--yes") == 2


def test_the_wait_has_a_bound(apt, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "LOCK_S_MAX", -1)
    (tmp_path / "locked").touch()
    with pytest.raises(SetupError, match="Could not get lock"):
        setup.install(lambda line: None, [need(tmp_path, "good")])


def test_a_failure_ends_with_what_apt_said(apt, tmp_path):
    (tmp_path / "broken").touch()
    with pytest.raises(SetupError, match="no space"):
        setup.install(lambda line: None, [need(tmp_path, "good")])


def test_without_root_or_apt(apt, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="no apt-get"):
        setup.install(lambda line: None, [need(tmp_path, "good")])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="sudo ingle setup"):
        setup.install(lambda line: None, [need(tmp_path, "good")])


def test_every_need_says_why():
    assert all(n.why and n.packages for n in setup.NEEDS)
    assert len({n.name for n in setup.NEEDS}) == len(setup.NEEDS)
