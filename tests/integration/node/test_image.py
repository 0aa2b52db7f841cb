"""Layers of images: made once, trusted only when complete, shared by whoever asks. The builder is a stand-in."""

import asyncio
import json
import os
import sys

import pytest

from ingle.exceptions import ImageBuildError
from ingle.model.image import ImageSpec
from ingle.node import debian, image, interpreter
from ingle.node.image import Images
from ingle.node.kernel import RecordingKernel

SPEC = ImageSpec("3.11")
BUILD = "echo building; mkdir -p {target}/usr; echo x >{target}/usr/file; echo run >>{log}; echo done"


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """Turns mmdebstrap into a shell script; `builder.script` is what it does."""

    class Builder:
        script = BUILD
        log = tmp_path / "log"

        def runs(self) -> int:
            return self.log.read_text().count("run") if self.log.exists() else 0

    made = Builder()

    def command(suite, target, lines, settings):
        return ["/bin/sh", "-c", made.script.format(target=target, log=made.log)]

    monkeypatch.delenv(image.LAYERS_VARIABLE, raising=False)
    monkeypatch.setattr(debian, "command", command)
    monkeypatch.setattr(debian, "os_release", lambda: ("debian", "bookworm"))
    monkeypatch.setattr(
        debian, "archives", lambda codename: [debian.Source(("http://a.example",), (codename,), ("main",))]
    )
    monkeypatch.setattr(debian, "fetch_settings", lambda: [])
    monkeypatch.setattr(image.shutil, "which", lambda name: f"/usr/bin/{name}")
    return made


@pytest.fixture
def images(tmp_path, builder):
    return Images(RecordingKernel(), tmp_path / "layers")


def ignore(line: str) -> None:
    pass


async def test_a_layer_is_built_once_for_all_who_ask(images, builder):
    assert not images.has(SPEC)
    heard: list[list[str]] = [[], [], []]
    found = await asyncio.gather(*(images.ensure(SPEC, lines.append) for lines in heard))
    assert found[0] == found[1] == found[2] and (found[0][0] / "usr/file").read_text() == "x\n"
    assert builder.runs() == 1 and all(lines[-2:] == ["building", "done"] for lines in heard)
    assert images.has(SPEC) and images.python(SPEC) == "/usr/bin/python3"
    assert await images.ensure(SPEC, ignore) == found[0] and builder.runs() == 1


async def test_another_node_finds_it(images, builder, tmp_path):
    await images.ensure(SPEC, ignore)
    other = Images(RecordingKernel(), tmp_path / "layers")
    assert other.has(SPEC) and other.python(SPEC) == "/usr/bin/python3"


async def test_two_nodes_that_build_at_the_same_time_build_once(images, builder, tmp_path, monkeypatch):
    monkeypatch.setattr(image, "LOCK_PAUSE_S", 0.01)
    other = Images(RecordingKernel(), tmp_path / "layers")
    assert await asyncio.gather(images.ensure(SPEC, ignore), other.ensure(SPEC, ignore))
    assert builder.runs() == 1


async def test_it_is_on_disk_before_it_has_its_name(images):
    (root,) = await images.ensure(SPEC, ignore)
    synced = [line for line in images.kernel.said if line.startswith("sync")]
    assert "part-" in synced[0] and synced[1] == f"sync {images.root}"
    assert json.loads((root.parent / "layer.json").read_text())["suite"] == "bookworm"


async def test_a_build_that_fails_says_why_and_leaves_nothing(images, builder):
    builder.script = "echo E: no space left; exit 3"
    with pytest.raises(ImageBuildError, match="no space left"):
        await images.ensure(SPEC, ignore)
    assert not images.has(SPEC) and not list(images.root.glob("[!.]*"))
    builder.script = BUILD
    assert await images.ensure(SPEC, ignore)


async def test_a_build_that_never_ends_is_ended(images, builder, monkeypatch):
    monkeypatch.setattr(image, "BUILD_S_MAX", 0.2)
    builder.script = "echo slow; exec sleep 60"
    with pytest.raises(ImageBuildError, match="did not end"):
        await images.ensure(SPEC, ignore)


async def test_what_was_left_half_made_is_not_trusted(images, builder, tmp_path):
    key = image.base_key("bookworm")
    (images.root / key / "root").mkdir(parents=True)
    (images.root / f"part-{key}-1" / "root").mkdir(parents=True)
    later = Images(RecordingKernel(), tmp_path / "layers")
    assert not later.has(SPEC) and not list(later.root.glob("part-*"))
    (root,) = await later.ensure(SPEC, ignore)
    assert (root / "usr/file").exists()


async def test_a_build_under_way_elsewhere_is_left_alone(images, builder, tmp_path):
    part = images.root / f"part-{image.base_key('bookworm')}-1"
    part.mkdir()
    async with image._locked(images.root / f".lock-{image.base_key('bookworm')}"):
        Images(RecordingKernel(), tmp_path / "layers")
        assert part.exists()
    Images(RecordingKernel(), tmp_path / "layers")
    assert not part.exists()


async def test_an_endless_line_is_cut(images, builder):
    builder.script = "head -c 100000 /dev/zero | tr '\\0' x; echo; " + BUILD
    heard: list[str] = []
    await images.ensure(SPEC, heard.append)
    assert max(map(len, heard)) <= image.LINE_CHARS_MAX


async def test_versions_that_cannot_be_had(images, builder, monkeypatch):
    monkeypatch.setattr(interpreter, "find", lambda python: None)
    with pytest.raises(ImageBuildError, match=r"no Python 3\.12.*3\.11, 3\.13.*uv python install 3\.12"):
        await images.ensure(ImageSpec("3.12"), ignore)
    with pytest.raises(ImageBuildError, match=r"Python 3\.10 or later"):
        await images.ensure(ImageSpec("3.8"), ignore)
    builder.script = "echo E: no such suite; exit 1"
    with pytest.raises(ImageBuildError, match="no such suite"):
        await images.ensure(ImageSpec("3.13"), ignore)


async def test_a_variable_names_a_shared_directory(tmp_path, builder, monkeypatch):
    monkeypatch.setenv(image.LAYERS_VARIABLE, str(tmp_path / "shared"))
    assert Images(RecordingKernel(), tmp_path / "own").root == tmp_path / "shared"


def test_the_interpreter_that_runs_this_is_found():
    found = interpreter.find(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert found and found.executable.exists() and (found.stdlib / "os.py").exists()
    assert interpreter.find("3.99") is None and interpreter.probe(os.devnull) is None
