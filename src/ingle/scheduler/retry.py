"""Whether and when a failed attempt, or a failed start, is made again."""

from ingle.model.retries import Retries

#: An input under which its container died so often is given up.
LOST_MAX = 8
#: Between starts of a function whose containers fail to start: doubles up to the bound.
BACKOFF_S = 1.0
BACKOFF_S_MAX = 60.0
#: So many starts in a row must fail for reasons that are not the user's before waiting inputs are told.
START_FAILURES_MAX = 3


def next_delay_s(retries: Retries, failures: int) -> float | None:
    """Seconds until the next attempt after so many failed ones (at least 1); None: no further attempt."""
    if failures > retries.max_retries:
        return None
    return max(0.0, retries.delay_s(failures))


def backoff_s(failures: int) -> float:
    """Seconds to wait before the next start after so many failed starts in a row (at least 1)."""
    if failures > 10:  # the power would only overflow
        return BACKOFF_S_MAX
    return min(BACKOFF_S_MAX, BACKOFF_S * 2.0 ** (failures - 1))


def give_up_waiting(fail_fast: bool, user_error: bool, failures: int) -> bool:
    """Should inputs that wait for a container be told that none starts? The user's own error would only come again, as an
    app's code never changes; of other reasons a detached app waits for the end, as its calls were promised."""
    return user_error or (fail_fast and failures >= START_FAILURES_MAX)
