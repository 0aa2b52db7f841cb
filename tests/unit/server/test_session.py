"""Sessions over their reconnects, and who hears of what."""

import pytest

from ingle.exceptions import InvalidError
from ingle.server import session as limits
from ingle.server.session import LOG_BACKLOG_MAX, Sessions
from ingle.wire.api import CODEC, AppEnded, LogLine, Logs


class FakeLink:
    def __init__(self):
        self.said, self.closed, self.waiting = [], None, 0

    def send(self, frame):
        self.said.append(CODEC.decode(frame)[0])

    def backlog(self):
        return self.waiting

    def close(self, reason):
        self.closed = reason


LINE = LogLine(1.0, "co-1", "", "f", "stdout", "text")


def test_a_session_is_the_same_over_reconnects():
    sessions, first, second = Sessions(), FakeLink(), FakeLink()
    session = sessions.connected("se-1", first)
    assert sessions.connected("se-1", second) is session
    assert first.closed
    sessions.disconnected(session, first)  # late news of the old link
    assert session.link is second
    sessions.disconnected(session, second)
    assert sessions.away(0.0) == [session] and sessions.away(60.0) == []


def test_the_same_id_elsewhere_is_another_session():
    sessions = Sessions()
    laptop = sessions.connected("se-1", FakeLink())
    inside = sessions.connected("se-1", FakeLink(), "ap-1", "co-1")
    assert inside is not laptop and inside.app == "ap-1"
    assert sessions.inside("co-1") == [inside]


def test_watchers_hear_of_their_apps_alone():
    sessions, link = Sessions(), FakeLink()
    session = sessions.connected("se-1", link)
    sessions.watch(session, "ap-1", logs=False)
    sessions.tell("ap-1", AppEnded("ap-1", "why"))
    sessions.tell("ap-2", AppEnded("ap-2", "why"))
    sessions.tell_logs("ap-1", [LINE])
    assert link.said == [AppEnded("ap-1", "why")]
    sessions.watch(session, "ap-1", logs=True)
    sessions.tell_logs("ap-1", [LINE])
    assert link.said[-1] == Logs("ap-1", [LINE])
    sessions.forget(session)
    assert session.over and not sessions.watched("ap-1") and list(sessions) == []


def test_who_is_slow_misses_lines_and_hears_how_many():
    sessions, slow, quick = Sessions(), FakeLink(), FakeLink()
    for name, link in (("se-1", slow), ("se-2", quick)):
        sessions.watch(sessions.connected(name, link), "ap-1", logs=True)
    slow.waiting = LOG_BACKLOG_MAX + 1
    sessions.tell_logs("ap-1", [LINE, LINE])
    sessions.tell_logs("ap-1", [LINE])
    sessions.catch_up()
    assert slow.said == [] and len(quick.said) == 2
    slow.waiting = 0
    sessions.catch_up()
    (note,) = slow.said
    assert "3 lines skipped" in note.lines[0].text
    sessions.tell_logs("ap-1", [LINE])
    assert slow.said[1:] == [Logs("ap-1", [LINE])]


def test_the_programs_inside_one_container_share_its_bounds(monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS_INSIDE_MAX", 2)
    sessions = Sessions()
    first = sessions.connected("se-1", FakeLink(), "ap-1", "co-1")
    second = sessions.connected("se-2", FakeLink(), "ap-1", "co-1")
    elsewhere = sessions.connected("se-1", FakeLink(), "ap-1", "co-2")
    assert first.held is second.held and elsewhere.held is not first.held
    assert sessions.connected("se-1", FakeLink()).held is not sessions.connected("se-2", FakeLink()).held
    with pytest.raises(InvalidError, match="of this container"):
        sessions.connected("se-3", FakeLink(), "ap-1", "co-1")
    sessions.forget(first)
    assert sessions.connected("se-3", FakeLink(), "ap-1", "co-1").held is second.held
