"""An app: a named group of functions that live and die together.

In a container this module is part of each cold start: there the decorators register the raw function, and nothing else.
"""

from __future__ import annotations

from ingle.runner import context
from ingle.sdk.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
    from typing import Any, ParamSpec, Protocol, TypeVar, overload

    from ingle.sdk.image import Image
    from ingle.sdk.retries import Retries
    from ingle.sdk.running import Running

    P = ParamSpec("P")
    R = TypeVar("R")
    F = TypeVar("F", bound=Callable[..., Any])

    class FunctionDecorator(Protocol):
        """What `@app.function(...)` does to a Python function, for type checkers."""

        @overload
        def __call__(self, raw: Callable[P, AsyncGenerator[R, Any]]) -> Function[P, R, AsyncGenerator[R, Any]]: ...
        @overload
        def __call__(self, raw: Callable[P, AsyncIterator[R]]) -> Function[P, R, AsyncIterator[R]]: ...
        @overload
        def __call__(self, raw: Callable[P, Generator[R, Any, Any]]) -> Function[P, R, Generator[R, Any, Any]]: ...
        @overload
        def __call__(self, raw: Callable[P, Iterator[R]]) -> Function[P, R, Iterator[R]]: ...
        @overload
        def __call__(self, raw: Callable[P, Coroutine[Any, Any, R]]) -> Function[P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(self, raw: Callable[P, R]) -> Function[P, R, R]: ...


class App:
    """A named group of functions.

    Args:
        name: letters, digits, `-`, `_` and `.`, at most 64; default: the name of the program's file.
        image: image of every function that names none; default: `Image.debian_slim()`.

    Raises:
        InvalidError: the name or the image is not one.
    """

    def __init__(self, name: str | None = None, *, image: Image | None = None):
        self.name = name
        self.image = image
        #: The functions of this app by name.
        self.registered_functions: dict[str, Function[..., Any, Any]] = {}
        #: The local entrypoints of this app by name.
        self.registered_entrypoints: dict[str, LocalEntrypoint] = {}
        self._running: Running | None = None
        if not context.in_container:
            from ingle.sdk.options import check_app

            check_app(name, image)

    @property
    def app_id(self) -> str | None:
        """Its id (`ap-…`) while it runs, else None."""
        if context.in_container:
            return context.app
        return self._running.app_id if self._running else None

    def function(
        self,
        _misused: None = None,
        *,
        image: Image | None = None,
        name: str | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 300,
        startup_timeout: float | None = None,
        retries: int | Retries | None = None,
        min_containers: int = 0,
        max_containers: int | None = None,
        buffer_containers: int = 0,
        scaledown_window: float = 60,
        serialized: bool = False,
        include_source: bool = True,
        block_network: bool = False,
        single_use_containers: bool = False,
        is_generator: bool | None = None,
        gpu: str | list[str] | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        schedule: object | None = None,
        secrets: Sequence[object] = (),
        volumes: dict[str, object] | None = None,
        **unknown: Any,
    ) -> FunctionDecorator:
        """Makes a Python function a function of this app.

        Args:
            image: what the container holds; default: the app's.
            name: its name in the app; default: that of the Python function.
            cpu: cores that are kept free for a container; or (request, limit) in cores. Default 0.125, no limit.
            memory: MiB that are kept free for a container; or (request, limit) in MiB, and above the limit it is
                killed (OutOfMemoryError). Default 128, no limit but the node's.
            env: environment variables of the container.
            timeout: seconds that one attempt may run, from the start of its body.
            startup_timeout: seconds that a container may take to start; default: `timeout`.
            retries: more attempts after an exception or a time-out, or `Retries(...)`.
            min_containers: so many are always there.
            max_containers: never more than these; default: as many as the nodes hold.
            buffer_containers: so many idle ones more, while the function is active.
            scaledown_window: seconds that an idle container is kept.
            serialized: ship the function itself (by cloudpickle) instead of the module that defines it.
            include_source: ship the program's own files.
            block_network: the container has no network.
            single_use_containers: each container runs one input.
            is_generator: say so where it cannot be seen (a plain function that returns a generator).
            gpu, cloud, region, schedule, secrets, volumes: for a later version; using one is an error that says so.

        Raises:
            InvalidError: an option is unknown, of the wrong type or out of its range, or the function is one that a
                container could not import.
        """
        if context.in_container:
            return self._register_raw(name)
        given = dict(locals())
        del given["self"], given["_misused"], given["unknown"]
        from ingle.sdk.options import check_function, refuse_misuse

        refuse_misuse("app.function", _misused, unknown, tuple(given))
        options = check_function(given)

        def decorate(raw: Callable[..., Any]) -> Function[..., Any, Any]:
            from ingle.sdk.options import check_raw

            function: Function[..., Any, Any] = Function(raw, self, check_raw(raw, options), options)
            self._register(function)
            return function

        return decorate  # type: ignore[return-value]

    def local_entrypoint(self, _misused: None = None, *, name: str | None = None, **unknown: Any) -> Callable[[F], F]:
        """Makes a Python function the one that `ingle run` starts, here, with the app running around it.

        Its parameters become options of the command. Calling it calls the plain function.

        Args:
            name: its name for `ingle run file.py::name`; default: that of the function.

        Raises:
            InvalidError: it was used without parentheses, or with an unknown option.
        """
        if context.in_container:
            return lambda raw: raw
        from ingle.sdk.options import check_entrypoint, refuse_misuse

        refuse_misuse("app.local_entrypoint", _misused, unknown, ("name",))

        def decorate(raw: F) -> F:
            entrypoint = LocalEntrypoint(raw, self, check_entrypoint(raw, name))
            self.registered_entrypoints[entrypoint.name] = entrypoint
            return entrypoint  # type: ignore[return-value]

        return decorate

    def run(self, *, name: str | None = None, detach: bool = False) -> Running:
        """Runs the app while a `with` or `async with` block lasts; no container of it outlives the block.

        Args:
            name: another name for this run.
            detach: let it live on after the block; `ingle app stop` ends it.

        Raises:
            InvalidError: it runs already, or this is inside a container.
            ConnectionError: no server answers, and none could be started.
            SetupError: this machine lacks something that the server needs.
            NotAvailableError: a function uses an option of a later version.
        """
        from ingle.sdk.running import Running

        return Running(self, name, detach)

    def _register(self, function: Function[..., Any, Any]) -> None:
        known = self.registered_functions.get(function.name)
        if known is not None and _place(known) != _place(function):
            from ingle.exceptions import InvalidError

            raise InvalidError(
                f"two functions of this app are called {function.name!r} ({_place(known)} and {_place(function)}): "
                f'give one another name, @app.function(name="…")'
            )
        self.registered_functions[function.name] = function

    def _register_raw(self, name: str | None) -> FunctionDecorator:
        def register(raw: Any) -> Any:
            function: Function[..., Any, Any] = Function(raw, self, name or raw.__name__)
            self.registered_functions[function.name] = function
            return function

        return register

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_app, (self.name,)

    def __repr__(self) -> str:
        return f"<ingle.App {self.name or ''}>"


def rebuild_app(name: str | None) -> App:
    """The app on the other side: the one of that name if its module is loaded here, else an empty one."""
    import sys

    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            if type(value) is App and value.name == name:
                return value
    return App(name)


class LocalEntrypoint:
    """The plain function that `ingle run` starts.

    Attributes:
        name: its name for `file.py::name`.
        app: the app that runs around it.
        raw: the Python function.
    """

    def __init__(self, raw: Callable[..., Any], app: App, name: str):
        self.raw = raw
        self.app = app
        self.name = name
        self.__name__ = getattr(raw, "__name__", name)
        self.__qualname__ = getattr(raw, "__qualname__", name)
        self.__module__ = raw.__module__
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<ingle.LocalEntrypoint {self.name}>"


def _place(function: Function[..., Any, Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
