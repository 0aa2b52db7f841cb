"""Peers that say nonsense, disks that are full, nodes that fall silent: an error where it can be seen, and nothing lost."""

import hashlib
import struct
import time

import pytest
from sqlalchemy import text

from ingle.model import ids
from ingle.server.session import LOG_BACKLOG_MAX
from ingle.testing.waiting import wait_until_async
from ingle.wire import api, node

NONSENSE = [
    b"",
    b"\x00",
    b"\xff\xff\xff\xffxx",
    struct.pack("<I", 4) + b"nope",
    struct.pack("<I", 9) + b'["No",{}]',
    struct.pack("<I", 18) + b'["PutInputs",{"a":1',
    api.CODEC.encode(api.Welcome("se-1")),
    api.CODEC.encode(api.PutInputs("fc-00000000", "fu-1", "map", 0, [5])) + b"x",
]


@pytest.mark.parametrize("frame", NONSENSE)
async def test_a_client_that_says_nonsense_is_told_and_cut_off(world, frame):
    server = await world.server(state=None)
    client = await world.client(server)
    await client.ws.send_bytes(frame)
    await client.until(lambda: client.closed is not None)
    refused, _ = await client.wait(api.Refused)
    assert (refused.code, refused.call) == ("invalid", "") and refused.message
    other = await world.client(server)
    assert other.closed is None


@pytest.mark.parametrize("frame", NONSENSE[:6])
async def test_a_node_that_says_nonsense_is_cut_off(world, frame):
    server = await world.server(state=None)
    fake = await world.node(server)
    await fake.ws.send_bytes(frame)
    await fake.until(lambda: fake.closed is not None)
    assert fake.closed == 1008


@pytest.mark.parametrize(
    "message",
    [
        node.NodeOutputs("co-1", ["a"], ["returned", "returned"], [1.0], [0]),
        node.NodeOutputs("co-1", ["a"], ["delighted"], [1.0], [0]),
        node.NodeOutputs("co-1", ["a"], ["returned"], [1.0], [-1]),
        node.NodeYielded("co-1", "a", 0, [7]),
    ],
)
async def test_a_node_whose_lists_disagree_is_cut_off(world, message):
    server = await world.server(state=None)
    fake = await world.node(server)
    await fake.say(message)
    await fake.until(lambda: fake.closed is not None)


async def test_messages_about_what_is_not_there_do_no_harm(world):
    server = await world.server(state=None)
    fake = await world.node(server)
    for message in (
        node.NodeOutputs("co-1", ["fc-1:0"], ["returned"], [1.0], [0]),
        node.NodeYielded("co-1", "fc-1:0", 0, [0]),
        node.ContainerReady("co-1", {}),
        node.ContainerExited("co-1", "killed", "gone", running="fc-1:0"),
        node.Recalled("co-1", ["fc-1:0"]),
        node.NodeLogs("co-1", "../../etc", [api.LogLine(1.0, "co-1", "", "f", "stdout", "x")]),
        node.ImageState("im-1", "line"),
        node.FromClient("co-1", "c-1"),
        node.FromClient("co-1", "c-1", closed=True),
        node.ExecOutput("ex-1", 1, 0),
        node.Heartbeat(1, 1),
    ):
        await fake.say(message)
    await fake.wait(node.AckLogs)
    client = await world.client(server)
    for message in (
        api.AckOutputs(["fc-1:0", "", "::"]),
        api.UnwatchCall("fc-1"),
        api.CancelCall("fc-1"),
        api.CloseCall("fc-1"),
        api.Credit("fc-1:0", 1, 5),
        api.Attach("ap-none"),
    ):
        await client.say(message)
    assert (await client.wait(api.AppEnded))[0].app == "ap-none"
    assert client.closed is None and fake.closed is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"call": "nonsense"}, "invalid"),
        ({"kind": "party"}, "invalid"),
        ({"first": -1}, "invalid"),
        ({"first": 1 << 60}, "invalid"),
        ({"sizes": []}, "invalid"),
        ({"blobs": [7]}, "invalid"),
        ({"kind": "remote", "first": 1}, "invalid"),
        ({"kind": "spawn", "blobs": [0]}, "invalid"),
    ],
)
async def test_inputs_that_make_no_sense_are_refused_and_the_session_goes_on(world, change, code):
    server = await world.server()
    await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    said = {
        "call": ids.new_id(ids.CALL),
        "function": function,
        "kind": "map",
        "first": 0,
        "sizes": [0],
        "blobs": [],
    } | change
    await client.say(api.PutInputs(**said))
    refused, _ = await client.wait(api.Refused)
    assert (refused.code, refused.call) == (code, said["call"])
    assert await client.call(function, b"a") == ("returned", b"a")


async def test_another_wire_version_is_refused(world):
    server = await world.server(state=None)
    client = await world.client(server)
    await client.drop()
    await client.connect(server.url + "/v1/session", "client-token")
    await client.say(api.Hello("se-0123456789abcdef", 999))
    assert (await client.wait(api.Refused))[0].code == "version"
    await client.until(lambda: client.closed is not None)


async def test_a_client_that_says_no_hello_is_cut_off(world):
    server = await world.server(state=None)
    client = await world.client(server)
    await client.drop()
    await client.connect(server.url + "/v1/session", "client-token")
    await client.say(api.CancelCall("fc-1"))
    await client.until(lambda: client.closed is not None)


async def test_a_full_disk_refuses_spawned_inputs_and_keeps_results(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"a"], "spawn")
    await client.wait(api.Accepted)
    await fake.until(lambda: any(fake.inputs.values()))

    def bound(pages):
        return server._database.write(lambda c: c.execute(text(f"PRAGMA max_page_count = {pages}")).scalar())

    await bound(1)  # as many as there are
    refused = await client.put(function, [b"x" * 200_000], "spawn")
    said, _ = await client.wait(api.Refused)
    assert (said.call, said.code) == (refused, "server") and "disk is full" in said.message
    fake.run = lambda function, payload: ("returned", b"y" * 200_000)
    fake.answering = True
    fake.answer_all()
    await fake.until(lambda: fake.ran)
    assert (await world.http(server, "GET", "/v1/status"))[0] == 200
    assert not fake.acked
    await bound(1_000_000)
    await client.say(api.WatchCall(call))
    assert await client.output(call) == ("returned", b"y" * 200_000)
    await fake.until(lambda: fake.acked == [f"{call}:0"])
    assert fake.ran == [f"{call}:0"]


async def test_a_silent_node_is_given_up(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    server.parts.nodes.peers[fake.node.id].heard_s -= 60
    other = await world.node(server, name="n2")
    assert await client.output(call) == ("returned", b"a")
    assert other.ran == [f"{call}:0"]
    await fake.until(lambda: fake.closed is not None)


async def test_a_slow_watcher_misses_lines_and_is_told_how_many(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    await client.call(function, b"a")
    (container,) = fake.containers
    (session,) = server.sessions
    real = session.link.backlog
    session.link.backlog = lambda: LOG_BACKLOG_MAX + 1
    line = api.LogLine(1.0, container, "", "f", "stdout", "a line")
    for _ in range(3):
        await fake.say(node.NodeLogs(container, app, [line] * 5))
    await fake.until(lambda: len([m for m, _ in fake.got if isinstance(m, node.AckLogs)]) == 3)
    session.link.backlog = real
    said, _ = await client.wait(api.Logs)
    assert said.lines[0].stream == "system" and "15 lines skipped" in said.lines[0].text
    assert len(list(server._logs.read(app))) == 15


async def test_a_command_that_cannot_be_carried_out_stops_no_other(world, caplog):
    server = await world.server()
    await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    real, failed = server.parts.nodes.send, []

    def send(node_id, message, payload=b""):
        if isinstance(message, node.SendInputs) and not failed:
            failed.append(message)
            raise RuntimeError("a bug")
        return real(node_id, message, payload)

    server.parts.nodes.send = send
    await client.put(function, [b"a"], "remote")
    await wait_until_async(lambda: failed, "the bug happened")
    status, _ = await world.http(server, "GET", "/v1/status")
    assert status == 200 and "a bug" in caplog.text
    assert client.closed is None


async def test_blobs_that_nothing_names_are_collected(world):
    server = await world.server(blobs_kept_s=-60.0, sources_kept_s=-60.0)
    client = await world.client(server)
    used, given, unused = "bl-" + "1" * 16, "bl-" + "2" * 16, "bl-" + "3" * 16
    for blob in (used, given, unused):
        await world.http(server, "PUT", f"/v1/blobs/{blob}", data=b"x")
    _, function = await world.app(server, "f", detached=True, definition=used)
    await client.put(function, [given.encode()], "spawn", blobs=[0])
    await client.wait(api.Accepted)
    await server.background.collect_blobs()
    there = [(await world.http(server, "GET", f"/v1/blobs/{blob}"))[0] for blob in (used, given, unused)]
    assert there == [200, 200, 404]


async def test_large_values_do_not_outlive_their_inputs(world):
    server = await world.server()
    await world.node(server)
    client = await world.client(server)
    given, shared = "bl-" + "1" * 16, "bl-" + hashlib.sha256(b"x").hexdigest()
    for blob in (given, shared):
        await world.http(server, "PUT", f"/v1/blobs/{blob}", data=b"x")

    async def there(blob):
        return (await world.http(server, "GET", f"/v1/blobs/{blob}"))[0] == 200

    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [given.encode(), shared.encode()], blobs=[0, 1])
    await client.until(lambda: len(client.outputs) == 2)
    assert await there(given)  # the client may say it again until it has acknowledged the output
    await client.say(api.AckOutputs(list(client.outputs)))
    await wait_until_async(lambda: not server.parts.calls._inputs, "both are forgotten")
    await wait_until_async(lambda: not server.parts.blobs.path(given).exists(), "its blob is gone")
    assert await there(shared), call  # what is named by its content may be a source file as well


async def test_spawned_inputs_need_their_blobs(world):
    server = await world.server()
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"bl-" + b"1" * 16], "spawn", blobs=[0])
    refused, _ = await client.wait(api.Refused)
    assert (refused.call, refused.code) == (call, "not_found")


async def test_a_taken_port_is_an_os_error(world):
    server = await world.server(state=None)
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        await world.server(state=None, port=port)


async def test_an_idle_server_ticks_slowly(world):
    server = await world.server(state=None)
    assert not server.background._busy()
    handled = []
    real = server.loop._scheduler.handle
    server.loop._scheduler.handle = lambda event: handled.append(time.monotonic()) or real(event)
    await wait_until_async(lambda: len(handled) >= 2, "ticks")
    assert handled[1] - handled[0] > 0.5
