"""A generator's items between its node and its client."""

from ingle.server.generator import Items


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
    first = one.attempt
    one.adopt("co-1")
    assert one.attempt > first
    assert one.take(70, items("k")) == items("k")
    assert one.taken == 70
    assert one.take(72, items("m")) is None


def test_what_the_client_took_is_forgotten():
    one = Items()
    one.begin("co-1")
    for n in range(1000):
        one.take(n, items(str(n)))
    assert one.credit(one.attempt, 990)
    assert list(one.kept) == items(*map(str, range(990, 1000)))
    assert one.credit(one.attempt, 1 << 60) and one.taken == 1000  # no more than there are
    assert not one.kept


def test_credit_said_twice_counts_once():
    one = Items()
    one.begin("co-1")
    one.take(0, items(*"abcd"))
    assert one.credit(one.attempt, 2)
    assert not one.credit(one.attempt, 2) and not one.credit(one.attempt, 1)
    assert one.taken == 2 and list(one.kept) == items("c", "d")


def test_credit_of_an_attempt_that_is_over_says_nothing_of_the_next():
    one = Items()
    one.begin("co-1")
    one.take(0, items(*"abcd"))
    before = one.attempt
    one.begin("co-1")
    one.take(0, items(*"abcd"))
    assert not one.credit(before, 4)
    assert one.taken == 0 and len(one.kept) == 4
