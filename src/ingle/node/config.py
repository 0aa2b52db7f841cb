"""What a node is told at its start, and the bounds it keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingle.model.resources import Resources
from ingle.node.runtime.base import Runtime

MIB = 1 << 20

#: Outputs that the server has not acknowledged, all containers together; beyond it no container is fed.
UNACKNOWLEDGED_BYTES_MAX = 256 * MIB
#: A result, an argument or a definition that goes by file.
BULK_BYTES_MAX = 16 << 30
#: Connections of programs inside one container.
CLIENTS_MAX = 64
#: One frame of a client inside a container.
CLIENT_FRAME_BYTES_MAX = 16 * MIB
#: What may wait for a client inside a container that does not read.
CLIENT_WAITING_BYTES_MAX = 64 * MIB
#: Containers that are made (until their process runs) at the same time; the others wait their turn.
STARTS_AT_ONCE_MAX = 16
#: From CANCEL to SIGKILL.
CANCEL_GRACE_S = 2.0
#: After the end of its process: until its pipes and files are read out.
DRAIN_S = 5.0
#: Between two attempts to reach the server.
DIAL_FIRST_S = 0.1
DIAL_MAX_S = 2.0
#: Messages without acknowledgement (ready, exited …) that were said so shortly before a connection broke are said again.
SAY_AGAIN_S = 5.0
#: Dead containers whose end the server may not have heard of.
LIVES_MAX = 2000
#: `Agent.start` waits so long for the server; it goes on trying afterwards.
WELCOME_WAIT_S = 5.0
#: For a node before this one on the same state directory to end.
LOCK_WAIT_S = 15.0
LOCK_PAUSE_S = 0.05
#: All of `Agent.stop`.
STOP_S = 20.0
#: One container's tear-down.
TEAR_DOWN_S = 20.0


@dataclass(slots=True)
class NodeConfig:
    """`runtime`, `kernel` and `capacity` are found out when they are None."""

    state: Path  #: the state directory; the node keeps its things in `node/` below it
    server_url: str
    token: str  #: the node's
    name: str = ""  #: host name
    runtime: Runtime | None = None
    kernel: Any = None
    capacity: Resources | None = None
    spares: bool = True
    spares_max: int = 4
    spare_delay_s: float = 0.25  #: the node is calm for so long before it makes a spare
    network_pool: int = 4
    dial_first_s: float = DIAL_FIRST_S
    dial_max_s: float = DIAL_MAX_S
