"""A server that speaks the node wire and does what a test says, and a place to run an Agent without containers."""

import asyncio
import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from ingle.model.function import FunctionSpec
from ingle.model.image import ImageSpec
from ingle.wire import node as w
from ingle.wire.api import PutSource, SourceFile
from ingle.wire.codec import split

TOKEN = "node-token"
WAIT_S = 10.0


class StubServer:
    """`said`: every (message, payload) of the node, in order. Acknowledges outputs and logs unless told not to."""

    def __init__(self, blobs: Path):
        self.blobs = blobs
        self.said: list[tuple[Any, bytes]] = []
        self.acknowledge = True
        self.acknowledge_logs = True
        self.share_disk = True
        self.unwanted: list[str] = []
        self.refuse: int | None = None
        self.connections = 0
        self._news = asyncio.Event()
        self._sock: web.WebSocketResponse | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self.blobs.mkdir(exist_ok=True, parents=True)
        (self.blobs / "probe").write_text("server-1")
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/node", self._node)
        app.router.add_put("/v1/blobs/{blob}", self._put)
        app.router.add_get("/v1/blobs/{blob}", self._get)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._sock is not None:
            await self._sock.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def cut(self) -> None:
        """The connection breaks."""
        assert self._sock is not None
        self._sock._req.transport.abort()
        self._sock = None

    async def tell(self, message: object, payload: bytes | list = b"") -> None:
        assert self._sock is not None
        await self._sock.send_bytes(w.CODEC.encode(message, payload))

    async def heard(self, kind: type, when=lambda m: True, after: int = 0) -> tuple[Any, bytes]:
        """The first such message, waited for."""

        async def look():
            while True:
                for message, payload in self.said[after:]:
                    if type(message) is kind and when(message):
                        return message, payload
                self._news.clear()
                await self._news.wait()

        try:
            return await asyncio.wait_for(look(), WAIT_S)
        except asyncio.TimeoutError:
            raise AssertionError(
                f"no {kind.__name__}; heard {[repr(m)[:400] for m, _ in self.said[after:]][-30:]}"
            ) from None

    def all(self, kind: type) -> list[Any]:
        return [m for m, _ in self.said if type(m) is kind]

    def outputs(self) -> list[tuple[str, str, bytes]]:
        found = []
        for message, payload in self.said:
            if type(message) is w.NodeOutputs:
                found += zip(message.inputs, message.outcomes, split(payload, message.sizes), strict=True)
        return found

    async def output(self, input: str) -> tuple[str, Any]:
        """Outcome and payload, unpickled if it returned."""
        message, payload = await self.heard(w.NodeOutputs, lambda m: input in m.inputs)
        at = message.inputs.index(input)
        piece = split(payload, message.sizes)[at]
        if at in message.blobs:
            piece = (self.blobs / piece.decode()).read_bytes()
        return message.outcomes[at], pickle.loads(piece) if message.outcomes[at] == "returned" and piece else piece

    def lines(self) -> list[tuple[str, str, str]]:
        return [(line.stream, line.input, line.text) for m in self.all(w.NodeLogs) for line in m.lines]

    async def _node(self, request: web.Request) -> web.StreamResponse:
        if self.refuse:
            return web.Response(status=self.refuse)
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        sock = web.WebSocketResponse(max_msg_size=1 << 30)
        await sock.prepare(request)
        async for frame in sock:
            if frame.type is not WSMsgType.BINARY:
                break
            message, payload = w.CODEC.decode(frame.data)
            self.said.append((message, bytes(payload)))
            if type(message) is w.NodeHello:
                self._sock = sock
                self.connections += 1
                path = str(self.blobs) if self.share_disk else ""
                await self.tell(w.NodeWelcome("server-1", self.unwanted, path, "probe"))
            elif type(message) is w.NodeOutputs and self.acknowledge:
                await self.tell(w.AckNodeOutputs(message.inputs))
            elif type(message) is w.NodeLogs and self.acknowledge_logs:
                await self.tell(w.AckLogs(message.container))
            self._news.set()
        return sock

    async def _put(self, request: web.Request) -> web.Response:
        (self.blobs / request.match_info["blob"]).write_bytes(await request.read())
        return web.json_response({})

    async def _get(self, request: web.Request) -> web.Response:
        file = self.blobs / request.match_info["blob"]
        return web.Response(body=file.read_bytes()) if file.exists() else web.Response(status=404)


async def until(condition: Callable[[], object], bound_s: float = WAIT_S) -> None:
    """Returns when it is true, looked at in every turn of the loop.

    Raises:
        AssertionError: it does not become true.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + bound_s
    while not condition():
        assert loop.time() < end, "it did not become true"
        await asyncio.sleep(0.001)


def function(name: str = "f", module: str = "user", **more: Any) -> FunctionSpec:
    more.setdefault("image", ImageSpec("3.11"))
    return FunctionSpec("fu-1", "ap-1", name, module, name, **more)


def put_source(server: StubServer, source: str, files: dict[str, str]) -> None:
    """The files of a source, and its manifest, as the server keeps them."""
    listed = []
    for path, text in files.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        (server.blobs / f"bl-{digest}").write_text(text)
        listed.append(SourceFile(path, digest, len(text)))
    (server.blobs / source).write_text(json.dumps(asdict(PutSource(listed))))


def arguments(*args: Any, **kwargs: Any) -> bytes:
    return pickle.dumps((args, kwargs))
