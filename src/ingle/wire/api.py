"""The api wire: client (laptop, or a program inside a container) to server.

Control is HTTP/JSON (`ROUTES` below lists it); calls, results and logs share one WebSocket, `/v1/session`, whose
binary messages are frames of these types (see codec.py). A client inside a container speaks the same messages
through its runner socket; the node relays them.

Everything may be said twice. A client that reconnects (same `session` in Hello) says `Attach` and its outstanding
`PutInputs` again; the server runs no input twice that it knows, and answers those that have ended. Outputs are kept
until the client says `AckOutputs`, or its session is over.
"""

from dataclasses import dataclass, field

from ingle.wire.codec import Codec

# ---- client to server


@dataclass(frozen=True, slots=True)
class Hello:
    """First message. `session` is the client's own id, kept over reconnects."""

    session: str
    version: int
    app: str | None = None  #: set by the node for clients inside containers; ignored from laptops


@dataclass(frozen=True, slots=True)
class Attach:
    """This session owns the ephemeral app (it ends when the session does), or only watches it; logs and notices follow."""

    app: str
    owner: bool = True
    logs: bool = True


@dataclass(frozen=True, slots=True)
class PutInputs:
    """Inputs `first`, `first + 1`, … of a call, which it opens if it is new. Payload: pickled `(args, kwargs)` each,
    or the id of a blob for the positions in `blobs`."""

    call: str
    function: str
    kind: str  #: model.call.KINDS
    first: int
    sizes: list[int]
    blobs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AckOutputs:
    """These results have arrived; the server may forget them (not those of spawned calls)."""

    inputs: list[str]


@dataclass(frozen=True, slots=True)
class WatchCall:
    """Send `CallState` at once, then the outputs of these inputs of a spawned call (empty: all) as they end."""

    call: str
    indexes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UnwatchCall:
    call: str


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Inputs that wait never run; running ones are interrupted."""

    call: str


@dataclass(frozen=True, slots=True)
class Credit:
    """Of this attempt, as `Yielded` numbers it, so many items have been taken in all: the generator may yield as many
    and YIELDS_AHEAD_MAX more. May be said twice, and is said again after a reconnect; the highest counts."""

    input: str
    attempt: int
    taken: int


@dataclass(frozen=True, slots=True)
class CloseCall:
    """The client has no more use for this remote, map or generator call: cancel what is left and forget it."""

    call: str


# ---- server to client


@dataclass(frozen=True, slots=True)
class Welcome:
    """`blobs_path`, `blobs_probe`: as in wire.node.NodeWelcome, for a client on the server's machine."""

    server: str  #: new at every start of the server
    blobs_path: str = ""
    blobs_probe: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The spawned inputs `first` … `first + count - 1` are on disk."""

    call: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Outputs:
    """Ended inputs. Payload: what model.call says for each outcome, or a blob id for the positions in `blobs`."""

    inputs: list[str]
    outcomes: list[str]
    sizes: list[int]
    blobs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Yielded:
    """Items `first`, … of a generator's input, from the attempt of that number. A new attempt starts at 0 again."""

    input: str
    attempt: int
    first: int
    sizes: list[int]
    blobs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CallState:
    """Answer to WatchCall. `known` is false for a call that never was or has expired."""

    call: str
    known: bool
    inputs: int = 0
    ended: int = 0
    function: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    at_s: float  #: since the epoch
    container: str
    input: str  #: "" while the container starts or is idle
    function: str  #: its name
    stream: str  #: "stdout", "stderr" or "system"
    text: str  #: without the newline


@dataclass(frozen=True, slots=True)
class Logs:
    app: str
    lines: list[LogLine]


@dataclass(frozen=True, slots=True)
class Notice:
    """Progress for people. `topic` names what it is about (an image or function id); a later notice on the same
    topic replaces the earlier one. `kind`: image, container, waiting, warning."""

    app: str
    kind: str
    topic: str
    text: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class AppEnded:
    app: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The last message about `call` (or, if empty, this session) could not be taken."""

    code: str  #: wire.errors.TABLE
    message: str
    call: str = ""


CODEC = Codec(
    Hello, Attach, PutInputs, AckOutputs, WatchCall, UnwatchCall, CancelCall, Credit, CloseCall,
    Welcome, Accepted, Outputs, Yielded, CallState, Logs, Notice, AppEnded, Refused,
)  # fmt: skip

# ---- HTTP: every route needs `Authorization: Bearer <token>` and the version header. Errors are Failure as JSON.


@dataclass(frozen=True, slots=True)
class SourceFile:
    path: str  #: relative to /root, with forward slashes
    sha256: str
    size: int
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class PutSource:
    """POST /v1/sources: a tree of files. The body of POST /v1/sources/{id}/files is, for each missing file,
    32 raw bytes of SHA-256, a little-endian u64 size, the bytes."""

    files: list[SourceFile]


@dataclass(frozen=True, slots=True)
class SourceState:
    source: str
    missing: list[str]  #: SHA-256 of files that the server does not have


@dataclass(frozen=True, slots=True)
class CreateApp:
    """POST /v1/apps. `functions` are model.function.FunctionSpec as JSON with empty `id` and `app_id`.
    `request` is the client's own id for this: said twice, it makes one app."""

    request: str
    name: str
    detached: bool
    functions: list[dict]


@dataclass(frozen=True, slots=True)
class CreatedApp:
    app: str
    functions: dict[str, str]  #: name to id


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """GET /v1/status."""

    version: str
    wire: int
    pid: int
    nodes: list[dict]
    apps: int
    containers: int
    calls_queued: int
    calls_running: int


ROUTES = (
    ("GET", "/v1/status"),  # ServerStatus
    ("POST", "/v1/sources"),  # PutSource -> SourceState
    ("POST", "/v1/sources/{source}/files"),  # raw -> {}
    ("PUT", "/v1/blobs/{blob}"),  # raw -> {}; said twice with the same id, the first stays
    ("GET", "/v1/blobs/{blob}"),  # -> raw
    ("GET", "/v1/apps"),  # -> [model.app.App]; ?all=1 with stopped ones
    ("POST", "/v1/apps"),  # CreateApp -> CreatedApp
    ("POST", "/v1/apps/{app}/stop"),  # {} -> {}; by id or name
    ("GET", "/v1/apps/{app}/logs"),  # -> NDJSON of LogLine; ?container= ?call= ?tail=N ?follow=1
    ("GET", "/v1/containers"),  # -> [model.container.Container]; ?all=1 with exited ones
    ("POST", "/v1/containers/{container}/stop"),  # {} -> {}
    ("GET", "/v1/containers/{container}/logs"),  # as for apps
    ("GET", "/v1/containers/{container}/exec"),  # WebSocket, ?argv=JSON&tty=0|1&rows=&cols=: binary to stdin; from it: first byte 1 stdout, 2 stderr, 3 JSON {"code": n}
    ("GET", "/v1/session"),  # WebSocket of the frames above
    ("GET", "/v1/node"),  # WebSocket of wire.node; wants the node's token
)
