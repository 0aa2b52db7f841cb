"""Large values: as files where the server's disk is this one, else through HTTP."""

import pytest

from ingle.sdk.blob import HttpBlobs
from ingle.wire.api import Welcome


class Http:
    """Stands for the server: keeps what is put."""

    def __init__(self):
        self.kept = {}

    def request(self, method, path, body=None):
        if method == "PUT":
            self.kept[path] = b"".join(body)
        return self.kept.get(path)


@pytest.fixture
def disk(tmp_path):
    (tmp_path / ".probe-x").write_text("sv-1")
    return tmp_path


def test_on_the_servers_machine_blobs_are_files(disk):
    http = Http()
    blobs = HttpBlobs(http)
    blobs.welcome(Welcome("sv-1", str(disk), ".probe-x"))
    name = blobs.put([b"one ", b"two"])
    assert (disk / name.decode()).read_bytes() == b"one two" and not http.kept
    assert bytes(blobs.get(name)) == b"one two"
    assert sorted(f.name for f in disk.iterdir()) == sorted([".probe-x", name.decode()])


@pytest.mark.parametrize(
    "welcome",
    [
        Welcome("sv-1"),
        Welcome("sv-2", "{disk}", ".probe-x"),  # another server's disk under the same path
        Welcome("sv-1", "{disk}", "../.probe-x"),
        Welcome("sv-1", "/nowhere", ".probe-x"),
        Welcome("sv-1", "{disk}\0", ".probe-x"),
    ],
)
def test_elsewhere_they_go_through_http(disk, welcome):
    http = Http()
    blobs = HttpBlobs(http)
    blobs.welcome(Welcome("sv-1", str(disk), ".probe-x"))
    blobs.welcome(Welcome(welcome.server, welcome.blobs_path.format(disk=disk), welcome.blobs_probe))
    name = blobs.put([b"one"])
    assert http.kept == {f"/v1/blobs/{name.decode()}": b"one"}
    assert blobs.get(name) == b"one"


def test_what_the_disk_refuses_the_server_is_asked_for(disk):
    http = Http()
    blobs = HttpBlobs(http)
    blobs.welcome(Welcome("sv-1", str(disk), ".probe-x"))
    http.kept["/v1/blobs/bl-elsewhere"] = b"there"
    assert blobs.get(b"bl-elsewhere") == b"there"
    (disk / ".probe-x").unlink()
    disk.rmdir()
    name = blobs.put([b"one"])
    assert http.kept[f"/v1/blobs/{name.decode()}"] == b"one"
