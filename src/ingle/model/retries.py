"""When a failed input runs again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `max_retries` more attempts; attempt n (from 1) waits
    `initial_delay * backoff_coefficient ** (n - 1)` seconds, at most `max_delay`.
    """

    max_retries: int
    initial_delay: float = 1.0  #: seconds
    backoff_coefficient: float = 1.0
    max_delay: float = 60.0  #: seconds

    def delay_s(self, retry: int) -> float:
        """Seconds to wait before the given retry (1 is the first)."""
        try:
            delay = self.initial_delay * self.backoff_coefficient ** (retry - 1)
        except OverflowError:
            return self.max_delay
        return min(delay, self.max_delay)
