"""Source trees on a node."""

import asyncio
import hashlib
import json

import pytest

from ingle.node import source
from ingle.node.source import SourceFault, Sources


class Server:
    """Blobs by id; counts how often each was fetched."""

    def __init__(self):
        self.blobs = {}
        self.fetched = []

    def put(self, source_id: str, **files: bytes) -> str:
        entries = []
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            self.blobs[f"bl-{digest}"] = content
            entries.append({"path": name.replace("__", "/").replace("_", "."), "sha256": digest, "size": 1, "mode": 0o755})
        self.blobs[source_id] = json.dumps({"files": entries}).encode()
        return source_id

    async def fetch(self, blob_id: str) -> bytes:
        self.fetched.append(blob_id)
        await asyncio.sleep(0)
        return self.blobs[blob_id]


@pytest.fixture
def server():
    return Server()


async def test_a_tree_is_laid_out_once(tmp_path, server):
    sources = Sources(tmp_path, server.fetch)
    server.put("so-1", main_py=b"x = 1", pkg__mod_py=b"y = 2", pkg__same_py=b"x = 1")
    trees = await asyncio.gather(*(sources.ensure("so-1") for _ in range(5)))
    assert set(trees) == {tmp_path / "so-1"}
    root = trees[0] / "root"
    assert (root / "main.py").read_bytes() == b"x = 1" and (root / "pkg/mod.py").read_bytes() == b"y = 2"
    assert (root / "main.py").stat().st_mode & 0o777 == 0o755 and (root / "pkg/same.py").exists()
    assert len(server.fetched) == 3


async def test_only_changed_files_are_fetched(tmp_path, server):
    sources = Sources(tmp_path, server.fetch)
    await sources.ensure(server.put("so-1", a_py=b"a", b_py=b"b"))
    server.fetched.clear()
    await sources.ensure(server.put("so-2", a_py=b"a", b_py=b"changed"))
    assert server.fetched == ["so-2", "bl-" + hashlib.sha256(b"changed").hexdigest()]


@pytest.mark.parametrize("path", ["/etc/passwd", "../up.py", "a/../../b.py", ""])
async def test_a_path_outside_the_tree_is_refused(tmp_path, server, path):
    server.blobs["so-1"] = json.dumps({"files": [{"path": path, "sha256": "0" * 64}]}).encode()
    with pytest.raises(SourceFault, match="outside its tree"):
        await Sources(tmp_path, server.fetch).ensure("so-1")


async def test_content_that_is_not_what_its_name_says_is_refused(tmp_path, server):
    server.put("so-1", a_py=b"a")
    server.blobs["bl-" + hashlib.sha256(b"a").hexdigest()] = b"forged"
    sources = Sources(tmp_path, server.fetch)
    with pytest.raises(SourceFault, match="another one"):
        await sources.ensure("so-1")
    server.put("so-1", a_py=b"a")
    assert (await sources.ensure("so-1")).is_dir()


@pytest.mark.parametrize("name", ["", "../x", "a/b"])
async def test_a_strange_id_is_refused(tmp_path, server, name):
    with pytest.raises(SourceFault, match="not the id"):
        await Sources(tmp_path, server.fetch).ensure(name)


async def test_what_is_kept_from_life_to_life(tmp_path, server, monkeypatch):
    monkeypatch.setattr(source, "TREES_KEPT_MAX", 2)
    sources = Sources(tmp_path, server.fetch)
    for n in range(4):
        await sources.ensure(server.put(f"so-{n}", a_py=b"%d" % n))
    (tmp_path / ".part-so-9-1").mkdir()
    Sources(tmp_path, server.fetch)
    assert sorted(p.name for p in tmp_path.glob("so-*")) == ["so-2", "so-3"]
    assert len(list((tmp_path / ".files").iterdir())) == 2 and not list(tmp_path.glob(".part-*"))


async def test_another_boot_starts_afresh(tmp_path, server):
    await Sources(tmp_path, server.fetch).ensure(server.put("so-1", a_py=b"a"))
    (tmp_path / ".boot").write_text("of another boot")
    Sources(tmp_path, server.fetch)
    assert not (tmp_path / "so-1").exists()
