"""What containers answer: hostile file names, order, batches, and what is kept until it is acknowledged."""

import os

import pytest
from unit.node.stub import until

from ingle.model.call import INLINE_BYTES_MAX
from ingle.node import outbox
from ingle.node.blob import Blobs
from ingle.node.outbox import FileRefused, Items, Ledger, Outbox, OutFile, Output
from ingle.wire import node as w
from ingle.wire.codec import split


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    fd = os.open(tmp_path / "out", os.O_RDONLY)
    yield tmp_path / "out", fd
    os.close(fd)


def test_a_plain_file_is_read_and_deleted(out):
    directory, fd = out
    (directory / "a").write_bytes(b"value")
    with OutFile(fd, b"a") as file:
        assert file.small and file.read() == b"value"
    assert not list(directory.iterdir())


@pytest.mark.parametrize(
    "name", [b"", b".", b"..", b"../secret", b"/etc/passwd", b"a\0b", b"x" * 200, b"none", b"link", b"dir", b"fifo"]
)
def test_what_is_no_plain_file_of_the_directory_is_refused(out, name):
    directory, fd = out
    (directory.parent / "secret").write_text("secret")
    (directory / "link").symlink_to("../secret")
    (directory / "dir").mkdir()
    os.mkfifo(directory / "fifo")
    with pytest.raises(FileRefused), OutFile(fd, name):
        pass


def test_a_sparse_giant_is_refused(out):
    directory, fd = out
    with open(directory / "giant", "wb") as file:
        file.truncate(outbox.BULK_BYTES_MAX + 1)
    with pytest.raises(FileRefused), OutFile(fd, b"giant"):
        pass


class Play:
    def __init__(self, out, tmp_path, direct=True):
        self.frames, self.events, self.faults = [], [], []
        self.ledger = Ledger()
        self.blobs = Blobs("http://127.0.0.1:1", "")
        (tmp_path / "blobs").mkdir()
        (tmp_path / "blobs" / "probe").write_text("server")
        if direct:
            self.blobs.welcome(str(tmp_path / "blobs"), "probe", "server")
        self.directory = tmp_path / "blobs"
        self.outbox = Outbox(
            "co-1", out[1], self.blobs, self.ledger, say=self.say, before_send=lambda: self.events.append("logs"),
            on_fault=self.faults.append, failed=lambda code, text: code.encode(),
        )  # fmt: skip

    def say(self, frame):
        self.events.append("frame")
        self.frames.append(w.CODEC.decode(frame))


async def test_outputs_of_one_turn_are_one_frame_after_the_logs(out, tmp_path):
    play = Play(out, tmp_path)
    for n in range(3):
        play.outbox.add(Output(f"a:{n}", "returned", 1.5, b"%d" % n))
    play.outbox.flush()
    play.outbox.flush()
    ((message, payload),) = play.frames
    assert message == w.NodeOutputs("co-1", ["a:0", "a:1", "a:2"], ["returned"] * 3, [1.5] * 3, [1, 1, 1], [])
    assert bytes(payload) == b"012" and play.events == ["logs", "frame"]


async def test_values_of_files_inline_or_as_blobs(out, tmp_path):
    play = Play(out, tmp_path)
    (out[0] / "small").write_bytes(b"s" * 1000)
    (out[0] / "large").write_bytes(b"l" * (INLINE_BYTES_MAX + 1))
    play.outbox.add(Output("a:0", "returned", 0.0, b"", b"small"))
    play.outbox.add(Output("a:1", "returned", 0.0, b"", b"large"))
    play.outbox.flush()
    ((message, payload),) = play.frames
    small, blob = split(payload, message.sizes)
    assert small == b"s" * 1000 and message.blobs == [1]
    assert (play.directory / blob.decode()).read_bytes() == b"l" * (INLINE_BYTES_MAX + 1)
    assert not list(out[0].iterdir())


async def test_order_is_kept_behind_one_that_waits(out, tmp_path):
    play = Play(out, tmp_path)
    (out[0] / "item").write_bytes(b"i" * 1000)
    play.outbox.add(Items("a:0", 0, [b""], [b"item"], []))
    play.outbox.add(Output("a:0", "returned", 0.0, b""))
    play.outbox.flush()
    await until(lambda: len(play.frames) == 2)
    assert [type(m) for m, _ in play.frames] == [w.NodeYielded, w.NodeOutputs]
    assert bytes(play.frames[0][1]) == b"i" * 1000


async def test_a_refused_file_is_a_fault_and_no_output(out, tmp_path):
    play = Play(out, tmp_path)
    play.outbox.add(Output("a:0", "returned", 0.0, b"", b"../secret"))
    play.outbox.flush()
    assert play.faults and not play.frames


def test_kept_until_acknowledged():
    ledger = Ledger()
    ledger.keep("co-1", Output("a:0", "returned", 1.0, b"12345"))
    ledger.keep("co-1", Output("a:0", "returned", 1.0, b"123"))
    ledger.keep("co-2", Output("b:0", "returned", 1.0, b"1"))
    assert ledger.bytes == 4 and ledger.by_container() == {"co-1": ["a:0"], "co-2": ["b:0"]}
    assert [w.CODEC.decode(f)[0].inputs for f in ledger.frames()] == [["a:0"], ["b:0"]]
    ledger.acknowledge(["a:0", "a:0", "never"])
    assert ledger.bytes == 1 and not ledger.has("a:0") and ledger.has("b:0")


def test_items_are_kept_until_they_are_taken():
    ledger = Ledger()
    ledger.keep_items("co-1", Items("a:0", 0, [b"0", b"1", b"2"], [b""] * 3, [1]))
    for taken in (2, 2, 1):  # said again, and late
        ledger.taken("a:0", taken)
        assert ledger.taken_so_far("a:0") == 2
    (frame,) = ledger.frames("a:0")
    assert w.CODEC.decode(frame)[0] == w.NodeYielded("co-1", "a:0", 2, [1], [])
    ledger.acknowledge(["a:0"])
    assert ledger.bytes == 0 and not ledger.frames() and ledger.taken_so_far("a:0") == 0


def test_a_new_attempt_begins_with_nothing_taken():
    ledger = Ledger()
    ledger.keep_items("co-1", Items("a:0", 0, [b"0", b"1"], [b""] * 2, []))
    ledger.taken("a:0", 2)
    ledger.forget_items("a:0")
    ledger.taken("a:0", 2)  # late
    assert ledger.taken_so_far("a:0") == 0
    ledger.keep_items("co-1", Items("a:0", 0, [b"0"], [b""], []))
    assert len(ledger.frames("a:0")) == 1


def test_a_full_ledger_says_so(monkeypatch):
    monkeypatch.setattr(outbox, "UNACKNOWLEDGED_BYTES_MAX", 3)
    ledger = Ledger()
    ledger.keep("co-1", Output("a:0", "returned", 1.0, b"1234"))
    assert ledger.full
    ledger.acknowledge(["a:0"])
    assert not ledger.full
