"""Calls and their inputs as records: state only, no rules."""

from dataclasses import dataclass, field
from typing import Any

from ingle.model.call import SPAWN
from ingle.server.function import Function
from ingle.server.generator import Items
from ingle.server.session import Session


class Call:
    """A call with inputs that have not ended, or whose outputs have not been acknowledged."""

    __slots__ = (
        "accepting",
        "cancelled",
        "closed",
        "function",
        "id",
        "inputs",
        "kind",
        "pending",
        "session",
        "spawned",
    )

    def __init__(self, call_id: str, kind: str, function: Function, session: Session | None):
        self.id = call_id
        self.kind = kind
        self.spawned = kind == SPAWN
        self.function = function
        self.session: Any = session  #: a Session: who gets the outputs; None of spawned calls after a restart
        self.inputs: dict[int, Input] = {}
        self.pending = 0
        self.accepting = 0  #: writes of spawned inputs that are under way
        self.cancelled = False
        self.closed = False  #: nobody wants its outputs


class Input:
    """One input. States: pending; answered (`answer` is set, the scheduler has not said yet whether it stands); ended (`outcome` is set)."""

    __slots__ = (
        "answer",
        "blob",
        "call",
        "id",
        "items",
        "link",
        "number",
        "outcome",
        "output",
        "output_blob",
        "payload",
        "stored",
    )

    def __init__(self, input_id: str, call: Call, number: int, payload: bytes | None, blob: bool = False):
        self.id = input_id
        self.call = call
        self.number = number
        self.payload = payload  #: None: it has ended, or (spawned) is only on disk
        self.blob = blob
        self.stored = payload.decode("ascii", "replace") if blob and payload else ""  #: id of its blob
        self.answer: tuple[str, bytes, bool] | None = None
        self.outcome: str | None = None
        self.output: bytes = b""
        self.output_blob = False
        self.items: Items | None = None  #: of a generator
        self.link: Any = None  #: the node that wants to know when the result is on disk


@dataclass(slots=True)
class Stranger:
    """An input that a node holds and nobody has asked for since this server started: its client may still come back."""

    since_s: float  #: monotonic
    container: str
    link: Any = None
    answer: tuple[str, bytes, bool, float] | None = None  #: with the seconds that it ran
    items: list[tuple[int, list[tuple[bytes, bool]]]] = field(
        default_factory=list
    )  #: what it yielded: first number, pieces
