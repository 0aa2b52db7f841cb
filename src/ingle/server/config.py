"""What a server is told at its start."""

from dataclasses import dataclass
from pathlib import Path

DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    state: Path | None  #: the state directory; None: keep everything in memory (for tests)
    host: str = "127.0.0.1"
    port: int = 7090  #: 0: any free one
    token: str = ""
    node_token: str = ""
    session_grace_s: float = 15.0  #: a client that lost its connection has so long to come back
    restart_grace_s: float = 30.0  #: the same, after a start of the server
    node_grace_s: float = 3.0  #: a node whose socket closed has so long to come back
    stranger_s: float = 60.0  #: an answer to an unknown input waits so long for the client who asked
    results_kept_s: float = 7 * DAY_S
    logs_kept_s: float = 7 * DAY_S
    blobs_kept_s: float = DAY_S  #: a blob that nothing names
    sources_kept_s: float = 7 * DAY_S  #: a source tree that no running app uses, and its files
    app_log_bytes_max: int = 64 << 20
