"""The items of a generator's input: what is on its way to its client.

Items of an attempt are numbered from 0 without a gap. Those that the client has not asked beyond are kept, so that it can get them again
after a reconnect; YIELDS_AHEAD_MAX bounds them. Attempts are numbered so that a later one has the higher number, even
if another server process began it.
"""

import time
from collections import deque

from ingle.model.call import YIELDS_AHEAD_MAX

#: Attempts that one server process may begin before its numbers meet those of one started a millisecond later.
_START = int(time.time() * 1000)
_PER_START = 1000


#: Items that the client has taken are kept so much longer: what it says after a reconnect may count some of them twice.
SLACK = YIELDS_AHEAD_MAX


class Items:
    __slots__ = ("attempt", "consumed", "container", "kept", "next", "owed", "unknown")

    def __init__(self) -> None:
        self.attempt = _START * _PER_START
        self.container = ""  #: where it runs
        self.next = 0  #: number of the next new item
        self.consumed = 0  #: items that the client has said it took
        self.kept: deque[tuple[bytes, bool]] = deque()  #: the last ones, up to `next`
        self.owed = 0  #: items that the client has said it took while nobody here knew where it runs
        self.unknown = False  #: another server process saw its first items: the first that come say how many they were

    def begin(self, container: str) -> None:
        """A new attempt: what the last one yielded is void."""
        self.attempt += 1
        self.container = container
        self.next = self.consumed = self.owed = 0
        self.kept.clear()
        self.unknown = False

    def adopt(self, container: str) -> int:
        """An attempt that began under another server process. The node keeps what its client has not taken. Gives how many
        more it may yield: what its client has said before the node was back."""
        owed = self.owed
        self.begin(container)
        self.unknown = True
        return owed

    def stop(self) -> None:
        self.container = ""
        self.kept.clear()

    def take(self, first: int, pieces: list[tuple[bytes, bool]]) -> list[tuple[bytes, bool]] | None:
        """Those of the pieces (which start at number `first`) that are new; None if some before them are missing."""
        if self.unknown:
            self.unknown = False
            self.next = self.consumed = first
        if first > self.next:
            return None
        new = pieces[self.next - first :]
        self.next += len(new)
        self.kept.extend(new)
        return new

    def credit(self, items: int) -> None:
        """The client took so many more."""
        if not self.container:
            self.owed += items
        self.consumed = min(self.consumed + items, self.next)
        while len(self.kept) > self.next - self.consumed + SLACK:
            self.kept.popleft()
