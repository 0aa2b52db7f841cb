"""Calls from client to node and back, through a real server."""

from ingle.server import session as sessions
from ingle.testing.waiting import wait_until_async
from ingle.wire import api, node


async def test_a_call_goes_to_a_container_and_its_answer_comes_back(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    assert await client.call(function, b"hello") == ("returned", b"hello")
    assert len(fake.containers) == 1


async def test_a_map_ends_each_input_once(world):
    server = await world.server()
    await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = None
    for first in range(0, 1000, 100):
        call = await client.put(function, [str(n).encode() for n in range(first, first + 100)], call=call, first=first)
    await client.until(lambda: len(client.outputs) == 1000)
    assert all(client.outputs[f"{call}:{n}"] == ("returned", str(n).encode()) for n in range(1000))
    assert set(client.times.values()) == {1}
    await client.say(api.AckOutputs(list(client.outputs)))
    await client.say(api.CloseCall(call))
    status, body = await world.http(server, "GET", "/v1/status")
    assert (status, body["calls_queued"], body["calls_running"]) == (200, 0, 0)
    await wait_until_async(lambda: not server.parts.calls._inputs and not server.parts.calls._calls, "all is forgotten")


async def test_an_input_said_twice_runs_once_and_is_answered_again(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"])
    await client.put(function, [b"a"], call=call)
    await fake.until(lambda: any(fake.inputs.values()))
    fake.answering = True
    fake.answer_all()
    await client.output(call)
    await client.put(function, [b"a"], call=call)
    await client.until(lambda: client.times[f"{call}:0"] == 2)
    assert fake.ran == [f"{call}:0"]


async def test_outputs_wait_for_a_client_that_comes_back(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a", b"b"])
    await fake.until(lambda: sum(map(len, fake.inputs.values())) >= 1)
    await client.drop()
    fake.answering = True
    fake.answer_all()
    await fake.until(lambda: len(fake.ran) == 2)
    again = await world.client(server, client.session)
    await again.put(function, [b"a", b"b"], call=call)
    assert await again.output(call, 0) == ("returned", b"a")
    assert await again.output(call, 1) == ("returned", b"b")
    assert sorted(fake.ran) == [f"{call}:0", f"{call}:1"]


async def test_a_raised_exception_is_retried_and_then_passed_on(world):
    server = await world.server()
    fake = await world.node(server)
    fake.run = lambda function, payload: ("raised", b"boom %d" % len(fake.ran))
    client = await world.client(server)
    retries = {"max_retries": 2, "initial_delay": 0.01}
    _, function = await world.app(server, "f", client=client, retries=retries)
    assert await client.call(function, b"a") == ("raised", b"boom 2")


async def test_a_retry_at_once_is_not_taken_for_the_last_attempt_said_twice(world):
    server = await world.server()
    fake = await world.node(server)
    fake.run = lambda function, payload: ("raised", b"boom")
    client = await world.client(server)
    retries = {"max_retries": 3, "initial_delay": 0.0}
    _, function = await world.app(server, "f", client=client, retries=retries)
    sent_too_early = []
    fake.sent = lambda message: sent_too_early.extend(
        i for i in message.inputs if fake.ran.count(i) > fake.acked.count(i)
    )
    call = await client.put(function, [b"a", b"b", b"c"])
    await client.until(lambda: len(client.outputs) == 3)
    assert not sent_too_early  # a node says an answer again that nobody has acknowledged
    assert sorted(fake.ran) == sorted(f"{call}:{n}" for n in (0, 1, 2) for _ in range(4))
    await fake.until(lambda: len(fake.acked) == 12)


async def test_cancelled_inputs_that_wait_never_run(world):
    server = await world.server()
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a", b"b"])
    await client.say(api.CancelCall(call))
    assert (await client.failure(call, 0)).code == "cancelled"
    assert (await client.failure(call, 1)).code == "cancelled"
    call = await client.put(function, [b"late"], call=call, first=2)
    assert (await client.failure(call, 2)).code == "cancelled"


async def test_a_running_input_is_interrupted_by_cancel(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    await client.say(api.CancelCall(call))
    await fake.wait(node.CancelInput, input=f"{call}:0")
    fake.run = lambda function, payload: ("failed", b'{"code": "cancelled", "message": "interrupted"}')
    fake.answer_all()
    assert (await client.failure(call)).code == "cancelled"


async def test_a_container_that_cannot_start_fails_the_calls_of_an_ephemeral_app(world):
    server = await world.server()
    fake = await world.node(server)
    fake.starting = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    container = (await fake.wait(node.StartContainer))[0].container
    await fake.say(node.ContainerExited(container, "start_failed", "import failed", "raised"), b"\x00\xff pickled")
    assert await client.output(call) == ("raised", b"\x00\xff pickled")


async def test_what_no_node_can_hold_fails_at_once(world):
    server = await world.server()
    await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client, resources={"cpu_milli": 100, "memory_mib": 1 << 30})
    call = await client.put(function, [b"a"], "remote")
    failure = await client.failure(call)
    assert failure.code == "placement"
    assert "memory" in failure.message


async def test_an_out_of_memory_kill_is_the_inputs_own_fault(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    fake.containers.clear()
    text = "killed at its memory limit of 128 MiB"
    await fake.say(node.ContainerExited(container, "out_of_memory", text, running=f"{call}:0"))
    failure = await client.failure(call)
    assert (failure.code, failure.message) == ("out_of_memory", text)


async def test_a_lost_container_means_another_run(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    fake.containers.clear()
    fake.inputs.clear()
    fake.answering = True
    await fake.say(node.ContainerExited(container, "killed", "killed from outside", running=f"{call}:0"))
    assert await client.output(call) == ("returned", b"a")


async def test_a_generator_yields_with_credit(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "g", client=client, is_generator=True)
    call = await client.put(function, [b"a"], "generator")
    one = f"{call}:0"
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    await fake.say(node.NodeYielded(container, one, 0, [1, 2]), b"abb")
    message, payload = await client.wait(api.Yielded)
    assert (message.input, message.first, message.sizes, bytes(payload)) == (one, 0, [1, 2], b"abb")
    await client.say(api.Credit(one, message.attempt, 2))
    assert (await fake.wait(node.GrantYields))[0] == node.GrantYields(container, one, 2)
    await fake.say(node.NodeYielded(container, one, 1, [2, 1]), b"bbc")  # the first of these is known
    message, payload = await client.wait(api.Yielded, first=2)
    assert bytes(payload) == b"c"
    fake.run = lambda function, payload: ("returned", b"")
    fake.answer_all()
    assert await client.output(call) == ("returned", b"")


async def test_a_new_attempt_of_a_generator_has_a_higher_number(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "g", client=client, is_generator=True)
    call = await client.put(function, [b"a"], "generator")
    one = f"{call}:0"
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    await fake.say(node.NodeYielded(container, one, 0, [1]), b"a")
    first, _ = await client.wait(api.Yielded)
    fake.containers.clear()
    fake.inputs.clear()
    await fake.say(node.ContainerExited(container, "killed", "killed", running=one))
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    await fake.say(node.NodeYielded(container, one, 0, [1]), b"b")
    await client.until(lambda: len([m for m, _ in client.got if isinstance(m, api.Yielded)]) == 2)
    second = [m for m, _ in client.got if isinstance(m, api.Yielded)][1]
    assert second.attempt > first.attempt and second.first == 0


async def test_the_wrong_way_to_call_a_function_is_refused(world):
    server = await world.server()
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "generator")
    refused, _ = await client.wait(api.Refused, call=call)
    assert refused.code == "invalid" and "remote" in refused.message
    call = await client.put("fu-none", [b"a"])
    assert (await client.wait(api.Refused, call=call))[0].code == "not_found"


async def test_an_app_ends_with_its_session(world):
    server = await world.server(session_grace_s=0.1)
    fake = await world.node(server)
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    await client.call(function, b"a")
    await client.drop()
    await fake.until(lambda: fake.stopped)
    _, apps = await world.http(server, "GET", "/v1/apps?all=1")
    assert [(a["id"], a["state"]) for a in apps] == [(app, "stopped")]


async def test_stopping_an_app_ends_its_calls(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    assert (await world.http(server, "POST", f"/v1/apps/{app}/stop", {}))[0] == 200
    failure = await client.failure(call)
    assert failure.code == "cancelled" and "the app was stopped" in failure.message
    await client.wait(api.AppEnded, app=app)
    await fake.until(lambda: fake.stopped)


async def test_a_client_that_sends_much_is_made_to_wait(world, monkeypatch):
    monkeypatch.setattr(sessions, "HELD_BYTES_MAX", 1000)
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    (session,) = server.sessions
    calls = [await client.put(function, [b"x" * 400], "remote") for _ in range(20)]
    await wait_until_async(lambda: session.held.bytes > 1000, "the session holds as much as it may")
    for _ in range(10):
        await world.http(server, "GET", "/v1/status")
    assert session.held.bytes <= 1400
    fake.answering = True
    fake.answer_all()
    for call in calls:
        assert (await client.output(call))[0] == "returned"
    assert session.held.bytes == 0
