"""Where the rules say what has happened. The loop listens."""

from collections.abc import Callable

from ingle.scheduler.events import Event


class Events:
    def __init__(self) -> None:
        self._listener: Callable[..., None] | None = None

    def listen(self, listener: Callable[..., None]) -> None:
        self._listener = listener

    def post(self, *events: Event) -> None:
        """All consequences have been carried out when this returns, unless it is called from within one."""
        assert self._listener is not None, "nobody listens yet"
        self._listener(*events)
