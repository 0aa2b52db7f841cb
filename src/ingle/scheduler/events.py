"""Everything that may happen. The scheduler learns of the world through these and nothing else.

Any of them may be said twice, late, or about something that is gone.
"""

from dataclasses import dataclass, field

from ingle.model.function import FunctionSpec
from ingle.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Tick:
    """The time, in seconds on any clock that never goes back. Comes before every batch of events, and at least ten times a second
    while anything is under way."""

    now_s: float


@dataclass(frozen=True, slots=True)
class Held:
    """A container that a node already has when it joins."""

    container: str
    function: str
    ready: bool
    inputs: tuple[
        str, ...
    ]  #: the running one first; ended ones whose outputs the server has not acknowledged among them


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """The node says what it is and has. With another `boot` than before, all that it had is gone."""

    node: str
    boot: str
    capacity: Resources
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeLost:
    node: str


@dataclass(frozen=True, slots=True)
class FunctionAdded:
    """`fail_fast`: waiting inputs fail when containers cannot start for reasons that are not the user's (apps that are not detached);
    where the reason is the user's code they always do."""

    spec: FunctionSpec
    fail_fast: bool


@dataclass(frozen=True, slots=True)
class FunctionRemoved:
    """Its inputs have been ended by whoever removed it; its containers stop."""

    function: str


@dataclass(frozen=True, slots=True)
class InputsQueued:
    """In the order in which they should start."""

    function: str
    inputs: list[str]
    inside: bool = False  #: called by a program in a container: it keeps its room while it waits for them


@dataclass(frozen=True, slots=True)
class InputsCancelled:
    inputs: list[str]


@dataclass(frozen=True, slots=True)
class ContainerReady:
    container: str


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """It is gone. `start_error`: it never was ready, for this reason (opaque: goes into EndInputs). `user_error`: that reason is the
    user's code (an exception at import), which a further start would only repeat. `running`: the input that ran, "" if none.
    `fault`: the exit is that input's own fault (out of memory, time-out, cancel): it counts as a failed attempt and
    this is its reason; "" if the container was only lost. `how`: how it ended, in words, for an input that is given up."""

    container: str
    start_error: str = ""
    user_error: bool = False
    running: str = ""
    fault: str = ""
    how: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended. `good` is False for an exception or a time-out (may be retried)."""

    input: str
    good: bool
    run_s: float


@dataclass(frozen=True, slots=True)
class AttemptsEnded:
    container: str
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class InputsRecalled:
    """The node took these back before they began."""

    container: str
    inputs: list[str]


@dataclass(frozen=True, slots=True)
class ContainerStopAsked:
    """A person asks for this container to stop; its inputs run again elsewhere."""

    container: str


Event = (
    Tick | NodeJoined | NodeLost | FunctionAdded | FunctionRemoved | InputsQueued | InputsCancelled | ContainerReady
    | ContainerExited | AttemptsEnded | InputsRecalled | ContainerStopAsked
)  # fmt: skip
