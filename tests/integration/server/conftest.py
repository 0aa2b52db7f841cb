"""A real server in the test's own process, with a node and clients that the test plays itself."""

import asyncio
import contextlib
import itertools
import json

import aiohttp
import pytest

from ingle.model import ids
from ingle.model.node import Node
from ingle.model.resources import Resources
from ingle.server.main import Server, ServerConfig
from ingle.wire import api, node
from ingle.wire.codec import split
from ingle.wire.errors import unpack_failure

DEADLINE_S = 10.0
HEADERS = {"Ingle-Wire": "1"}


def bearer(token):
    return HEADERS | {"Authorization": f"Bearer {token}"}


class Wire:
    """One WebSocket with a list of all that came, and waiting for what will."""

    def __init__(self, codec):
        self.codec = codec
        self.got = []
        self.news = asyncio.Event()
        self.closed = None
        self.http = None

    async def connect(self, url, token):
        if self.http is not None:
            await self.drop()
        self.http = aiohttp.ClientSession()
        self.ws = await self.http.ws_connect(url, headers=bearer(token), max_msg_size=0)
        self.reading = asyncio.ensure_future(self._read())

    async def _read(self):
        async for message in self.ws:
            said = self.codec.decode(message.data)
            self.got.append(said)
            self.heard(*said)
            self.news.set()
        self.closed = self.ws.close_code
        self.news.set()

    def heard(self, message, payload):
        pass

    async def say(self, message, payload=b""):
        await self.ws.send_bytes(self.codec.encode(message, payload))

    async def until(self, condition, what=""):
        async def look():
            while not (found := condition()):
                self.news.clear()
                await self.news.wait()
            return found

        try:
            return await asyncio.wait_for(look(), DEADLINE_S)
        except asyncio.TimeoutError:
            raise AssertionError(f"never came: {what}; got {[m for m, _ in self.got][-20:]}") from None

    async def wait(self, kind, **fields):
        def found():
            for message, payload in self.got:
                if isinstance(message, kind) and all(getattr(message, k) == v for k, v in fields.items()):
                    return message, payload
            return None

        return await self.until(found, f"{kind.__name__} {fields}")

    async def drop(self):
        """As when the cable is cut."""
        self.reading.cancel()
        transport = self.ws.get_extra_info("socket") and self.ws._response.connection
        if transport:
            transport.transport.abort()
        await self.http.close()
        self.http = None

    async def close(self):
        self.reading.cancel()
        with contextlib.suppress(Exception):
            await self.ws.close()
        if self.http is not None:
            await self.http.close()


class Client(Wire):
    def __init__(self, session=None):
        super().__init__(api.CODEC)
        self.session = session or ids.new_id(ids.SESSION)
        self.outputs = {}
        self.times = {}

    async def open(self, server):
        await self.connect(server.url + "/v1/session", server.config.token)
        await self.say(api.Hello(self.session, 1))
        await self.wait(api.Welcome)
        return self

    def heard(self, message, payload):
        if isinstance(message, api.Outputs):
            for one, outcome, piece in zip(
                message.inputs, message.outcomes, split(payload, message.sizes), strict=True
            ):
                self.outputs[one] = (outcome, piece)
                self.times[one] = self.times.get(one, 0) + 1

    async def put(self, function, payloads, kind="map", call=None, first=0, blobs=()):
        call = call or ids.new_id(ids.CALL)
        sizes = [len(p) for p in payloads]
        await self.say(api.PutInputs(call, function, kind, first, sizes, list(blobs)), b"".join(payloads))
        return call

    async def output(self, call, number=0):
        name = f"{call}:{number}"
        return await self.until(lambda: self.outputs.get(name), f"output of {name}")

    async def failure(self, call, number=0):
        outcome, payload = await self.output(call, number)
        assert outcome == "failed", (outcome, payload)
        return unpack_failure(payload)

    async def call(self, function, payload, kind="remote"):
        return await self.output(await self.put(function, [payload], kind))


class FakeNode(Wire):
    """Starts containers at once and answers each input with `run(function, payload)`, unless told otherwise."""

    def __init__(self, name="n1", boot="b1", capacity=None):
        super().__init__(node.CODEC)
        self.node = Node("no-" + name, name, capacity or Resources(8000, 8192), boot)
        self.containers = {}
        self.inputs = {}  # by container: what it holds, in order
        self.states = {}  # by container, where it is not "ready"
        self.ran = []
        self.acked = []
        self.stopped = []
        self.answering = True
        self.starting = True
        self.run = lambda function, payload: ("returned", payload)
        self.sent = lambda message: None  # hears of each SendInputs first
        self.unsaid = []

    async def open(self, server, reports=None):
        await self.connect(server.url + "/v1/node", server.config.node_token)
        reports = self.reports() if reports is None else reports
        await self.say(node.NodeHello(1, self.node, reports))
        await self.wait(node.NodeWelcome)
        return self

    def reports(self):
        return [
            node.ContainerReport(c, start.function.id, self.states.get(c, "ready"), [i for i, _ in self.inputs[c]])
            for c, start in self.containers.items()
        ]

    def heard(self, message, payload):
        if isinstance(message, node.StartContainer):
            self.containers[message.container] = message
            self.inputs[message.container] = []
            if self.starting:
                self.later(node.ContainerReady(message.container, {"process": 1.0}))
        elif isinstance(message, node.SendInputs):
            self.sent(message)
            pieces = split(payload, message.sizes)
            self.inputs[message.container] += zip(message.inputs, pieces, strict=True)
            if self.answering:
                self.answer(message.container)
        elif isinstance(message, node.StopContainer):
            self.stopped.append(message.container)
            if self.containers.pop(message.container, None):
                self.inputs.pop(message.container)
                self.later(node.ContainerExited(message.container, "stopped", message.reason))
        elif isinstance(message, node.AckNodeOutputs):
            self.acked += message.inputs

    def later(self, message, payload=b""):
        self.saying = asyncio.ensure_future(self.say(message, payload))

    def answer(self, container, count=None):
        held = self.inputs[container]
        now, self.inputs[container] = held[:count], held[len(held[:count]) :]
        function = self.containers[container].function
        results = [self.run(function, payload) for _, payload in now]
        self.ran += [i for i, _ in now]
        self.later(
            node.NodeOutputs(
                container, [i for i, _ in now], [o for o, _ in results], [1.0] * len(now), [len(p) for _, p in results]
            ),
            b"".join(p for _, p in results),
        )

    def answer_all(self):
        for container, held in list(self.inputs.items()):
            if held:
                self.answer(container)


class World:
    """Servers, nodes and clients of one test; all are closed at its end."""

    def __init__(self, state):
        self.state = state
        self.open = []
        self.numbers = itertools.count(1)

    async def server(self, **config):
        config = {"state": self.state, "port": 0, "token": "client-token", "node_token": "node-token"} | config
        server = Server(ServerConfig(**config))
        await server.start()
        self.open.append(server.stop)
        return server

    async def kill(self, server):
        """As kill -9 does: nothing is said or written."""
        self.open.remove(server.stop)
        server.parts.nodes.left = lambda *_: None
        for task in list(server._tasks._running):
            task.cancel()
        for connection in list(server._runner.server.connections):
            connection.force_close()
        for site in list(server._runner.sites):
            await site.stop()
        await server._database.close()

    async def node(self, server, **options):
        reports = options.pop("reports", None)
        fake = FakeNode(**options)
        await fake.open(server, reports)
        self.open.append(fake.close)
        return fake

    async def client(self, server, session=None):
        client = await Client(session).open(server)
        self.open.append(client.close)
        return client

    async def http(self, server, method, path, json_body=None, token=None, headers=None, data=None):
        headers = bearer(server.config.token if token is None else token) if headers is None else headers
        async with aiohttp.ClientSession() as http:
            body = json.dumps(json_body).encode() if json_body is not None else data
            async with http.request(method, server.url + path, headers=headers, data=body) as response:
                raw = await response.read()
                try:
                    return response.status, json.loads(raw)
                except ValueError:
                    return response.status, raw

    async def app(self, server, *names, detached=False, request=None, client=None, **options):
        """An app with these functions; gives its id and theirs."""
        options = {"resources": {"cpu_milli": 100, "memory_mib": 64}} | options
        functions = [
            {"id": "", "app_id": "", "name": n, "module": "m", "qualname": n, "image": {"python": "3.11"}} | options
            for n in names
        ]
        body = {
            "request": request or f"request-{next(self.numbers):08}",
            "name": "test",
            "detached": detached,
            "functions": functions,
        }
        status, made = await self.http(server, "POST", "/v1/apps", body)
        assert status == 200, made
        if client is not None:
            await client.say(api.Attach(made["app"]))
        return made["app"], *[made["functions"][n] for n in names]

    async def close(self):
        while self.open:
            await self.open.pop()()


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path / "state")
    try:
        yield made
    finally:
        await made.close()
