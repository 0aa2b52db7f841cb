"""Blobs: one suite for files and for the fake."""

import errno
import hashlib
import os
import time

import pytest

from ingle.exceptions import InvalidError, NotFoundError, ServerError
from ingle.storage import blobs as module
from ingle.storage.blobs import Blobs

ONE = "bl-0123456789abcdef"


@pytest.fixture(params=["local", "memory"])
def blobs(request, tmp_path):
    return Blobs.local(tmp_path / "blobs") if request.param == "local" else Blobs.memory()


async def pieces(*data):
    for piece in data:
        yield piece


async def read(blobs, name=ONE):
    return b"".join([chunk async for chunk in blobs.get(name)])


async def test_what_goes_in_comes_out(blobs):
    data = os.urandom(9 << 20)
    assert await blobs.put(ONE, pieces(data[: 1 << 20], data[1 << 20 :])) == len(data)
    assert await read(blobs) == data
    await blobs.sync(ONE)
    assert await blobs.exists(ONE)
    await blobs.delete(ONE)
    await blobs.delete(ONE)
    assert not await blobs.exists(ONE)


async def test_an_empty_blob_is_one(blobs):
    assert await blobs.put(ONE, pieces()) == 0
    assert await read(blobs) == b""


async def test_a_missing_blob_is_not_found(blobs):
    for attempt in (read(blobs), blobs.sync(ONE)):
        with pytest.raises(NotFoundError):
            await attempt
    assert await blobs.touch(ONE) is False


async def test_an_upload_that_breaks_off_leaves_nothing(blobs):
    async def broken():
        yield b"x" * (9 << 20)
        raise InvalidError("the upload breaks off")

    with pytest.raises(InvalidError, match="breaks off"):
        await blobs.put(ONE, broken())
    assert not await blobs.exists(ONE)


async def test_content_is_verified(blobs):
    right = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(InvalidError, match="SHA-256"):
        await blobs.put(f"bl-{right}", pieces(b"wrong"), right)
    assert not await blobs.exists(f"bl-{right}")
    await blobs.put(f"bl-{right}", pieces(b"ri", b"ght"), right)


async def test_size_is_bounded(blobs, monkeypatch):
    monkeypatch.setattr(module, "BLOB_BYTES_MAX", 10)
    with pytest.raises(InvalidError, match="at most"):
        await blobs.put(ONE, pieces(b"x" * 11))
    assert not await blobs.exists(ONE)


@pytest.mark.parametrize(
    "name", ["", "x", "../../../etc/passwd", "bl-../x", "bl-ABCDEFABCDEFABCDEF", ONE + "\n", "bl-" + "0" * 65]
)
async def test_an_id_is_never_a_path(blobs, name):
    with pytest.raises(InvalidError):
        await blobs.put(name, pieces(b""))
    with pytest.raises(InvalidError):
        await read(blobs, name)


async def test_old_ones_are_listed(blobs):
    await blobs.put(ONE, pieces(b"x"))
    assert await blobs.list_old(60.0) == []
    assert [(b.id, b.size) for b in await blobs.list_old(-60.0)] == [(ONE, 1)]


async def test_broken_uploads_are_cleared_away(tmp_path):
    blobs = Blobs.local(tmp_path)
    left = tmp_path / f"{ONE}#1"
    left.write_bytes(b"half")
    other = tmp_path / ".probe-1"
    other.write_bytes(b"")
    hour_ago = time.time() - 3600
    os.utime(left, (hour_ago, hour_ago))
    os.utime(other, (hour_ago, hour_ago))
    assert await blobs.list_old(60.0) == []
    assert not left.exists() and other.exists()


async def test_touching_makes_young(tmp_path):
    blobs = Blobs.local(tmp_path)
    await blobs.put(ONE, pieces(b"x"))
    os.utime(tmp_path / ONE, (1.0, 1.0))
    assert len(await blobs.list_old(60.0)) == 1
    assert await blobs.touch(ONE)
    assert await blobs.list_old(60.0) == []


async def test_a_full_disk_is_said(blobs, monkeypatch):
    async def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.obstore, "put_async", full)
    with pytest.raises(ServerError, match="disk is full"):
        await blobs.put(ONE, pieces(b"x"))
