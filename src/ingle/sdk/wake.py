"""How one thread waits for another: the cheapest way that Python has, and its twin for asyncio."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any


class Wake:
    """A flag that one thread waits for and any thread sets; waiting takes it down again.

    A bare lock: `threading.Event` takes five times as long, and this is on the path of every call.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # it was set already
            pass

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it was set within that time (None: however long it takes). Ctrl-C interrupts."""
        if timeout_s is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(0.0, min(timeout_s, _thread.TIMEOUT_MAX)))


class AioWake:
    """The same for a coroutine; made in the loop that waits."""

    __slots__ = ("_event", "_loop", "_said")

    def __init__(self) -> None:
        import asyncio

        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._said = False

    def set(self) -> None:
        if self._said:  # one wake-up of the loop is under way, and enough
            return
        self._said = True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    async def wait(self, timeout_s: float | None = None) -> bool:
        import asyncio

        if timeout_s is None:
            await self._event.wait()
        else:
            try:
                await asyncio.wait_for(self._event.wait(), timeout_s)
            except asyncio.TimeoutError:
                return False
        self._event.clear()
        self._said = False
        return True


async def in_thread(function: Any, *args: Any) -> Any:
    """What a function that blocks returns, without keeping the event loop waiting."""
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, function, *args)
