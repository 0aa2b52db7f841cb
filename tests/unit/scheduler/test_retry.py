from ingle.model.retries import Retries
from ingle.scheduler import retry


def test_retries_wait_as_their_function_says_and_come_to_an_end():
    retries = Retries(3, initial_delay=1.0, backoff_coefficient=2.0, max_delay=3.0)
    assert [retry.next_delay_s(retries, failures) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 3.0, None]
    assert retry.next_delay_s(Retries(0), 1) is None


def test_starts_back_off_up_to_a_minute():
    assert [retry.backoff_s(n) for n in (1, 2, 3, 7, 1000)] == [1.0, 2.0, 4.0, 60.0, 60.0]


def test_waiting_inputs_are_given_up_at_once_for_the_users_error_and_later_for_ours():
    assert retry.give_up_waiting(True, True, 1)
    assert not retry.give_up_waiting(True, False, 2)
    assert retry.give_up_waiting(True, False, 3)
    assert retry.give_up_waiting(False, True, 1)
    assert not retry.give_up_waiting(False, False, 99)
