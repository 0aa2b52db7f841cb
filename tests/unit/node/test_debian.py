"""Reading the machine's apt sources and turning them to another suite."""

from pathlib import Path

from ingle.node import debian

DEB822 = """\
Types: deb
# a comment in between
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb deb-src
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
"""
LINES = """\
deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://archive.example/ubuntu jammy main universe # inline
deb-src http://archive.example/ubuntu jammy main
deb http://other.example/tool stable main
"""


def apt(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return tmp_path


def test_deb822(tmp_path):
    found = debian.archives("bookworm", apt(tmp_path, debian_sources=DEB822))
    assert [(s.uris, s.suites, s.components, s.signed_by) for s in found] == [
        (("http://archive.example/debian",), ("bookworm", "bookworm-updates"), ("main",), "/usr/share/keyrings/debian.gpg"),
        (("http://security.example/debian-security",), ("bookworm-security",), ("main",), ""),
    ]
    assert debian.source_lines(found, "bookworm", "bookworm") == [
        "deb [signed-by=/usr/share/keyrings/debian.gpg] http://archive.example/debian bookworm main",
        "deb [signed-by=/usr/share/keyrings/debian.gpg] http://archive.example/debian bookworm-updates main",
        "deb http://security.example/debian-security bookworm-security main",
    ]
    assert debian.source_lines(found, "bookworm", "trixie") == [
        "deb [signed-by=/usr/share/keyrings/debian.gpg] http://archive.example/debian trixie main"
    ]


def test_one_line_sources(tmp_path):
    found = debian.archives("jammy", apt(tmp_path, tool_list=LINES))
    assert debian.source_lines(found, "jammy", "jammy") == [
        "deb [trusted=yes signed-by=/k.gpg] http://archive.example/ubuntu jammy main"
    ]


def test_no_fitting_source(tmp_path):
    assert debian.archives("jammy", apt(tmp_path, debian_sources=DEB822)) == []


def test_which_machine():
    assert debian.os_release('ID=debian\nVERSION_CODENAME="bookworm"\n') == ("debian", "bookworm")
    assert debian.os_release("ID=linuxmint\nID_LIKE='ubuntu debian'\nUBUNTU_CODENAME=noble\nVERSION_CODENAME=w\n") == (
        "ubuntu",
        "noble",
    )
    assert debian.suite_for("debian", "3.11") == "bookworm" and debian.suite_for("debian", "3.12") is None


def test_settings_about_fetching_are_handed_on():
    dump = 'Acquire::Check-Valid-Until "false";\nAcquire::http::Proxy "http://p.example";\nAcquire::Languages "none";\nAPT::x "1";\n'
    assert debian.fetch_settings(dump) == ['Acquire::Check-Valid-Until "false";', 'Acquire::http::Proxy "http://p.example";']


def test_the_command_leaves_nothing_behind_and_names_no_archive(tmp_path):
    argv = debian.command("bookworm", tmp_path, ["deb http://a.example bookworm main"], ['Acquire::Check-Date "false";'])
    assert argv[0] == "unshare" and "--kill-child" in argv and argv[-3:-1] == ["bookworm", str(tmp_path)]
    assert '--aptopt=Acquire::Check-Date "false";' in argv
