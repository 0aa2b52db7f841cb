"""What a server that was killed and started again still knows, and what nodes and clients tell it."""

import asyncio
import time

import pytest

from ingle.wire import api, node


async def reopen(fake, server):
    """The node connects to the new server and says again what it has, its unacknowledged outputs too."""
    fake.got.clear()
    await fake.open(server)


async def test_spawned_inputs_are_on_disk_when_they_are_accepted(world):
    server = await world.server()
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"a", b"b"], "spawn")
    await client.wait(api.Accepted, call=call, first=0, count=2)
    await world.kill(server)

    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    await fake.until(lambda: len(fake.ran) == 2)
    await client.say(api.WatchCall(call))
    assert await client.output(call, 0) == ("returned", b"a")
    assert await client.output(call, 1) == ("returned", b"b")


async def test_results_of_spawned_calls_survive(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"a"], "spawn")
    await client.wait(api.Accepted)
    await fake.until(lambda: fake.acked)
    await world.kill(server)

    server = await world.server()
    client = await world.client(server)
    await client.say(api.WatchCall(call))
    state, _ = await client.wait(api.CallState)
    assert (state.known, state.inputs, state.ended, state.function) == (True, 1, 1, "f")
    assert await client.output(call) == ("returned", b"a")


async def test_a_remote_call_goes_on_where_it_was(world):
    """Server killed while the input runs: node and client come back, the input runs once."""
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    await world.kill(server)

    server = await world.server()
    await reopen(fake, server)
    again = await world.client(server, client.session)
    await again.say(api.Attach(app))
    await again.put(function, [b"a"], "remote", call=call)
    fake.answer_all()
    assert await again.output(call) == ("returned", b"a")
    assert fake.ran == [f"{call}:0"]
    await fake.until(lambda: fake.acked == [f"{call}:0"])


async def test_an_answer_that_comes_before_its_client_waits_for_it(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    await world.kill(server)

    server = await world.server()
    await reopen(fake, server)
    fake.run = lambda function, payload: ("returned", b"answer")
    fake.answer_all()
    await fake.until(lambda: len(fake.ran) == 1)
    await settled(server)
    assert not fake.acked
    again = await world.client(server, client.session)
    await again.say(api.Attach(app))
    await again.put(function, [b"a"], "remote", call=call)
    assert await again.output(call) == ("returned", b"answer")
    assert fake.ran == [f"{call}:0"]
    await fake.until(lambda: fake.acked == [f"{call}:0"])


async def test_an_input_that_nobody_asks_for_again_is_dropped(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    await world.kill(server)

    server = await world.server(stranger_s=0.1)
    await reopen(fake, server)
    fake.answer_all()
    await fake.until(lambda: fake.acked == [f"{call}:0"])


async def test_a_generator_goes_on_where_it_was(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "g", client=client, is_generator=True)
    call = await client.put(function, [b"a"], "generator")
    one = f"{call}:0"
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    await fake.say(node.NodeYielded(container, one, 0, [1, 1]), b"ab")
    first, _ = await client.wait(api.Yielded)
    await client.say(api.Credit(one, first.attempt, 1))
    await fake.wait(node.GrantYields)
    await world.kill(server)

    server = await world.server()
    await reopen(fake, server)
    await fake.say(node.NodeYielded(container, one, 1, [1]), b"b")  # what was not granted is said again
    await fake.say(node.NodeYielded(container, one, 2, [1]), b"c")
    again = await world.client(server, client.session)
    await again.say(api.Attach(app))
    await again.put(function, [b"a"], "generator", call=call)
    await again.until(lambda: len([m for m, _ in again.got if isinstance(m, api.Yielded)]) >= 2)
    got = [(m, bytes(p)) for m, p in again.got if isinstance(m, api.Yielded)]
    assert [(m.first, p) for m, p in got] == [(1, b"b"), (2, b"c")]
    assert got[0][0].attempt >= first.attempt
    fake.run = lambda function, payload: ("returned", b"")
    fake.answer_all()
    assert await again.output(call) == ("returned", b"")
    assert not fake.stopped


async def test_a_generator_goes_on_though_its_client_was_back_before_its_node(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "g", client=client, is_generator=True)
    call = await client.put(function, [b"a"], "generator")
    one = f"{call}:0"
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    await fake.say(node.NodeYielded(container, one, 0, [1]), b"a")
    before, _ = await client.wait(api.Yielded)
    await world.kill(server)

    server = await world.server()
    again = await world.client(server, client.session)
    await again.say(api.Attach(app))
    await again.put(function, [b"a"], "generator", call=call)
    await again.say(api.Credit(one, before.attempt, 1))
    await again.say(api.WatchCall("fc-unknown"))
    await again.wait(api.CallState)  # all that it said before has been heard
    await reopen(fake, server)
    await fake.say(node.NodeYielded(container, one, 0, [1]), b"a")  # as nobody said that it was taken
    message, _ = await again.wait(api.Yielded, first=0)
    await again.say(api.Credit(one, message.attempt, 1))
    await fake.wait(node.GrantYields, container=container, input=one, taken=1)
    await fake.say(node.NodeYielded(container, one, 1, [1]), b"b")
    _, payload = await again.wait(api.Yielded, first=1)
    assert bytes(payload) == b"b"
    fake.run = lambda function, payload: ("returned", b"")
    fake.answer_all()
    assert await again.output(call) == ("returned", b"")
    assert fake.ran.count(one) <= 1


@pytest.mark.parametrize("client_first", [True, False])
async def test_a_generator_goes_on_in_its_living_container_not_in_a_dead_one_of_before(world, client_first):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "g", client=client, is_generator=True)
    call = await client.put(function, [b"a"], "generator")
    one = f"{call}:0"
    await fake.until(lambda: any(fake.inputs.values()))
    (dead,) = fake.containers
    await fake.say(node.ContainerExited(dead, "killed", "it was killed", "", [], one))
    await fake.until(lambda: len(fake.containers) == 2 and all(fake.inputs.values()))
    (living,) = set(fake.containers) - {dead}
    fake.states[dead] = "exited"  # the server may not have heard of it: it is said again
    await world.kill(server)

    server = await world.server()
    if not client_first:
        await reopen(fake, server)
    again = await world.client(server, client.session)
    await again.say(api.Attach(app))
    await again.put(function, [b"a"], "generator", call=call)
    if client_first:
        await again.say(api.WatchCall("fc-unknown"))
        await again.wait(api.CallState)  # all that it said before has been heard
        await reopen(fake, server)
    await fake.say(node.NodeYielded(living, one, 0, [1]), b"a")
    _, payload = await again.wait(api.Yielded, first=0)
    assert bytes(payload) == b"a"


async def test_an_ephemeral_app_whose_owner_does_not_come_back_ends(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    await client.call(function, b"a")
    await world.kill(server)

    server = await world.server(restart_grace_s=0.1)
    await reopen(fake, server)
    await fake.until(lambda: fake.stopped)
    assert (await world.http(server, "GET", "/v1/apps"))[1] == []


async def test_a_node_that_reconnects_keeps_its_containers(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    await client.call(function, b"a")
    await fake.drop()
    await fake.open(server)
    assert await client.call(function, b"b") == ("returned", b"b")
    assert len(fake.containers) == 1 and not fake.stopped


async def test_a_node_that_stays_away_loses_its_inputs_to_another(world):
    server = await world.server(node_grace_s=0.1)
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    await fake.drop()
    other = await world.node(server, name="n2")
    assert await client.output(call) == ("returned", b"a")
    assert other.ran == [f"{call}:0"]


async def test_a_restarted_node_runs_what_it_ran_before_anew(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", client=client)
    call = await client.put(function, [b"a"], "remote")
    await fake.until(lambda: any(fake.inputs.values()))
    await fake.drop()
    again = await world.node(server, boot="b2")
    assert await client.output(call) == ("returned", b"a")
    assert again.ran == [f"{call}:0"]


async def test_a_request_said_twice_makes_one_app(world):
    server = await world.server()
    first = await world.app(server, "f", request="request-once")
    assert await world.app(server, "f", request="request-once") == first
    await world.kill(server)
    server = await world.server()
    assert await world.app(server, "f", request="request-once") == first


async def test_a_spawn_said_twice_is_one(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"a"], "spawn")
    await client.put(function, [b"a"], "spawn", call=call)
    await client.until(lambda: len([m for m, _ in client.got if isinstance(m, api.Accepted)]) == 2)
    await fake.until(lambda: fake.acked)
    await client.put(function, [b"a"], "spawn", call=call)
    await client.until(lambda: len([m for m, _ in client.got if isinstance(m, api.Accepted)]) == 3)
    await settled(server)
    assert fake.ran == [f"{call}:0"]


async def test_an_unknown_call_is_said_to_be_unknown(world):
    server = await world.server()
    client = await world.client(server)
    await client.say(api.WatchCall("fc-0000000000000000"))
    assert (await client.wait(api.CallState))[0].known is False


async def test_a_result_that_has_expired_is_said_to_be(world):
    server = await world.server()
    fake = await world.node(server)
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"a"], "spawn")
    await fake.until(lambda: fake.acked)
    await server._call_rows.expire(time.time() + 1, 3600.0)
    await client.say(api.WatchCall(call))
    state, _ = await client.wait(api.CallState)
    assert (state.known, state.expired, state.inputs) == (True, True, 1)


async def test_a_watcher_hears_of_a_result_as_it_ends(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    _, function = await world.app(server, "f", detached=True)
    call = await client.put(function, [b"a", b"b"], "spawn")
    await client.wait(api.Accepted)
    await client.say(api.WatchCall(call, [1]))
    assert (await client.wait(api.CallState))[0].ended == 0
    await fake.until(lambda: sum(map(len, fake.inputs.values())) > 0)
    fake.answering = True
    fake.answer_all()
    assert await client.output(call, 1) == ("returned", b"b")
    assert f"{call}:0" not in client.outputs


async def settled(server):
    """Everything that is on its way to the disk is there."""
    for _ in range(3):
        await server._database.write(lambda connection: None)
        await asyncio.sleep(0)


async def test_what_was_taken_of_a_generator_is_said_again_to_a_node_that_reconnects(world):
    server = await world.server()
    fake = await world.node(server)
    fake.answering = False
    client = await world.client(server)
    app, function = await world.app(server, "g", client=client, is_generator=True)
    call = await client.put(function, [b"a"], "generator")
    one = f"{call}:0"
    await fake.until(lambda: any(fake.inputs.values()))
    (container,) = fake.containers
    await fake.say(node.NodeYielded(container, one, 0, [1] * 64), b"a" * 64)
    message, _ = await client.wait(api.Yielded)
    await fake.drop()
    await client.say(api.Credit(one, message.attempt, 32))  # the link that would carry it on is broken
    await client.say(api.WatchCall("fc-unknown"))
    await client.wait(api.CallState)
    await reopen(fake, server)
    assert (await fake.wait(node.GrantYields))[0] == node.GrantYields(container, one, 32)

    for _ in range(2):  # a client that reconnects says it again, and the items it has not taken come again
        client = await world.client(server, client.session)
        await client.say(api.Attach(app))
        await client.put(function, [b"a"], "generator", call=call)
        await client.say(api.Credit(one, message.attempt, 32))
        assert (await client.wait(api.Yielded))[0] == api.Yielded(one, message.attempt, 32, [1] * 32)
    await client.say(api.Credit(one, message.attempt, 64))
    await fake.wait(node.GrantYields, taken=64)
    assert [m.taken for m, _ in fake.got if isinstance(m, node.GrantYields)] == [32, 64]
