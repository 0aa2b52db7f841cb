"""A function of an app: what the decorator returns, and every way to call it.

In a container this module is part of each cold start, so it holds no more than the names; what they do is in call.py,
map.py and generator.py, loaded at the first call.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
    from typing import Any, Generic, ParamSpec, TypeVar

    from ingle.sdk.app import App
    from ingle.sdk.function_call import FunctionCall

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
    L = TypeVar("L", covariant=True)
else:
    from ingle.sdk.generic import Generic, L, P, R


class Function(Generic[P, R, L]):
    """A function that runs in containers of its own.

    `@app.function(...)` makes it. Parameters are those of the Python function, R is the type of its result (of a
    generator: of its items), L what a local call returns (of an async function: a coroutine).

    Attributes:
        name: its name in the app.
        app: the app that it belongs to; None for a function that arrived as an argument.
    """

    def __init__(self, raw: Any, app: App | None, name: str, options: dict[str, Any] | None = None):
        self._ingle_raw = raw
        self.app = app
        self.name = name
        #: Validated options (sdk/options.py); None in a container, where nobody needs them.
        self._options = options
        #: The function's id at the server, while its app runs.
        self._id: str | None = None
        self._generator: bool | None = None
        self.__name__: str = getattr(raw, "__name__", name)
        self.__qualname__: str = getattr(raw, "__qualname__", name)
        self.__module__ = getattr(raw, "__module__", "")
        self.__doc__ = getattr(raw, "__doc__", None)
        if raw is not None:
            self.__wrapped__ = raw

    # ---- what others may know

    @property
    def object_id(self) -> str | None:
        """Its id (`fu-…`) while its app runs, else None."""
        return self._id

    @property
    def is_generator(self) -> bool:
        """Whether it yields: `.remote_gen` is then the way to call it."""
        if self._generator is None:
            from ingle.sdk.raw import yields

            self._generator = yields(self._ingle_raw, (self._options or {}).get("is_generator"))
        return self._generator

    # ---- ways to call it

    @property
    def remote(self) -> _Remote[P, R]:
        """Runs it in a container and returns its result; what it raises is raised here.

        Raises:
            InvalidError: its app is not running, or it is a generator.
            FunctionTimeoutError: it ran longer than its `timeout`.
            ExecutionError: it could not be run to an end; a subclass says why.
            ConnectionError: the server was lost and did not come back.
        """
        return _Remote(self)

    @property
    def local(self) -> _Local[P, R, L]:
        """Runs it here, as the plain Python function that it is; of an async function: makes its coroutine, which
        `await f.local.aio(...)` awaits as well.

        Raises:
            InvalidError: it arrived as an argument, and its module cannot be imported here.
        """
        if self._ingle_raw is None:
            from ingle.sdk.reference import find_raw

            find_raw(self)
        return _Local(self)

    @property
    def spawn(self) -> _Spawn[P, R]:
        """Starts it in a container and returns a `FunctionCall` at once; the server has it on disk by then.

        Raises:
            InvalidError: its app is not running, or it is a generator.
            ServerError: the server could not keep it.
            ConnectionError: the server was lost and did not come back.
        """
        return _Spawn(self)

    @property
    def map(self) -> _Map[R]:
        """Runs it once for each element (with several iterables: for each tuple of elements) and yields the results.

        Args:
            kwargs: keyword arguments that every input gets; default: none.
            order_outputs: yield in the order of the inputs (default), or, if False, as results arrive.
            return_exceptions: yield failures as exception objects; default: the first to arrive ends the map, cancels
                what is left of it and is raised.

        It reads its input as it goes; at most 1 000 inputs are under way. `.aio` takes async iterables as well.

        Raises:
            InvalidError: its app is not running, it is a generator, or there is nothing to iterate over.
            Otherwise what `remote` raises, and what the iterable raises.
        """
        return _Map(self)

    @property
    def starmap(self) -> _Starmap[R]:
        """Like `map`, with each element a tuple of positional arguments: `starmap([(1, 2), (3, 4)])`."""
        return _Starmap(self)

    @property
    def for_each(self) -> _ForEach:
        """Like `map` for its effects: waits for all and forgets the results.

        Args:
            kwargs: keyword arguments that every input gets; default: none.
            ignore_exceptions: go on after failures; default: the first to arrive ends it and is raised.
        """
        return _ForEach(self)

    @property
    def spawn_map(self) -> _SpawnMap[R]:
        """Like `map`, but returns a `FunctionCall` once every input is on the server's disk.

        Its results: `call.get(index=…)` for one, `call.iter()` for all.
        """
        return _SpawnMap(self)

    @property
    def remote_gen(self) -> _RemoteGen[P, R]:
        """Runs a generator function in a container and yields its items as it yields them, at most 64 ahead.

        Raises:
            InvalidError: its app is not running, or it is no generator function.
            Otherwise what `remote` raises, where the generator ended.
        """
        return _RemoteGen(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> L:
        from ingle.exceptions import InvalidError

        raise InvalidError(
            f"`{self.name}(...)` does not say where to run: use `{self.name}.remote(...)` for a container, "
            f"`{self.name}.local(...)` for this process"
        )

    def __get__(self, instance: object, owner: type | None = None) -> Function[P, R, L]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from ingle.sdk.reference import id_to_pickle

        known = id_to_pickle(self)
        return rebuild_function, (known, self.name, self.is_generator, self.__module__, self.__qualname__)

    def __repr__(self) -> str:
        return f"<ingle.Function {self.name}{' ' + self._id if self._id else ''}>"


def rebuild_function(
    known: str | None, name: str, generator: bool, module: str, qualname: str
) -> Function[..., Any, Any]:
    """The function on the other side; called when it is unpickled."""
    function: Function[..., Any, Any] = Function(None, None, name)
    function._id = known
    function._generator = generator
    function.__module__ = module
    function.__qualname__ = qualname
    function.__name__ = name
    return function


class _Way:
    """One way to call a function."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[Any, Any, Any]):
        self._function = function


class _Local(_Way, Generic[P, R, L]):
    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> L:
        return self._function._ingle_raw(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, L]:
        """Its signature and documentation are those of the function: `inspect` looks here."""
        return self._function._ingle_raw

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: Any = self(*args, **kwargs)
        return await result if hasattr(result, "__await__") else result


class _Remote(_Way, Generic[P, R]):
    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        from ingle.sdk.call import remote

        return remote(self._function, args, kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        from ingle.sdk.call import remote_aio

        return await remote_aio(self._function, args, kwargs)


class _Spawn(_Way, Generic[P, R]):
    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        from ingle.sdk.call import spawn

        return spawn(self._function, args, kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        from ingle.sdk.call import spawn_aio

        return await spawn_aio(self._function, args, kwargs)


class _RemoteGen(_Way, Generic[P, R]):
    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        from ingle.sdk.generator import remote_gen

        return remote_gen(self._function, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        from ingle.sdk.generator import remote_gen_aio

        return remote_gen_aio(self._function, args, kwargs)


class _Map(_Way, Generic[R]):
    __slots__ = ()

    def __call__(
        self,
        *inputs: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        from ingle.sdk.map import run_map

        return run_map(self._function, inputs, kwargs, order_outputs, return_exceptions)

    def aio(
        self,
        *inputs: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> AsyncIterator[R]:
        from ingle.sdk.map import run_map_aio

        return run_map_aio(self._function, inputs, kwargs, order_outputs, return_exceptions)


class _Starmap(_Way, Generic[R]):
    __slots__ = ()

    def __call__(
        self,
        inputs: Iterable[Iterable[Any]],
        *,
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        from ingle.sdk.map import run_map

        return run_map(self._function, None, kwargs, order_outputs, return_exceptions, tuples=inputs)

    def aio(
        self,
        inputs: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        *,
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> AsyncIterator[R]:
        from ingle.sdk.map import run_map_aio

        return run_map_aio(self._function, None, kwargs, order_outputs, return_exceptions, tuples=inputs)


class _ForEach(_Way):
    __slots__ = ()

    def __call__(
        self, *inputs: Iterable[Any], kwargs: dict[str, Any] | None = None, ignore_exceptions: bool = False
    ) -> None:
        from ingle.sdk.map import for_each

        for_each(self._function, inputs, kwargs, ignore_exceptions)

    async def aio(
        self,
        *inputs: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        ignore_exceptions: bool = False,
    ) -> None:
        from ingle.sdk.map import for_each_aio

        await for_each_aio(self._function, inputs, kwargs, ignore_exceptions)


class _SpawnMap(_Way, Generic[R]):
    __slots__ = ()

    def __call__(self, *inputs: Iterable[Any], kwargs: dict[str, Any] | None = None) -> FunctionCall[R]:
        from ingle.sdk.spawn_map import spawn_map

        return spawn_map(self._function, inputs, kwargs)

    async def aio(
        self, *inputs: Iterable[Any] | AsyncIterable[Any], kwargs: dict[str, Any] | None = None
    ) -> FunctionCall[R]:
        from ingle.sdk.spawn_map import spawn_map_aio

        return await spawn_map_aio(self._function, inputs, kwargs)
