"""An app while it runs: made at the server, attached to this program's session, stopped at the end of the block."""

from __future__ import annotations

import os
import time

from ingle.exceptions import Error, InvalidError
from ingle.model.ids import new_id
from ingle.runner import context
from ingle.sdk import output, reference, serialization, source
from ingle.sdk.connection import current
from ingle.sdk.image import Image
from ingle.sdk.options import check_available, check_name
from ingle.sdk.raw import is_async
from ingle.sdk.wake import Wake, in_thread
from ingle.wire import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingle.sdk.app import App
    from ingle.sdk.connection import Connection
    from ingle.sdk.function import Function

    AnyFunction = Function[..., Any, Any]

#: A server that is away is given so long to hear that an app stops; without its client the app ends anyway.
STOP_S_MAX = 3.0
#: The last log lines of a stopped app are waited for so long.
LAST_LOGS_S_MAX = 10.0


class Running:
    """The context manager that `app.run()` returns.

    Attributes:
        app_id: `ap-…` while the app runs, else None.
        end_reason: why it does not run any more; empty while it does.
    """

    def __init__(self, app: App, name: str | None, detach: bool):
        if name is not None:
            check_name("app", name)
        self.app_id: str | None = None
        self.end_reason = ""
        self.attach = api.Attach("")
        self._app = app
        self._name = name
        self._detach = detach
        self._pid = 0
        self._has_ended = Wake()
        self._connection: Connection | None = None

    def __enter__(self) -> App:
        self._start()
        return self._app

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stop()

    async def __aenter__(self) -> App:
        await in_thread(self._start)
        return self._app

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await in_thread(self._stop)

    def ended(self, reason: str) -> None:
        """The connection says: the app is no more."""
        self.end_reason = self.end_reason or reason or "it was stopped"
        self._forget_ids()
        self._has_ended.set()

    # ---- start

    def _start(self) -> None:
        app = self._app
        if context.in_container:
            told = "`app.run()` is for programs on your own machine; this app runs already"
            if not context.current_input_id():  # its file is being imported
                told += ': put it under `if __name__ == "__main__":`, which containers skip'
            raise InvalidError(told)
        if app._running is not None:
            raise InvalidError("this app is running already: a second `app.run()` needs the first to end")
        functions = list(app.registered_functions.values())
        for function in functions:
            check_available(function)
        self._pid = os.getpid()
        main = _main_name(functions)
        self._connection = connection = current()
        request = {
            "request": new_id("rq"),
            "name": self._name or app.name or main or _first_module(functions) or "app",
            "detached": self._detach,
            "functions": _specs(connection, app, functions, main),
        }
        created = connection.http.json("POST", "/v1/apps", request)
        self.app_id = str(created["app"])
        try:
            self.attach = api.Attach(self.app_id, owner=not self._detach, logs=output.enabled())
            connection.apps[self.app_id] = self
            connection.say(self.attach, kept=True)
            for function in functions:
                function._id = created["functions"][function.name]
            app._running = self
        except BaseException:
            self._stop()
            raise

    # ---- stop

    def _stop(self) -> None:
        connection, app_id = self._connection, self.app_id
        if app_id is None or connection is None or os.getpid() != self._pid:
            return
        try:
            if not self._detach and not self.end_reason and connection.error is None:
                connection.http.json("POST", f"/v1/apps/{app_id}/stop", {}, STOP_S_MAX)
                if output.enabled():
                    self._wait_for_end()
        except Error as error:
            # The server ends the app anyway, when this session is over; the block's own error matters more.
            output.show_notice("warning", app_id, f"the app could not be stopped: {error}")
        finally:
            connection.apps.pop(app_id, None)
            self.end_reason = self.end_reason or "its `app.run()` block has ended"
            self._forget_ids()
            if self._app._running is self:
                self._app._running = None
            self.app_id = None
        if output.enabled():
            output.drain()

    def _forget_ids(self) -> None:
        for function in list(self._app.registered_functions.values()):
            function._id = None

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + LAST_LOGS_S_MAX
        while not self.end_reason and time.monotonic() < deadline:
            self._has_ended.wait(deadline - time.monotonic())


# ---- what the server is told


def _main_name(functions: list[AnyFunction]) -> str | None:
    """Under which name containers import this program, if functions of it are in the program's own file.

    Raises:
        InvalidError: it has no file.
    """
    own = [function for function in functions if function.__module__ == "__main__"]
    shipped = [function for function in own if not _options(function)["serialized"]]
    entry = source.main_entry() if own else None
    if entry is None:
        if shipped:
            raise InvalidError(
                f"{shipped[0].name!r} is defined in an interactive session, which has no file to ship: "
                f"ship the function itself with @app.function(serialized=True)"
            )
        return None
    if any(_options(function)["include_source"] for function in own):
        serialization.name_main(entry.module)
    return entry.module


def _first_module(functions: list[AnyFunction]) -> str | None:
    return functions[0].__module__.rpartition(".")[2] if functions else None


def _specs(connection: Connection, app: App, functions: list[AnyFunction], main: str | None) -> list[dict[str, Any]]:
    modules: dict[str, str] = {}
    for function in functions:
        if _options(function)["include_source"] and not (function.__module__ == "__main__" and main is None):
            modules[_module(function, main)] = function.__module__
    tree = source.ship(connection.http, sorted(modules.items())) if modules else None
    return [_spec(connection, app, function, main, tree) for function in functions]


def _spec(
    connection: Connection, app: App, function: AnyFunction, main: str | None, tree: str | None
) -> dict[str, Any]:
    """A model.function.FunctionSpec as JSON, with empty ids."""
    options = _options(function)
    image = (options["image"] or app.image or Image.debian_slim())._spec
    assert image is not None  # outside of containers each has one
    cpu, cpu_limit = options["cpu"]
    memory, memory_limit = options["memory"]
    retries = options["retries"]
    definition = None
    if options["serialized"]:
        definition = _definition(connection, function, options["include_source"])
    return {
        "id": "",
        "app_id": "",
        "name": function.name,
        "module": _module(function, main),
        "qualname": function.__qualname__,
        "image": {"python": image.python, "kind": image.kind},
        "is_generator": function.is_generator,
        "is_async": is_async(function._ingle_raw),
        "definition": definition,
        "source": tree if options["include_source"] else None,
        "resources": {"cpu_milli": _milli(cpu), "memory_mib": memory},
        "limits": {"cpu_milli": None if cpu_limit is None else _milli(cpu_limit), "memory_mib": memory_limit},
        "env": options["env"],
        "timeout_s": float(options["timeout"]),
        "startup_timeout_s": float(options["startup_timeout"]),
        "retries": {
            "max_retries": retries.max_retries,
            "initial_delay": float(retries.initial_delay),
            "backoff_coefficient": float(retries.backoff_coefficient),
            "max_delay": float(retries.max_delay),
        },
        "scaling": {
            "min_containers": options["min_containers"],
            "max_containers": options["max_containers"],
            "buffer_containers": options["buffer_containers"],
            "scaledown_window_s": float(options["scaledown_window"]),
        },
        "block_network": options["block_network"],
        "single_use": options["single_use_containers"],
    }


def _definition(connection: Connection, function: AnyFunction, has_source: bool) -> str:
    """The blob that holds the function's code. What the container can import goes by name, the rest by value."""
    reference.pickling_definition = True
    try:
        pieces, _ = serialization.dumps_definition(function._ingle_raw, by_value=not has_source)
    except InvalidError as error:
        raise InvalidError(f"function {function.name!r} {error}") from error
    finally:
        reference.pickling_definition = False
    return connection.blobs.put(pieces).decode()


def _module(function: AnyFunction, main: str | None) -> str:
    return main or "__main__" if function.__module__ == "__main__" else function.__module__


def _options(function: AnyFunction) -> dict[str, Any]:
    assert function._options is not None
    return function._options


def _milli(cores: float) -> int:
    return max(1, round(cores * 1000))
