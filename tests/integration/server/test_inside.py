"""Programs inside containers call functions of their own app, by way of their node."""

from ingle.server import call as calls
from ingle.testing.waiting import wait_until_async
from ingle.wire import api, node
from ingle.wire.codec import split


class Inside:
    """A client inside a container, played through the node's connection."""

    def __init__(self, fake, container, name="c-1"):
        self.fake, self.container, self.name = fake, container, name

    async def say(self, message, payload=b""):
        await self.fake.say(node.FromClient(self.container, self.name), api.CODEC.encode(message, payload))

    async def wait(self, kind, **fields):
        def found():
            for message, payload in self.fake.got:
                if isinstance(message, node.ToClient) and message.client == self.name and not message.closed:
                    said, rest = api.CODEC.decode(payload)
                    if isinstance(said, kind) and all(getattr(said, k) == v for k, v in fields.items()):
                        return said, rest
            return None

        return await self.fake.until(found, f"{kind.__name__} inside")


async def start(world, server, *names):
    fake = await world.node(server)
    client = await world.client(server)
    app, *functions = await world.app(server, *names, client=client)
    await client.call(functions[0], b"warm")
    (container,) = fake.containers
    return fake, client, app, functions, Inside(fake, container)


async def test_a_container_calls_another_function_of_its_app(world):
    server = await world.server()
    fake, _, _, (_, other), inside = await start(world, server, "f", "g")
    assert next(iter(fake.containers.values())).app_functions["g"] == other
    await inside.say(api.Hello("se-inside-1", 1, "ap-a-lie"))
    await inside.wait(api.Welcome)
    call = "fc-0123456789abcdef"
    await inside.say(api.PutInputs(call, other, "remote", 0, [5]), b"hello")
    outputs, payload = await inside.wait(api.Outputs)
    assert (outputs.inputs, outputs.outcomes, split(payload, outputs.sizes)) == (
        [f"{call}:0"],
        ["returned"],
        [b"hello"],
    )


async def test_it_may_not_call_functions_of_other_apps(world):
    server = await world.server()
    _, client, _, _, inside = await start(world, server, "f")
    other_app, other = await world.app(server, "secret", client=client)
    await inside.say(api.Hello("se-inside-1", 1, other_app))
    await inside.say(api.PutInputs("fc-0123456789abcdef", other, "remote", 0, [0]))
    refused, _ = await inside.wait(api.Refused)
    assert refused.code == "not_found"
    await inside.say(api.Attach(other_app))
    assert (await inside.wait(api.Refused, call=""))[0].code == "not_found"
    call = await client.put(other, [b"a"], "spawn")
    await client.wait(api.Accepted)
    await inside.say(api.WatchCall(call))
    assert (await inside.wait(api.CallState))[0].known is False


async def test_its_calls_end_with_its_container(world):
    server = await world.server()
    fake, _, _, (_, other), inside = await start(world, server, "f", "g")
    fake.answering = False
    await inside.say(api.Hello("se-inside-1", 1))
    call = "fc-0123456789abcdef"
    await inside.say(api.PutInputs(call, other, "remote", 0, [5]), b"hello")
    await fake.until(lambda: any(fake.inputs.values()))
    await fake.say(node.ContainerExited(inside.container, "killed", "killed"))
    await fake.wait(node.CancelInput, input=f"{call}:0")
    assert not [s for s in server.sessions if s.container]


async def test_a_client_inside_that_says_nonsense_is_cut_off_alone(world):
    server = await world.server()
    fake, client, _, (function,), inside = await start(world, server, "f")
    await fake.say(node.FromClient(inside.container, "c-1"), b"nonsense")
    await fake.wait(node.ToClient, client="c-1", closed=True)
    assert await client.call(function, b"a") == ("returned", b"a")


async def test_after_a_reconnect_of_its_node_it_has_to_say_hello_again(world):
    server = await world.server()
    fake, _, _, (function,), inside = await start(world, server, "f")
    await inside.say(api.Hello("se-inside-1", 1))
    await inside.wait(api.Welcome)
    fake.answering = False
    call = "fc-0123456789abcdef"
    await inside.say(api.PutInputs(call, function, "remote", 0, [5]), b"hello")
    await fake.until(lambda: any(fake.inputs.values()))
    await fake.drop()
    fake.got.clear()
    await fake.open(server)
    again = Inside(fake, inside.container, "c-2")
    await again.say(api.Hello("se-inside-1", 1))
    await again.say(api.PutInputs(call, function, "remote", 0, [5]), b"hello")
    fake.answer_all()
    assert (await again.wait(api.Outputs))[0].inputs == [f"{call}:0"]
    assert fake.ran.count(f"{call}:0") == 1


async def test_a_container_cannot_fill_the_server_with_inputs(world, monkeypatch):
    """Neither by many calls, nor from many programs: empty inputs cost the server memory too."""
    monkeypatch.setattr(calls, "CONTAINER_INPUTS_MAX", 10)
    server = await world.server()
    fake, _, _, (function,), inside = await start(world, server, "f")
    fake.answering = False
    await inside.say(api.Hello("se-inside-1", 1))
    await inside.say(api.PutInputs("fc-0123456789abcdef", function, "map", 0, [0] * 6))
    await inside.say(api.PutInputs("fc-0123456789abcdef", function, "map", 0, [0] * 10))  # six of them said again
    other = Inside(fake, inside.container, "c-2")
    await other.say(api.Hello("se-inside-2", 1))
    await other.say(api.PutInputs("fc-0123456789abcdee", function, "map", 0, [0]))
    refused, _ = await other.wait(api.Refused)
    assert refused.call == "fc-0123456789abcdee" and "under way" in refused.message
    assert server.parts.calls.pending == 10
    fake.answering = True
    fake.answer_all()
    await wait_until_async(lambda: server.parts.calls.pending == 0, "all have ended")
    await inside.say(api.AckOutputs([f"fc-0123456789abcdef:{n}" for n in range(10)]))
    await inside.say(api.PutInputs("fc-0123456789abcded", function, "map", 0, [0] * 10))
    await fake.until(
        lambda: any("fc-0123456789abcded:0" in m.inputs for m, _ in fake.got if isinstance(m, node.SendInputs))
    )
