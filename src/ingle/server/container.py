"""Containers as the server sees them, and those that have ended, for lists."""

from collections import deque
from dataclasses import dataclass, field

from ingle.exceptions import NotFoundError
from ingle.model import container as states
from ingle.model.container import Container

#: Ended containers that a list shows.
HISTORY_MAX = 1000


@dataclass(eq=False, slots=True)
class Running:
    """A container on a node. `seen`: its state as the node says it."""

    id: str
    app_id: str
    function_id: str
    node_id: str
    seen: str
    started_s: float
    inputs: dict[str, None] = field(default_factory=dict)  #: sent and not answered, in that order
    phases_ms: dict[str, float] = field(default_factory=dict)
    from_spare: bool = False
    stopping: bool = False
    function_name: str = ""


class Containers:
    def __init__(self) -> None:
        self.running: dict[str, Running] = {}
        self._history: deque[Container] = deque(maxlen=HISTORY_MAX)

    def add(self, record: Running) -> Running:
        self.running[record.id] = record
        return record

    def ended(self, container_id: str, reason: str) -> Running | None:
        """Moves it into the history. None: it is not known (any more)."""
        record = self.running.pop(container_id, None)
        if record is not None:
            self._history.append(_value(record, states.EXITED, reason))
        return record

    def get(self, container_id: str) -> Running:
        """
        Raises:
            NotFoundError: no such container runs.
        """
        record = self.running.get(container_id)
        if record is None:
            raise NotFoundError(f"no container {container_id[:40]} runs: `ingle container list` shows those that do")
        return record

    def app_of(self, container_id: str) -> str | None:
        """Of ended ones too, as long as they are remembered."""
        record = self.running.get(container_id)
        if record is not None:
            return record.app_id
        return next((c.app_id for c in self._history if c.id == container_id), None)

    def values(self, with_ended: bool = False) -> list[Container]:
        now = [_value(r, states.STOPPING if r.stopping else r.seen, "") for r in self.running.values()]
        return [*self._history, *now] if with_ended else now

    def on_node(self, node_id: str) -> list[Running]:
        return [r for r in self.running.values() if r.node_id == node_id]


def _value(record: Running, state: str, reason: str) -> Container:
    return Container(
        record.id,
        record.app_id,
        record.function_id,
        record.node_id,
        state,
        record.started_s,
        list(record.inputs),
        dict(record.phases_ms),
        record.from_spare,
        reason,
        record.function_name,
    )
