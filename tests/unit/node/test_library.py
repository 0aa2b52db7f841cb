"""What containers get of ours."""

import subprocess
import sys

from ingle.node import library


def test_it_runs_on_its_own_without_looking_at_sources(tmp_path):
    directory = library.ensure(tmp_path)
    names = {p.name for p in (directory / "ingle").iterdir()}
    assert names == {"__init__.py", "__pycache__", "exceptions.py", "model", "wire", "sdk", "runner"}
    for pyc in directory.rglob("*.pyc"):
        assert pyc.read_bytes()[4:8] == b"\x01\0\0\0", f"{pyc} is checked against its source"
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import ingle.model.call, ingle.runner.wire as w, cloudpickle; print(w.__cached__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(directory)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(directory))


def test_the_same_content_has_the_same_directory(tmp_path):
    first = library.ensure(tmp_path)
    before = first.stat().st_mtime_ns
    assert library.ensure(tmp_path) == first and first.stat().st_mtime_ns == before


def test_one_that_was_left_half_made_is_made_again(tmp_path):
    directory = library.ensure(tmp_path)
    (directory / "complete").unlink()
    (directory / "ingle" / "exceptions.py").unlink()
    assert (library.ensure(tmp_path) / "ingle" / "exceptions.py").exists()


def test_another_interpreter_compiles_through_pipes(tmp_path):
    directory = library.ensure(tmp_path)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for pyc in directory.rglob("*.pyc"):
        pyc.unlink()
    assert not library.is_compiled(directory, version)
    assert library.compile_for(directory, version, [sys.executable])
    assert library.is_compiled(directory, version)
    assert not library.compile_for(directory, "3.99", ["/bin/false"])


def test_the_bundle_of_certificates(tmp_path, monkeypatch):
    own = tmp_path / "ca.crt"
    own.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    assert library.ca_bundle() == str(own)
    for name in library.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(library, "CA_PLACES", ())
    assert library.ca_bundle() == ""
