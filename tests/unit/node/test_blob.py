"""Blobs through the disk that node and server share, and over HTTP."""

import asyncio
import os
from pathlib import Path

import pytest
from unit.node.stub import TOKEN, StubServer, until

from ingle.node import blob as module
from ingle.node.blob import BlobError, Blobs


@pytest.fixture(params=["shared disk", "HTTP"])
async def both(request, tmp_path):
    server = StubServer(tmp_path / "blobs")
    await server.start()
    blobs = Blobs(server.url, TOKEN)
    if request.param == "shared disk":
        blobs.welcome(str(server.blobs), "probe", "server-1")
    yield blobs, server, tmp_path
    blobs.close()
    await server.stop()


async def test_there_and_back(both):
    blobs, server, place = both
    (place / "value").write_bytes(b"v" * 3_000_000)
    with open(place / "value", "rb") as file:
        name = await blobs.put_file(file.fileno())
    assert (server.blobs / name).read_bytes() == b"v" * 3_000_000
    await blobs.get_file(name, place / "back")
    assert (place / "back").read_bytes() == b"v" * 3_000_000
    assert await blobs.get_bytes(name) == b"v" * 3_000_000


@pytest.mark.parametrize("name", ["bl-none", "../probe", "", "a/b", "x" * 200])
async def test_what_is_not_there_or_is_no_name(both, name):
    blobs, _, place = both
    with pytest.raises(BlobError):
        await blobs.get_file(name, place / "target")
    with pytest.raises(BlobError):
        await blobs.get_bytes(name)


async def test_the_disk_is_used_only_if_the_probe_proves_it(both):
    blobs, server, place = both
    (place / "value").write_bytes(b"value")
    with open(place / "value", "rb") as file:
        for path, probe, name in (
            (str(server.blobs), "probe", "another server"),
            (str(place), "probe", "server-1"),
            (str(server.blobs), "../blobs/probe", "server-1"),
            ("", "", ""),
        ):
            blobs.welcome(path, probe, name)
            assert blobs.put_quick(file.fileno()) is None
        blobs.welcome(str(server.blobs), "probe", "server-1")
        name = blobs.put_quick(file.fileno())
        assert os.stat(server.blobs / name).st_ino == os.fstat(file.fileno()).st_ino


async def test_a_full_disk_is_said_at_once_and_an_absent_server_waited_for(tmp_path, monkeypatch):
    server = StubServer(tmp_path / "blobs")
    await server.start()
    blobs = Blobs(server.url, TOKEN)
    if os.path.exists("/dev/full"):
        with pytest.raises(BlobError, match="No space left"):
            await blobs.get_file("probe", Path("/dev/full"))
    await server.stop()
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    waiting = asyncio.ensure_future(blobs.get_bytes("probe"))
    await until(lambda: blobs._threads._work_queue.qsize() == 0)
    assert not waiting.done()
    await server.start()
    assert await waiting == b"server-1"
    monkeypatch.setattr(module, "TRY_FOR_S", -1.0)
    await server.stop()
    with pytest.raises(BlobError, match="could not fetch"):
        await blobs.get_bytes("probe")
    blobs.close()
