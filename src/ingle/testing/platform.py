"""A whole platform in the test's own process: server and nodes, port 0, one directory, kept when the test fails."""

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ingle.launch.node import choose_runtime
from ingle.model.resources import Resources
from ingle.testing.leftovers import find_leftovers
from ingle.testing.waiting import wait_until_async


class Platform:
    """`async with Platform(nodes=2) as p:` a server and nodes; `p.env()` makes clients find them.

    Args:
        nodes: how many.
        runtime: "fake" (functions run as plain processes), "real" (crun or runc; needs root; one node), or what makes
            a node's runtime, such as `lambda: FakeRuntime(start="slow")`.
        directory: where everything lies; default: a temporary one, removed when the test passes.
        capacity: of each node, for placement; default: the machine's.
        spares: whether the nodes keep started containers in reserve.
        server: further settings of ServerConfig.
        node: further settings of NodeConfig.

    Attributes:
        server: the running ingle.server.main.Server.
        nodes: the running ingle.node.agent.Agent of each node.
    """

    def __init__(
        self,
        nodes: int = 1,
        runtime: str | Callable[[], Any] = "fake",
        *,
        directory: Path | None = None,
        capacity: Resources | None = None,
        spares: bool = False,
        server: dict[str, Any] | None = None,
        node: dict[str, Any] | None = None,
    ):
        if runtime == "real" and nodes > 1:
            raise ValueError("one machine is one real node: its cgroups and networks are there once")
        self._kept = directory is not None
        self.state = directory or Path(tempfile.mkdtemp(prefix="ingle-platform-"))
        self.token = secrets.token_urlsafe(16)
        self.node_token = secrets.token_urlsafe(16)
        self.runtime, self.capacity, self.spares = runtime, capacity, spares
        self.server: Any = None
        self.nodes: list[Any] = []
        self._count = nodes
        self._server_settings, self._node_settings = server or {}, node or {}
        self._port = 0
        self._runs: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return str(self.server.url)

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a client: what this process has, and where the platform is."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("INGLE_")}
        ours = {"INGLE_SERVER_URL": self.url, "INGLE_TOKEN": self.token, "INGLE_STATE_DIR": str(self.state)}
        return {**kept, **ours, **more}

    # ---- life

    async def __aenter__(self) -> "Platform":
        self._tasks_before = asyncio.all_tasks()
        self._threads_before = set(threading.enumerate())
        try:
            await self.start_server()
            for index in range(self._count):
                await self.start_node(index)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._stop()
        left = await self._left()
        if kind is not None or left:
            print(f"the platform's directory is kept: {self.state}", file=sys.stderr)
        elif not self._kept:
            shutil.rmtree(self.state, ignore_errors=True)
        if kind is None:
            assert not left, "left behind:\n" + "\n".join(left)

    async def start_server(self) -> None:
        """Start the server; after `stop_server` on the port that it had."""
        from ingle.server.main import Server, ServerConfig

        config = ServerConfig(
            state=self.state, port=self._port, token=self.token, node_token=self.node_token, **self._server_settings
        )
        self.server = Server(config)
        await self.server.start()
        self._port = int(self.url.rpartition(":")[2])

    async def stop_server(self) -> None:
        """Stop the server; containers and clients live on."""
        await self.server.stop()

    async def start_node(self, index: int) -> Any:
        """Start another node; returns its Agent."""
        from ingle.node.agent import Agent, NodeConfig

        state = self.state if self.runtime == "real" else self.state / f"node-{index}"
        if callable(self.runtime):
            runtime = self.runtime()
        else:
            runtime = choose_runtime("fake" if self.runtime == "fake" else "auto", state)
        config = NodeConfig(
            state=state,
            server_url=self.url,
            token=self.node_token,
            name=f"node-{index}",
            runtime=runtime,
            capacity=self.capacity,
            spares=self.spares,
            **self._node_settings,
        )
        agent = Agent(config)
        await agent.start()
        self._runs.append(asyncio.create_task(agent.run(), name=f"node-{index}"))
        self.nodes.append(agent)
        return agent

    async def stop_node(self, index: int) -> None:
        """Stop a node in good order; its containers end."""
        await self.nodes[index].stop()

    async def _stop(self) -> None:
        for agent in self.nodes:
            await agent.stop()
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        if self.server is not None:
            await self.server.stop()

    async def _left(self) -> list[str]:
        """What must not be there any more: tasks, threads of ours, and things on the machine."""

        def tasks() -> set[asyncio.Task[Any]]:
            return asyncio.all_tasks() - self._tasks_before - {asyncio.current_task()}  # type: ignore[arg-type]

        try:
            await wait_until_async(lambda: not tasks(), "the tasks end", 2.0)
        except AssertionError:
            pass
        left = [f"task {task.get_name()}: {task.get_coro()}" for task in tasks()]
        threads = set(threading.enumerate()) - self._threads_before
        # The loop's own pool of threads stays with the loop.
        left += [f"thread {t.name}" for t in threads if not t.name.startswith("asyncio_") and not t.daemon]
        return left + find_leftovers(self.state)
