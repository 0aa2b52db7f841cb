"""The routes: who may use them, what they answer, what they say of errors."""

import hashlib
import json
import struct

import aiohttp
import pytest

from ingle.wire import api, node
from ingle.wire.api import ROUTES


def concrete(path):
    for name in ("source", "blob", "app", "container"):
        path = path.replace("{" + name + "}", f"{name}-1")
    return path


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_a_token(world, method, path):
    server = await world.server(state=None)
    for headers in ({}, {"Authorization": "Bearer wrong", "Ingle-Wire": "1"}, {"Authorization": "client-token"}):
        status, body = await world.http(server, method, concrete(path), headers=headers)
        assert (status, body["code"]) == (401, "auth"), headers
        assert "token" in body["message"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_the_same_wire(world, method, path):
    server = await world.server(state=None)
    token = "node-token" if path == "/v1/node" else "client-token"
    for said in ({}, {"Ingle-Wire": "999"}):
        status, body = await world.http(
            server, method, concrete(path), headers=said | {"Authorization": f"Bearer {token}"}
        )
        assert (status, body["code"]) == (426, "version")


async def test_the_routes_are_those_of_the_wire(world):
    server = await world.server(state=None)
    routes = {(r.method, r.resource.canonical) for r in server._runner.app.router.routes()}
    assert routes == set(ROUTES)


async def test_a_client_is_no_node_and_a_node_no_client(world):
    server = await world.server(state=None)
    assert (await world.http(server, "GET", "/v1/node", token="client-token"))[0] == 401
    assert (await world.http(server, "GET", "/v1/status", token="node-token"))[0] == 401


async def test_unknown_routes_answer_in_json(world):
    server = await world.server(state=None)
    status, body = await world.http(server, "GET", "/v1/nothing")
    assert (status, body["code"]) == (404, "not_found")
    status, body = await world.http(server, "DELETE", "/v1/apps")
    assert (status, body["code"]) == (405, "invalid")


async def test_an_unexpected_error_shows_an_id_and_nothing_else(world, caplog):
    server = await world.server(state=None)

    async def broken(with_stopped=False):
        raise RuntimeError("secret inside")

    server.parts.apps.values = broken
    status, body = await world.http(server, "GET", "/v1/apps")
    assert (status, body["code"]) == (500, "server")
    assert "secret" not in body["message"]
    (name,) = [word for word in body["message"].split() if word.startswith("er-")]
    assert name in caplog.text and "secret inside" in caplog.text


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"name": 3}', b'{"files": [{"path": 1}]}'])
async def test_malformed_bodies_are_the_callers_fault(world, body):
    server = await world.server(state=None)
    for path in ("/v1/apps", "/v1/sources"):
        status, said = await world.http(server, "POST", path, data=body)
        assert (status, said["code"]) == (400, "invalid")


async def test_apps_are_made_listed_and_stopped(world):
    server = await world.server()
    app, _ = await world.app(server, "f")
    status, apps = await world.http(server, "GET", "/v1/apps")
    assert (status, [(a["id"], a["name"], a["state"], a["detached"]) for a in apps]) == (
        200,
        [(app, "test", "running", False)],
    )
    other, _ = await world.app(server, "f")
    status, body = await world.http(server, "POST", "/v1/apps/test/stop", {})
    assert status == 400 and app in body["message"] and other in body["message"]
    assert await world.http(server, "POST", f"/v1/apps/{other}/stop", {}) == (200, {})
    assert await world.http(server, "POST", "/v1/apps/test/stop", {}) == (200, {})
    status, body = await world.http(server, "POST", "/v1/apps/test/stop", {})
    assert (status, body["code"]) == (404, "not_found")
    assert (await world.http(server, "GET", "/v1/apps"))[1] == []
    assert {a["state"] for a in (await world.http(server, "GET", "/v1/apps?all=1"))[1]} == {"stopped"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_s": 0},
        {"resources": {"cpu_milli": -1, "memory_mib": 1}},
        {"image": {"python": "3.11; rm -rf"}},
        {"definition": "../../etc/passwd"},
        {"definition": "bl-" + "0" * 16},
        {"source": "so-" + "0" * 26},
        {"timeout_s": "long"},
        {"retries": {"max_retries": -1}},
    ],
)
async def test_a_wrong_function_makes_no_app(world, wrong):
    server = await world.server(state=None)
    function = {
        "id": "",
        "app_id": "",
        "name": "f",
        "module": "m",
        "qualname": "f",
        "image": {"python": "3.11"},
    } | wrong
    body = {"request": "request-1", "name": "x", "detached": False, "functions": [function]}
    status, said = await world.http(server, "POST", "/v1/apps", body)
    assert status in (400, 404), said
    assert (await world.http(server, "GET", "/v1/apps"))[1] == []


async def test_blobs_go_in_and_come_out(world):
    server = await world.server()
    data = bytes(range(256)) * 20_000
    blob = "bl-0123456789abcdef"
    assert (await world.http(server, "PUT", f"/v1/blobs/{blob}", data=data))[0] == 200
    assert (await world.http(server, "PUT", f"/v1/blobs/{blob}", data=b"another"))[0] == 200
    for token in ("client-token", "node-token"):
        assert await world.http(server, "GET", f"/v1/blobs/{blob}", token=token) == (200, data)
    status, said = await world.http(server, "GET", "/v1/blobs/bl-fedcba9876543210")
    assert (status, said["code"]) == (404, "not_found")
    for bad in ("..%2F..%2Fingle.db", ".probe-" + server.id, "bl-short", "xx-0123456789abcdef"):
        status, said = await world.http(server, "GET", f"/v1/blobs/{bad}")
        assert (status, said["code"]) == (400, "invalid")


async def test_a_blob_named_by_its_content_is_verified(world):
    server = await world.server()
    name = "bl-" + hashlib.sha256(b"right").hexdigest()
    status, said = await world.http(server, "PUT", f"/v1/blobs/{name}", data=b"wrong")
    assert (status, said["code"]) == (400, "invalid")
    assert (await world.http(server, "GET", f"/v1/blobs/{name}"))[0] == 404
    assert (await world.http(server, "PUT", f"/v1/blobs/{name}", data=b"right"))[0] == 200


async def test_a_source_tree_travels_once(world):
    server = await world.server()
    files = {"main.py": b"print(1)", "pkg/__init__.py": b"", "copy.py": b"print(1)"}
    sha = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    body = {"files": [{"path": n, "sha256": sha[n], "size": len(d)} for n, d in files.items()]}
    status, state = await world.http(server, "POST", "/v1/sources", body)
    assert status == 200 and sorted(state["missing"]) == sorted({sha["main.py"], sha["pkg/__init__.py"]})

    function = {"id": "", "app_id": "", "name": "f", "module": "m", "qualname": "f", "image": {"python": "3.11"}}
    app = {"request": "request-1", "name": "x", "detached": True, "functions": [function | {"source": state["source"]}]}
    assert (await world.http(server, "POST", "/v1/apps", app))[0] == 404  # its files are not there

    def packed(*names):
        return b"".join(bytes.fromhex(sha[n]) + struct.pack("<Q", len(files[n])) + files[n] for n in names)

    path = f"/v1/sources/{state['source']}/files"
    status, said = await world.http(server, "POST", path, data=packed("main.py") + b"cut off")
    assert (status, said["code"]) == (400, "invalid")
    status, said = await world.http(server, "POST", path, data=packed("pkg/__init__.py"))
    assert status == 200
    status, again = await world.http(server, "POST", "/v1/sources", body)
    assert again == {"source": state["source"], "missing": []}
    assert (await world.http(server, "POST", "/v1/apps", app))[0] == 200
    status, manifest = await world.http(server, "GET", f"/v1/blobs/{state['source']}", token="node-token")
    assert [f["path"] for f in manifest["files"]] == ["copy.py", "main.py", "pkg/__init__.py"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/./b", "", "a/..", "x\0y"])
async def test_a_path_out_of_the_source_tree_is_refused(world, path):
    server = await world.server(state=None)
    body = {"files": [{"path": path, "sha256": "0" * 64, "size": 1}]}
    assert (await world.http(server, "POST", "/v1/sources", body))[0] == 400


async def test_logs_are_kept_filtered_and_followed(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await client.output(call)
    (container,) = fake.containers
    lines = [
        api.LogLine(1.0 + n, container, f"{call}:0" if n % 2 else "", "f", "stdout", f"line {n}") for n in range(10)
    ]
    await fake.say(node.NodeLogs(container, app, lines))
    await fake.wait(node.AckLogs, container=container)
    assert (await client.wait(api.Logs))[0].lines == lines

    async def read(query, path=f"/v1/apps/{app}/logs"):
        status, raw = await world.http(server, "GET", path + query)
        assert status == 200
        raw = json.dumps(raw).encode() if isinstance(raw, dict) else raw
        return [json.loads(line)["text"] for line in raw.splitlines()]

    assert await read("") == [f"line {n}" for n in range(10)]
    assert await read("?tail=2") == ["line 8", "line 9"]
    assert await read(f"?call={call}") == [f"line {n}" for n in range(1, 10, 2)]
    assert await read("?container=co-other") == []
    assert await read("?tail=3", f"/v1/containers/{container}/logs") == ["line 7", "line 8", "line 9"]
    assert await read("?tail=1", "/v1/apps/test/logs") == ["line 9"]

    url = server.url + f"/v1/apps/{app}/logs?follow=1&tail=1"
    headers = {"Authorization": "Bearer client-token", "Ingle-Wire": "1"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        assert json.loads(await response.content.readline())["text"] == "line 9"
        await fake.say(node.NodeLogs(container, app, [api.LogLine(20.0, container, "", "f", "stderr", "new")]))
        assert json.loads(await response.content.readline())["text"] == "new"
        await world.http(server, "POST", f"/v1/apps/{app}/stop", {})
        assert await response.content.read() == b""


async def test_containers_are_listed_and_stopped(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    await client.call(function, b"a")
    (one,) = (await world.http(server, "GET", "/v1/containers"))[1]
    assert (one["app_id"], one["function_id"], one["state"], one["phases_ms"]) == (
        app,
        function,
        "ready",
        {"process": 1.0},
    )
    assert await world.http(server, "POST", f"/v1/containers/{one['id']}/stop", {}) == (200, {})
    await fake.until(lambda: fake.stopped == [one["id"]])
    status, said = await world.http(server, "POST", "/v1/containers/co-none/stop", {})
    assert (status, said["code"]) == (404, "not_found")
    for _ in range(100):
        ended = (await world.http(server, "GET", "/v1/containers?all=1"))[1]
        if ended[0]["state"] == "exited":
            break
    assert ended[0]["id"] == one["id"] and ended[0]["exit_reason"]


async def test_a_command_runs_in_a_container(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    await client.call(function, b"a")
    (container,) = fake.containers
    url = f"{server.url}/v1/containers/{container}/exec"
    headers = {"Authorization": "Bearer client-token", "Ingle-Wire": "1"}
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(url, headers=headers, params={"argv": '["sh"]', "tty": "1", "rows": "10"}) as ws:
            start, _ = await fake.wait(node.StartExec)
            assert (start.container, start.argv, start.tty, start.rows, start.cols) == (container, ["sh"], True, 10, 80)
            await ws.send_bytes(b"ls\n")
            _, payload = await fake.wait(node.ExecInput, exec=start.exec)
            assert bytes(payload) == b"ls\n"
            await fake.say(node.ExecOutput(start.exec, 2), b"oops")
            assert (await ws.receive()).data == b"\x02oops"
            await ws.send_bytes(b"")
            await fake.wait(node.ExecInput, eof=True)
            await fake.say(node.ExecOutput(start.exec, 1, 3))
            last = (await ws.receive()).data
            assert last[:1] == b"\x03" and json.loads(last[1:]) == {"code": 3}
        async with http.ws_connect(url, headers=headers, params={"argv": '["sleep", "9"]'}) as ws:
            await fake.until(lambda: len([m for m, _ in fake.got if isinstance(m, node.StartExec)]) == 2)
        await fake.wait(node.ExecInput, gone=True)
        async with http.get(url, headers=headers, params={"argv": "sh"}) as answer:
            assert answer.status == 400
