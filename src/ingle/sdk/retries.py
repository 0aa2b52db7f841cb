"""Retries as users write them: the value of the model, checked."""

from ingle.exceptions import InvalidError
from ingle.model import retries

MAX_RETRIES = 100
DELAY_S_MAX = 24 * 3600
COEFFICIENT_MAX = 100


class Retries(retries.Retries):
    """When a failed input runs again. Exceptions and time-outs of the function count; a lost container does not.

    Attempt n (from 1) waits `initial_delay * backoff_coefficient ** (n - 1)` seconds, at most `max_delay`.

    Args:
        max_retries: more attempts after the first, at most 100.
        initial_delay: seconds.
        backoff_coefficient: at least 1.
        max_delay: seconds.

    Raises:
        InvalidError: a value is of the wrong type or out of its range.
    """

    __slots__ = ()

    def __init__(
        self,
        max_retries: int,
        initial_delay: float = 1.0,
        backoff_coefficient: float = 1.0,
        max_delay: float = 60.0,
    ):
        if isinstance(max_retries, bool) or not isinstance(max_retries, int):
            raise InvalidError(f"max_retries is a whole number, not {max_retries!r}")
        for name, value, least, most in (
            ("max_retries", max_retries, 0, MAX_RETRIES),
            ("initial_delay", initial_delay, 0, DELAY_S_MAX),
            ("backoff_coefficient", backoff_coefficient, 1, COEFFICIENT_MAX),
            ("max_delay", max_delay, 0, DELAY_S_MAX),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
                raise InvalidError(f"{name} is a number from {least} to {most}, not {value!r}")
        super().__init__(max_retries, float(initial_delay), float(backoff_coefficient), float(max_delay))
