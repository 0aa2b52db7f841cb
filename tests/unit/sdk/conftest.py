"""A server that the SDK's tests play themselves: it speaks the api wire from a thread, and runs functions in itself."""

import asyncio
import base64
import hashlib
import inspect
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

import ingle
from ingle.runner import raised
from ingle.sdk import connection
from ingle.wire import api
from ingle.wire.codec import split
from ingle.wire.errors import Failure

TOKEN = "a-token"
DEADLINE_S = 10.0
SRC = Path(ingle.__file__).parent.parent
#: What the runner does, in short: imports the module, calls the function, pickles what comes of it.
CONTAINER = """
import base64, importlib, pickle, sys
module, qualname, definition, src = sys.argv[1:]
sys.path[:0] = [".", src]
from ingle.runner import payload, raised
try:
    if definition:
        function = pickle.loads(base64.b64decode(definition))
    else:
        function = getattr(importlib.import_module(module), qualname)
        function = getattr(function, "_ingle_raw", function)
    args, kwargs = pickle.loads(sys.stdin.buffer.read())
    answer = "returned", payload.dump(function(*args, **kwargs))[0]
except BaseException as error:
    answer = "raised", raised.pack(error)
sys.stdout.buffer.write(pickle.dumps(answer))
"""


class Stub:
    """Holds what it was told in plain attributes, which tests read.

    Attributes:
        functions: what runs for each function id, `fu-<name>`.
        heard: every message of every session, in order.
        runs: input ids in the order in which they ran.
        hold: while set, inputs wait; `release` lets them run.
        containers: a directory: functions run in processes of their own, from shipped files.
    """

    def __init__(self):
        self.functions, self.apps, self.sources, self.files, self.blobs = {}, {}, {}, {}, {}
        self.heard, self.runs, self.sessions, self.manifests = [], [], {}, []
        self.inputs, self.results, self.calls, self.credits = {}, {}, {}, {}
        self.refuse_ws = self.version_error = False
        self.stopped, self.watches = [], {}
        self.connections = 0
        self.hold = False
        self.containers = None
        self.news = threading.Condition()
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.ready.wait(DEADLINE_S)

    # ---- for tests

    def call(self, function):
        """Runs a function in the server's loop."""

        async def run():
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(DEADLINE_S)

    def drop(self):
        """Cuts every connection."""

        def cut():
            for ws in list(self.sessions.values()):
                ws._req.transport.abort()

        self.call(cut)

    def release(self):
        self.hold = False
        self.call(lambda: [self._start(*waiting) for waiting in self._take_held()])

    def _take_held(self):
        held, self.held = self.held, []
        return held

    def said(self, kind):
        return [message for message in self.heard if isinstance(message, kind)]

    def wait(self, condition):
        with self.news:
            assert self.news.wait_for(condition, DEADLINE_S), f"never came; heard {self.heard[-10:]}"

    def tell(self, message, payload=b""):
        self.call(lambda: [self._send(ws, message, payload) for ws in list(self.sessions.values())])

    def tell_raw(self, frame):
        self.call(lambda: [asyncio.ensure_future(ws.send_bytes(frame)) for ws in list(self.sessions.values())])

    def close(self):
        async def end():
            for ws in list(self.sessions.values()):
                await ws.close()
            await self.runner.cleanup()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(DEADLINE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_S)
        self.loop.close()

    # ---- the server

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.held = []
        self.loop.run_until_complete(self._listen())
        self.ready.set()
        self.loop.run_forever()

    async def _listen(self):
        app = web.Application(client_max_size=1 << 30, middlewares=[self._check])
        app.router.add_post("/v1/apps", self._create)
        app.router.add_post("/v1/apps/{app}/stop", self._stop)
        app.router.add_post("/v1/sources", self._source)
        app.router.add_post("/v1/sources/{source}/files", self._files)
        app.router.add_put("/v1/blobs/{blob}", self._put_blob)
        app.router.add_get("/v1/blobs/{blob}", self._get_blob)
        app.router.add_get("/v1/session", self._session)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    @web.middleware
    async def _check(self, request, handler):
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, body=Failure("auth", "wrong token").pack())
        if self.version_error or request.headers.get("Ingle-Wire") != "1":
            return web.Response(status=426, body=Failure("version", "this server speaks wire version 9").pack())
        if self.refuse_ws and request.path == "/v1/session":
            return web.Response(status=503, body=b"busy")
        return await handler(request)

    async def _create(self, request):
        said = await request.json()
        app = f"ap-{len(self.apps)}"
        self.apps[app] = said
        return web.json_response({"app": app, "functions": {f["name"]: "fu-" + f["name"] for f in said["functions"]}})

    async def _stop(self, request):
        app = request.match_info["app"]
        self.stopped.append(app)
        for ws in self.sessions.values():
            self._send(ws, api.AppEnded(app, "stopped"))
        return web.json_response({})

    async def _source(self, request):
        files = (await request.json())["files"]
        self.manifests.append(files)
        source = "so-" + hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
        self.sources[source] = files
        missing = sorted({f["sha256"] for f in files} - set(self.files))
        return web.json_response({"source": source, "missing": missing})

    async def _files(self, request):
        body, at = await request.read(), 0
        while at < len(body):
            size = int.from_bytes(body[at + 32 : at + 40], "little")
            data = body[at + 40 : at + 40 + size]
            assert hashlib.sha256(data).digest() == body[at : at + 32]
            self.files[body[at : at + 32].hex()] = data
            at += 40 + size
        return web.json_response({})

    async def _put_blob(self, request):
        self.blobs[request.match_info["blob"]] = await request.read()
        return web.json_response({})

    async def _get_blob(self, request):
        blob = self.blobs.get(request.match_info["blob"])
        if blob is None:
            return web.Response(status=404, body=Failure("not_found", "no such blob").pack())
        return web.Response(body=blob)

    async def _session(self, request):
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        self.connections += 1
        session = None
        async for frame in ws:
            if frame.type != WSMsgType.BINARY:
                break
            message, payload = api.CODEC.decode(frame.data)
            if isinstance(message, api.Hello):
                session = message.session
                self.sessions[session] = ws
                self._send(ws, api.Welcome("stub"))
            self._hear(session, message, payload)
            with self.news:
                self.heard.append(message)
                self.news.notify_all()
        if self.sessions.get(session) is ws:
            del self.sessions[session]
        return ws

    def _send(self, ws, message, payload=b""):
        if not ws.closed:
            task = self.loop.create_task(ws._writer.send_frame(api.CODEC.encode(message, payload), WSMsgType.BINARY))
            task.add_done_callback(lambda done: done.exception())

    def _hear(self, session, message, payload):
        if isinstance(message, api.PutInputs):
            self._put(session, message, payload)
        elif isinstance(message, api.AckOutputs):
            for input_id in message.inputs:
                if self.calls.get(input_id.rpartition(":")[0]) != "spawn":
                    self.results.pop(input_id, None)
        elif isinstance(message, api.WatchCall):
            self._watch(session, message)
        elif isinstance(message, api.CancelCall):
            for input_id in [i for i in self.inputs if i.startswith(message.call + ":") and i not in self.results]:
                self._end(session, input_id, "failed", Failure("cancelled", "it was cancelled").pack())
        elif isinstance(message, api.Credit):
            self.credits[message.input] = max(self.credits.get(message.input, 64), 64 + message.taken)
            with self.news:
                self.news.notify_all()

    def _put(self, session, message, payload):
        self.calls[message.call] = message.kind
        for offset, data in enumerate(split(payload, message.sizes)):
            input_id = f"{message.call}:{message.first + offset}"
            if input_id in self.inputs:
                if input_id in self.results:
                    self._tell_result(session, input_id)
                continue
            if offset in message.blobs:
                data = self.blobs[data.decode()]
            self.inputs[input_id] = message.function
            if self.hold:
                self.held.append((session, message, input_id, data))
            else:
                self._start(session, message, input_id, data)
        if message.kind == "spawn":
            self._reply(session, api.Accepted(message.call, message.first, len(message.sizes)))

    def _start(self, session, message, input_id, data):
        self.runs.append(input_id)
        self.loop.run_in_executor(None, self._work, session, message, input_id, data)

    def _work(self, session, message, input_id, data):
        try:
            if self.containers is not None:
                outcome, payload = self._contain(message.function, data)
                self.loop.call_soon_threadsafe(self._end, session, input_id, outcome, payload)
                return
            args, kwargs = pickle.loads(data)
            value = self.functions[message.function](*args, **kwargs)
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            if message.kind == "generator":
                self._generate(session, input_id, value)
                value = None
            outcome, payload = "returned", pickle.dumps(value)
        except BaseException as error:
            outcome, payload = "raised", raised.pack(error)
        self.loop.call_soon_threadsafe(self._end, session, input_id, outcome, payload)

    def _contain(self, function, data):
        """Runs it in another process, which has nothing but what was shipped."""
        spec = next(f for f in list(self.apps.values())[-1]["functions"] if "fu-" + f["name"] == function)
        root = self.containers / spec["source"]
        for file in self.sources[spec["source"]]:
            path = root / file["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files[file["sha256"]])
        definition = base64.b64encode(self.blobs.get(spec["definition"], b"")).decode()
        done = subprocess.run(
            [sys.executable, "-c", CONTAINER, spec["module"], spec["qualname"], definition, str(SRC)],
            input=data, capture_output=True, cwd=root, timeout=DEADLINE_S,
            env={"INGLE_CONTAINER": f"co-1\nap-1\napp\n{function}\n{spec['name']}", "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        outcome, payload = pickle.loads(done.stdout)
        return outcome, payload

    def _generate(self, session, input_id, generator):
        for index, item in enumerate(generator):
            with self.news:
                assert self.news.wait_for(lambda index=index: index < self.credits.get(input_id, 64), DEADLINE_S)
            data = pickle.dumps(item)
            message = api.Yielded(input_id, 0, index, [len(data)])
            self.loop.call_soon_threadsafe(self._reply, session, message, data)

    def _end(self, session, input_id, outcome, payload):
        if input_id not in self.results:
            self.results[input_id] = (outcome, payload)
            if self.calls[input_id.rpartition(":")[0]] != "spawn":
                self._tell_result(session, input_id)
            for watcher, (call, indexes) in list(self.watches.items()):
                name, _, index = input_id.rpartition(":")
                if name == call and (not indexes or int(index) in indexes):
                    self._tell_result(watcher[0], input_id)

    def _watch(self, session, message):
        inputs = [i for i in self.inputs if i.startswith(message.call + ":")]
        ended = [i for i in inputs if i in self.results]
        self._reply(session, api.CallState(message.call, bool(inputs), len(inputs), len(ended), "fu-x"))
        self.watches[(session, message.call)] = (message.call, message.indexes)
        for input_id in ended:
            if not message.indexes or int(input_id.rpartition(":")[2]) in message.indexes:
                self._tell_result(session, input_id)

    def _tell_result(self, session, input_id):
        outcome, payload = self.results[input_id]
        if len(payload) > 1 << 20:
            blob = "bl-" + input_id.replace(":", "-")
            self.blobs[blob] = payload
            self._reply(session, api.Outputs([input_id], [outcome], [len(blob)], [0]), blob.encode())
        else:
            self._reply(session, api.Outputs([input_id], [outcome], [len(payload)]), payload)

    def _reply(self, session, message, payload=b""):
        ws = self.sessions.get(session)
        if ws is not None:
            self._send(ws, message, payload)


@pytest.fixture
def stub(monkeypatch, tmp_path):
    stub = Stub()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INGLE_SERVER_URL", stub.url)
    monkeypatch.setenv("INGLE_TOKEN", TOKEN)
    monkeypatch.setenv("INGLE_RECONNECT_S", "5")
    monkeypatch.delenv("INGLE_PROFILE", raising=False)
    connection.disconnect()
    yield stub
    connection.disconnect()
    stub.close()


@pytest.fixture
def run(stub):
    """Runs an app whose functions the stub knows, until the test ends."""
    open_runs = []

    def start(app):
        for function in app.registered_functions.values():
            stub.functions["fu-" + function.name] = function.local
        running = app.run()
        running.__enter__()
        open_runs.append(running)
        return app

    yield start
    for running in reversed(open_runs):
        running.__exit__(None, None, None)


@pytest.fixture
def deploy(run):
    """Makes functions of an app of plain functions and runs it: `deploy(f, g)` gives their Functions."""

    def make(*raws, **options):
        app = ingle.App("test")
        for raw in raws:
            raw.__qualname__ = options.get("name") or raw.__name__  # the stub runs it where it is
        made = [app.function(include_source=False, **options)(raw) for raw in raws]
        run(app)
        return made[0] if len(made) == 1 else made

    return make
