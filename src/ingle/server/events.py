"""Where the rules say what has happened. The loop listens."""

import asyncio
from collections.abc import Callable

from ingle.scheduler.events import Event


class Events:
    def __init__(self) -> None:
        self._listener: Callable[..., None] | None = None
        self._quiet: asyncio.Event | None = None  # somebody waits until it is over

    def listen(self, listener: Callable[..., None]) -> None:
        self._listener = listener

    def post(self, *events: Event) -> None:
        """All consequences have been carried out when this returns, unless it is called from within one."""
        assert self._listener is not None, "nobody listens yet"
        if self._quiet is not None:
            self._quiet.set()
        self._listener(*events)

    async def quiet(self, longest_s: float) -> None:
        """Returns when something happens, or after so long."""
        self._quiet = asyncio.Event()
        try:
            await asyncio.wait_for(self._quiet.wait(), longest_s)
        except asyncio.TimeoutError:
            pass
        finally:
            self._quiet = None
