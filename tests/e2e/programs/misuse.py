"""What is wrong is said before anything runs, with the way that is right."""

import ingle

app = ingle.App("misuse")
invalid = ingle.exceptions.InvalidError


def plain(x):
    return x


def expect(kind, call, *words):
    try:
        value = call()
    except kind as error:
        for word in words:
            assert word in str(error), f"{word!r} is not in {error}"
        return
    raise AssertionError(f"it returned {value!r}")


@app.local_entrypoint()
def decorators():
    expect(invalid, lambda: app.function(plain), "@app.function()")
    expect(invalid, lambda: app.function(memroy=5), "memroy", "memory")
    expect(invalid, lambda: app.function()(lambda x: x))

    def local(x):
        return x

    expect(invalid, lambda: ingle.App("other").function()(local), "serialized=True")


@app.local_entrypoint()
def values():
    for options in (
        {"cpu": -1}, {"cpu": (2, 1)}, {"memory": 0}, {"memory": (512, 256)}, {"memory": "much"}, {"timeout": 0},
        {"retries": -1}, {"max_containers": 0}, {"min_containers": 3, "max_containers": 2}, {"env": {"a": 1}},
        {"scaledown_window": -1}, {"startup_timeout": -5},
    ):  # fmt: skip
        name = next(iter(options))
        expect(invalid, lambda options=options: ingle.App("v").function(**options)(plain), name)
    expect(invalid, lambda: ingle.App("bad name!"))
    expect(invalid, lambda: ingle.Retries(max_retries=-1))


@app.local_entrypoint()
def what_is_not_there_yet():
    absent = ingle.exceptions.NotAvailableError
    for options in ({"gpu": "any"}, {"schedule": object()}, {"secrets": [object()]}, {"volumes": {"/data": object()}}):
        other = ingle.App("later")

        def use(options=options, other=other):
            function = other.function(**options)(plain)
            with other.run():
                return function.remote(1)

        expect((absent, invalid), use, next(iter(options)))
