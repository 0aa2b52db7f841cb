"""The node wire: one WebSocket, `/v1/node`, that the node dials; frames as in codec.py.

Containers belong to the node. When the server is away the node runs on, keeps outputs until they are acknowledged,
dials again and says in its `NodeHello` what it has; the server answers with what it does not want any more.
Everything may be said twice.
"""

from dataclasses import dataclass, field

from ingle.model.function import FunctionSpec
from ingle.model.image import ImageSpec
from ingle.model.node import Node
from ingle.wire.api import LogLine
from ingle.wire.codec import Codec

# ---- node to server


@dataclass(frozen=True, slots=True)
class ContainerReport:
    container: str
    function: str
    state: str  #: model.container
    inputs: list[str]  #: held, the running one first; and those whose outputs are not acknowledged


@dataclass(frozen=True, slots=True)
class NodeHello:
    version: int
    node: Node
    containers: list[ContainerReport]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Every HEARTBEAT_S; the server gives a node up after LOST_S without one."""

    free_memory_mib: int
    containers: int


HEARTBEAT_S = 2.0
LOST_S = 10.0


@dataclass(frozen=True, slots=True)
class ContainerReady:
    container: str
    phases_ms: dict[str, float]
    from_spare: bool = False


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """It is gone, and its inputs with it. `outcome` and the payload say what its waiting calls should be told if it
    never was ready (RAISED: an exception from the import; FAILED: a Failure), else they are empty.
    `cause`: stopped, start_failed, killed (from outside), exited (by itself), out_of_memory, timeout, cancelled."""

    container: str
    cause: str
    message: str  #: for people, such as "killed at its memory limit of 128 MiB"
    outcome: str = ""
    lost: list[str] = field(default_factory=list)  #: inputs that were not running yet: never begun
    running: str = ""  #: the input that was running


@dataclass(frozen=True, slots=True)
class NodeOutputs:
    """Attempts that ended. `runs_ms`: from the start of the body to its end."""

    container: str
    inputs: list[str]
    outcomes: list[str]
    runs_ms: list[float]
    sizes: list[int]
    blobs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NodeYielded:
    container: str
    input: str
    first: int
    sizes: list[int]
    blobs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recalled:
    """Answer to RecallInputs: these were taken back before they began."""

    container: str
    inputs: list[str]


@dataclass(frozen=True, slots=True)
class NodeLogs:
    """Each is answered by an AckLogs. While one is unanswered the node reads that container's pipes only to send what an
    ended input printed before its output (1 MiB unanswered at most)."""

    container: str
    app: str
    lines: list[LogLine]


@dataclass(frozen=True, slots=True)
class ImageState:
    """Progress of a build: a line of output, or its end (`done`; `error` says why it failed)."""

    image: str
    line: str = ""
    done: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class FromClient:
    """A frame of the api wire (the payload) from a client inside a container. `closed`: that client is gone."""

    container: str
    client: str
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ExecOutput:
    """Payload: bytes of `stream` (1 stdout, 2 stderr); or the end, with its exit code."""

    exec: str
    stream: int
    code: int | None = None


# ---- server to node


@dataclass(frozen=True, slots=True)
class NodeWelcome:
    """`unwanted`: containers to stop. `blobs_url`: a directory the node can use directly if it is on the same machine."""

    server: str
    unwanted: list[str] = field(default_factory=list)
    blobs_path: str = ""
    blobs_probe: str = ""  #: name of a file under blobs_path, with `server` as its content: proves it is the same disk


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Build it if it is not there; ImageState answers, at least once with `done`."""

    image: ImageSpec


@dataclass(frozen=True, slots=True)
class StartContainer:
    """`app_functions`: name to id of every function of the app, for calls from inside."""

    container: str
    function: FunctionSpec
    app_functions: dict[str, str]
    queued_ms: float = 0.0
    app_name: str = ""


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Bounded: SIGTERM to the runner, `grace_s`, then SIGKILL."""

    container: str
    reason: str
    grace_s: float = 2.0


@dataclass(frozen=True, slots=True)
class SendInputs:
    container: str
    inputs: list[str]
    sizes: list[int]
    blobs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CancelInput:
    container: str
    input: str


@dataclass(frozen=True, slots=True)
class RecallInputs:
    """Take back what has not begun."""

    container: str


@dataclass(frozen=True, slots=True)
class AckNodeOutputs:
    inputs: list[str]


@dataclass(frozen=True, slots=True)
class AckLogs:
    container: str


@dataclass(frozen=True, slots=True)
class GrantYields:
    """As api.Credit, for the attempt that this container runs or ran last. It is said again after each NodeHello."""

    container: str
    input: str
    taken: int


@dataclass(frozen=True, slots=True)
class ToClient:
    """A frame of the api wire (the payload) for a client inside a container."""

    container: str
    client: str
    closed: bool = False


@dataclass(frozen=True, slots=True)
class StartExec:
    exec: str
    container: str
    argv: list[str]
    tty: bool = False
    rows: int = 24
    cols: int = 80


@dataclass(frozen=True, slots=True)
class ExecInput:
    """Payload: bytes for stdin. `eof`: no more will come. `gone`: kill it."""

    exec: str
    eof: bool = False
    gone: bool = False
    rows: int = 0  #: with cols: the window has this size now
    cols: int = 0


CODEC = Codec(
    NodeHello, Heartbeat, ContainerReady, ContainerExited, NodeOutputs, NodeYielded, Recalled, NodeLogs, ImageState,
    FromClient, ExecOutput,
    NodeWelcome, EnsureImage, StartContainer, StopContainer, SendInputs, CancelInput, RecallInputs, AckNodeOutputs,
    AckLogs, GrantYields, ToClient, StartExec, ExecInput,
)  # fmt: skip
