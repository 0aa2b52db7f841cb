"""The node's process."""

import socket
from pathlib import Path
from typing import Any

from ingle.launch import service
from ingle.launch.state import State


def choose_runtime(name: str) -> Any:
    """The runtime of that name: crun, runc or fake (no container at all; for tests); auto: None, the node chooses.

    Raises:
        SetupError: it is not there, or does not work here.
    """
    if name == "auto":
        return None
    if name == "fake":
        from ingle.node.runtime.fake import FakeRuntime

        return FakeRuntime()
    from ingle.node.runtime.oci import OciRuntime

    return OciRuntime(name)


def run_node(state: Path, url: str, runtime: str, spares: bool) -> int:
    """Run containers for the server until SIGTERM; returns the exit code."""

    async def start() -> tuple[service.Service, dict[str, Any]]:
        from ingle.node.agent import Agent, NodeConfig

        name = socket.gethostname()
        agent = Agent(
            NodeConfig(
                state=state,
                server_url=url,
                token=State(state).node_token(),
                name=name,
                runtime=choose_runtime(runtime),
                spares=spares,
            )
        )
        await agent.start()
        return agent, {"text": name}

    return service.run(start)
