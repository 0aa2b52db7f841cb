"""A container as others see it."""

from dataclasses import dataclass, field

STARTING = "starting"
READY = "ready"  # the function is loaded; idle or busy
STOPPING = "stopping"
EXITED = "exited"

#: The phases of a start, in order; each is the time, in milliseconds, that it took.
PHASES = ("queued", "placed", "image", "mounts", "network", "process", "import", "enter", "ready")


@dataclass(frozen=True, slots=True)
class Container:
    id: str
    app_id: str
    function_id: str
    node_id: str
    state: str
    started_s: float = 0.0
    inputs: list[str] = field(default_factory=list)  #: held now, the running one first
    phases_ms: dict[str, float] = field(default_factory=dict)
    from_spare: bool = False
    exit_reason: str = ""
    function_name: str = ""
