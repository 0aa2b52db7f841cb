"""An app: a named group of functions that live and die together."""

from dataclasses import dataclass

RUNNING = "running"
STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class App:
    id: str
    name: str
    state: str  #: RUNNING or STOPPED
    detached: bool  #: lives on without its client
    created_s: float  #: seconds since the epoch
    stopped_s: float | None = None
    stop_reason: str = ""
