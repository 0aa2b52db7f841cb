"""Everything the scheduler may ask for. The server's loop is the only code that carries these out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartContainer:
    container: str
    node: str
    function: str
    queued_s: float  #: how long the oldest waiting input has waited


@dataclass(frozen=True, slots=True)
class StopContainer:
    container: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class SendInputs:
    container: str
    node: str
    inputs: list[str]


@dataclass(frozen=True, slots=True)
class RecallInputs:
    """Take back those that have not begun."""

    container: str
    node: str


@dataclass(frozen=True, slots=True)
class CancelInput:
    """It runs: interrupt it."""

    container: str
    node: str
    input: str


@dataclass(frozen=True, slots=True)
class EndInputs:
    """These are over: what their last attempt answered stands (`verdict` "answered"), or there is no answer to come and
    `reason` says why (`verdict`: "cancelled"; "start_failed": reason is ContainerExited.start_error; "fault": its `fault`;
    "unplaceable"; "lost": its container died too often under it)."""

    inputs: list[str]
    verdict: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryInput:
    """The last attempt's answer does not stand: forget it (and a generator's items); another attempt comes."""

    input: str
    attempt: int  #: of the coming one, from 1
    delay_s: float


@dataclass(frozen=True, slots=True)
class Explain:
    """Tell people why inputs of this function wait; "" when they no longer do."""

    function: str
    text: str


Command = StartContainer | StopContainer | SendInputs | RecallInputs | CancelInput | EndInputs | RetryInput | Explain
