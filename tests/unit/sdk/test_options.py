"""What the decorators accept; each refusal shows the way that is right."""

import pytest

import ingle
from ingle.exceptions import InvalidError, NotAvailableError


def plain(x):
    return x


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpu": -1}, "cpu"),
        ({"cpu": "2"}, "cpu"),
        ({"cpu": (2, 1)}, "limit"),
        ({"cpu": True}, "cpu"),
        ({"memory": 0}, "memory"),
        ({"memory": 1.5}, "memory"),
        ({"memory": (1, 2, 3)}, "memory"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"startup_timeout": -5}, "startup_timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"max_containers": 0}, "max_containers"),
        ({"min_containers": 3, "max_containers": 2}, "max_containers"),
        ({"buffer_containers": -1}, "buffer_containers"),
        ({"scaledown_window": -1}, "scaledown_window"),
        ({"env": {"a": 1}}, "env"),
        ({"env": ["a"]}, "env"),
        ({"env": {"a=b": "c"}}, "env"),
        ({"image": "debian"}, "debian_slim"),
        ({"serialized": 1}, "serialized"),
        ({"name": "a b"}, "name"),
        ({"gpu": 5}, "gpu"),
        ({"region": 5}, "region"),
        ({"cloud": 5}, "cloud"),
        ({"schedule": "daily"}, "schedule"),
        ({"secrets": "s"}, "secrets"),
        ({"volumes": {"data": object()}}, "absolute"),
        ({"memroy": 5}, "did you mean `memory`"),
        ({"is_generator": "yes"}, "is_generator"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(InvalidError, match=words):
        ingle.App("x").function(**options)


def test_wrong_functions():
    app = ingle.App("x")
    with pytest.raises(InvalidError, match=r"`@app.function\(\)`"):
        app.function(plain)
    with pytest.raises(InvalidError, match=r"`@app.local_entrypoint\(\)`"):
        app.local_entrypoint(plain)

    def inner():
        pass

    with pytest.raises(InvalidError, match="serialized=True"):
        app.function()(inner)
    with pytest.raises(InvalidError, match="serialized=True"):
        app.function()(lambda: 1)
    with pytest.raises(InvalidError, match="class"):
        app.function()(dict)
    with pytest.raises(InvalidError, match="twice"):
        app.function()(app.function()(plain))
    with pytest.raises(InvalidError):
        app.local_entrypoint()(app.function(name="other")(plain))
    with pytest.raises(InvalidError, match="two functions"):
        app.function(name="plain", serialized=True)(inner)
    with pytest.raises(InvalidError, match="letters"):
        ingle.App("bad name!")


@pytest.mark.parametrize(
    "options",
    [
        {"gpu": "any"},
        {"cloud": "x"},
        {"region": ["a"]},
        {"schedule": object()},
        {"secrets": [object()]},
        {"volumes": {"/d": 1}},
    ],
)
def test_what_a_later_version_brings_is_said_at_use(options, stub):
    app = ingle.App("later")
    app.function(**options)(plain)
    with pytest.raises(NotAvailableError, match="not available yet") as caught, app.run():
        pass
    assert next(iter(options)) in str(caught.value)


def test_the_unused_later_options_are_fine(stub):
    app = ingle.App("later")
    app.function(secrets=[], volumes={}, gpu=None)(plain)
    with app.run():
        pass


def test_retries():
    for wrong in (
        {"max_retries": -1},
        {"max_retries": 1, "initial_delay": -1},
        {"max_retries": 1, "backoff_coefficient": 0.5},
    ):
        with pytest.raises(InvalidError, match=list(wrong)[-1]):
            ingle.Retries(**wrong)
    assert ingle.Retries(3, backoff_coefficient=2).delay_s(3) == 4


def test_images():
    assert ingle.Image.debian_slim("3.12")._spec.python == "3.12"
    for wrong in ("3", "3.5", "three", 3.11, "3.99"):
        with pytest.raises(InvalidError, match=r"3\.1"):
            ingle.Image.debian_slim(wrong)


def test_a_spec_says_everything(stub):
    app = ingle.App("specs", image=ingle.Image.debian_slim("3.12"))
    app.function(
        name="full", cpu=(0.5, 2), memory=(256, 512), env={"A": "b"}, timeout=7, retries=ingle.Retries(2, 0.5),
        min_containers=0, max_containers=3, buffer_containers=1, scaledown_window=9, block_network=True,
        single_use_containers=True,
    )(plain)  # fmt: skip
    app.function(startup_timeout=3)(count)
    app.function(name="waits", is_generator=False)(wait)
    with app.run(name="another"):
        pass
    said = stub.apps["ap-0"]
    assert said["name"] == "another" and said["detached"] is False
    full, counts, waits = said["functions"]
    assert full["resources"] == {"cpu_milli": 500, "memory_mib": 256} and full["limits"] == {
        "cpu_milli": 2000,
        "memory_mib": 512,
    }
    assert full["image"] == {"python": "3.12", "kind": "debian_slim"} and full["env"] == {"A": "b"}
    assert full["timeout_s"] == full["startup_timeout_s"] == 7 and full["retries"]["initial_delay"] == 0.5
    assert full["scaling"] == {
        "min_containers": 0,
        "max_containers": 3,
        "buffer_containers": 1,
        "scaledown_window_s": 9,
    }
    assert full["block_network"] and full["single_use"] and not full["is_generator"]
    assert counts["is_generator"] and counts["startup_timeout_s"] == 3 and counts["timeout_s"] == 300
    assert waits["is_async"] and full["source"] == counts["source"]
    from ingle.model.function import FunctionSpec
    from ingle.wire import codec

    for function in said["functions"]:
        assert isinstance(codec.load(FunctionSpec, codec.dump(function)), FunctionSpec)


def count():
    yield 1


async def wait():
    pass
