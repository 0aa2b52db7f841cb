"""The items of a generator's input: what is on its way to its client.

Items of an attempt are numbered from 0 without a gap. Those that the client has not said it took are kept, so that it
can get them again after a reconnect; YIELDS_AHEAD_MAX bounds them. Attempts are numbered so that a later one has the
higher number, even if another server process began it.
"""

import time
from collections import deque

#: Attempts that one server process may begin before its numbers meet those of one started a millisecond later.
_START = int(time.time() * 1000)
_PER_START = 1000


class Items:
    __slots__ = ("attempt", "container", "kept", "next", "taken", "unknown")

    def __init__(self) -> None:
        self.attempt = _START * _PER_START
        self.container = ""  #: where it runs
        self.next = 0  #: number of the next new item
        self.taken = 0  #: items that the client has said it took, never more than have come
        self.kept: deque[tuple[bytes, bool]] = deque()  #: the last ones, up to `next`
        self.unknown = False  #: another server process saw its first items: the first that come say how many they were

    def begin(self, container: str) -> None:
        """A new attempt: what the last one yielded is void."""
        self.attempt += 1
        self.container = container
        self.next = self.taken = 0
        self.kept.clear()
        self.unknown = False

    def adopt(self, container: str) -> None:
        """An attempt that began under another server process. Its node says again what it has not heard to be taken; the
        client learns the attempt's number from that, and says how many of its items it took."""
        self.begin(container)
        self.unknown = True

    def stop(self) -> None:
        self.container = ""
        self.kept.clear()

    def take(self, first: int, pieces: list[tuple[bytes, bool]]) -> list[tuple[bytes, bool]] | None:
        """Those of the pieces (which start at number `first`) that are new; None if some before them are missing."""
        if self.unknown:
            self.unknown = False
            self.next = self.taken = first
        if first > self.next:
            return None
        new = pieces[self.next - first :]
        self.next += len(new)
        self.kept.extend(new)
        return new

    def credit(self, attempt: int, taken: int) -> bool:
        """The client took so many of that attempt in all. Gives whether that is news."""
        taken = min(taken, self.next)
        if attempt != self.attempt or taken <= self.taken:
            return False
        self.taken = taken
        while len(self.kept) > self.next - taken:
            self.kept.popleft()
        return True
