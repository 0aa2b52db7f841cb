"""Lines out of pipes: marks, odd bytes, bounds."""

import asyncio
import os

import pytest
from unit.node.stub import until

from ingle.node import log
from ingle.node.log import LogReader
from ingle.runner import wire


def mark(input: str) -> bytes:
    return wire.MARK + input.encode() + wire.MARK_END


class Pipes:
    def __init__(self, accepted=("fc-1:0", "fc-1:1")):
        self.batches = []
        (out, self.out), (err, self.err) = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        self.reader = LogReader(
            out, err, container="co-1", function="f", say=self.batches.append, accepts=lambda i: i in accepted
        )

    @property
    def lines(self):
        return [(line.stream, line.input, line.text) for batch in self.batches for line in batch]

    def finish(self):
        for fd in (self.out, self.err):
            if fd >= 0:
                os.close(fd)
        self.out = self.err = -1
        while not self.reader.finish():
            pass


@pytest.fixture
async def pipes():
    pipes = Pipes()
    yield pipes
    pipes.finish()
    pipes.reader.close()


async def test_lines_belong_to_the_input_marked_before_them(pipes):
    os.write(pipes.out, b"start\n" + mark("fc-1:0") + b"one\ntwo" + mark("fc-1:1") + b"three\n")
    os.write(pipes.err, b"other\n")
    pipes.reader.drain()
    assert pipes.lines == [
        ("stdout", "", "start"),
        ("stdout", "fc-1:0", "one"),
        ("stdout", "fc-1:0", "two"),
        ("stdout", "fc-1:1", "three"),
        ("stderr", "", "other"),
    ]


async def test_a_mark_of_an_input_that_it_never_had_changes_nothing(pipes):
    os.write(pipes.out, mark("fc-1:0") + b"mine\n" + mark("fc-9:9") + b"still mine\n")
    pipes.reader.drain()
    assert pipes.lines == [("stdout", "fc-1:0", "mine"), ("stdout", "fc-1:0", "still mine")]


@pytest.mark.parametrize("at", range(1, len(mark("fc-1:0"))))
async def test_a_mark_may_arrive_in_pieces(pipes, at):
    whole = mark("fc-1:0")
    os.write(pipes.out, b"before" + whole[:at])
    pipes.reader.drain()
    pipes.reader.acknowledged()
    os.write(pipes.out, whole[at:] + b"after\n")
    pipes.reader.drain()
    assert pipes.lines == [("stdout", "", "before"), ("stdout", "fc-1:0", "after")]


async def test_bytes_that_are_no_text_and_lines_that_are_too_long(pipes):
    os.write(pipes.out, b"\xff\xfe ok\r\n")
    pipes.reader.drain()
    whole = b"x" * (log.LINE_BYTES_MAX + 10)
    for at in range(0, len(whole), 4096):
        os.write(pipes.out, whole[at : at + 4096])
        pipes.reader.drain()
    pipes.finish()
    texts = [text for _, _, text in pipes.lines]
    assert texts[0] == "\ufffd\ufffd ok" and "".join(texts[1:]) == "x" * (log.LINE_BYTES_MAX + 10)


async def test_a_progress_bar_is_what_is_left_of_it(pipes):
    os.write(pipes.out, b"  1%\r 50%\r100%\n")
    pipes.reader.drain()
    assert pipes.lines == [("stdout", "", "100%")]


async def test_nothing_is_read_until_the_batch_is_acknowledged(pipes):
    os.write(pipes.out, b"one\n")
    while not pipes.batches:
        await asyncio.sleep(0)
    os.write(pipes.out, b"two\n")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(pipes.batches) == 1 and pipes.reader.unacknowledged() == pipes.batches
    pipes.reader.acknowledged()
    while len(pipes.batches) < 2:
        await asyncio.sleep(0)
    assert [text for _, _, text in pipes.lines] == ["one", "two"]


async def test_an_unfinished_line_is_sent_after_a_while(pipes, monkeypatch):
    monkeypatch.setattr(log, "PARTIAL_S", 0.01)
    os.write(pipes.out, b"name? ")
    await until(lambda: pipes.batches)
    assert pipes.lines == [("stdout", "", "name? ")]


async def test_drain_is_bounded_while_nobody_acknowledges(pipes):
    block = (b"x" * 99 + b"\n") * 600
    for _ in range(200):
        try:
            os.write(pipes.out, block)
        except BlockingIOError:
            pass
        pipes.reader.drain()
    assert sum(len(text) for _, _, text in pipes.lines) < 2 * log.UNACKNOWLEDGED_BYTES_MAX


async def test_the_end_of_stderr_is_remembered(pipes):
    os.write(pipes.err, b"".join(b"line %d\n" % n for n in range(100)))
    pipes.reader.drain()
    assert pipes.reader.tail.splitlines() == [f"line {n}" for n in range(80, 100)]


async def test_finish_reads_what_the_process_left(pipes):
    os.write(pipes.out, b"last words")
    pipes.finish()
    assert pipes.lines == [("stdout", "", "last words")]
