"""A generator's items between its node and its client."""

from ingle.model.call import YIELDS_AHEAD_MAX
from ingle.server.generator import SLACK, Items


def items(*texts):
    return [(text.encode(), False) for text in texts]


def test_what_is_said_twice_is_taken_once():
    one = Items()
    one.begin("co-1")
    assert one.take(0, items("a", "b")) == items("a", "b")
    assert one.take(1, items("b", "c")) == items("c")
    assert one.take(0, items("a")) == []


def test_a_gap_is_noticed():
    one = Items()
    one.begin("co-1")
    one.take(0, items("a"))
    assert one.take(2, items("c")) is None
    assert one.take(1, items("b")) == items("b")


def test_a_new_attempt_begins_at_nought_with_a_higher_number():
    one = Items()
    one.begin("co-1")
    one.take(0, items("a"))
    first = one.attempt
    one.begin("co-2")
    assert one.attempt > first and not one.kept
    assert one.take(0, items("x")) == items("x")


def test_another_server_process_numbers_attempts_higher():
    one = Items()
    one.credit(3)
    assert one.adopt("co-1") == 3 and one.owed == 0
    assert one.take(70, items("k")) == items("k")
    assert one.take(72, items("m")) is None


def test_few_items_are_kept():
    one = Items()
    one.begin("co-1")
    for n in range(1000):
        one.take(n, items(str(n)))
        one.credit(1)
    assert len(one.kept) == SLACK == YIELDS_AHEAD_MAX
    one.credit(1 << 60)
    assert one.consumed == 1000
