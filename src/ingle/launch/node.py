"""The node's process."""

import socket
from pathlib import Path
from typing import Any

from ingle.launch import service
from ingle.launch.state import State


def choose_runtime(name: str, state: Path) -> Any:
    """The runtime of that name: auto (crun where it works, else runc), crun, runc or fake (no container; for tests).

    Raises:
        SetupError: it is not there, or does not work here.
    """
    if name == "fake":
        from ingle.node.runtime.fake import FakeRuntime

        return FakeRuntime()
    from ingle.node import runtime

    root = state / "node" / "runtime"
    return runtime.choose(root) if name == "auto" else runtime.OciRuntime(name, root / name)


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
                runtime=choose_runtime(runtime, state),
                spares=spares,
            )
        )
        await agent.start()
        return agent, {"text": name}

    return service.run(start)
