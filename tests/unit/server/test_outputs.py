"""Outputs gather into frames."""

from ingle.server import outputs as module
from ingle.server.outputs import send_outputs
from ingle.server.session import Session
from ingle.wire.api import CODEC
from ingle.wire.codec import split


class FakeLink:
    def __init__(self):
        self.frames = []

    def send(self, frame):
        self.frames.append(CODEC.decode(frame))

    def backlog(self):
        return 0

    def close(self, reason):
        pass


class Ended:
    def __init__(self, number, output, blob=False):
        self.id, self.outcome, self.output, self.output_blob = f"fc-1:{number}", "returned", output, blob


def sent(*ended, link=True):
    session = Session("se-1", link=FakeLink() if link else None)
    session.outputs += ended
    send_outputs(session)
    assert session.outputs == []
    return [(m.inputs, split(p, m.sizes), m.blobs) for m, p in session.link.frames] if link else None


def test_many_go_in_one_frame():
    assert sent(Ended(0, b"a"), Ended(1, b"bb", True), Ended(2, b"")) == [
        (["fc-1:0", "fc-1:1", "fc-1:2"], [b"a", b"bb", b""], [1])
    ]
    assert sent(Ended(0, b"a", True)) == [(["fc-1:0"], [b"a"], [0])]
    assert sent() == []


def test_large_ones_are_divided(monkeypatch):
    monkeypatch.setattr(module, "FRAME_BYTES", 10)
    frames = sent(Ended(0, b"x" * 6), Ended(1, b"x" * 4), Ended(2, b"x" * 20), Ended(3, b"x", True))
    assert [(inputs, blobs) for inputs, _, blobs in frames] == [
        (["fc-1:0", "fc-1:1"], []),
        (["fc-1:2"], []),
        (["fc-1:3"], [0]),
    ]


def test_nothing_is_sent_to_who_is_away():
    sent(Ended(0, b"a"), link=False)
