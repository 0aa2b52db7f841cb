"""Functions by their ids: how a call finds its function, and how one travels as an argument."""

from __future__ import annotations

from ingle.exceptions import InvalidError
from ingle.runner import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingle.sdk.function import Function

    AnyFunction = Function[..., Any, Any]


def function_id(function: AnyFunction) -> str:
    """The id under which the server knows the function now.

    Raises:
        InvalidError: its app is not running.
    """
    if function._id is not None:
        return function._id
    if context.in_container:
        known = context.functions.get(function.name)
        if known is not None:
            function._id = known
            return known
        raise InvalidError(
            f"the app of this container has no function {function.name!r}; it has {', '.join(sorted(context.functions))}"
        )
    running = function.app._running if function.app is not None else None
    if running is not None and running.end_reason:
        raise InvalidError(f"the app of {function.name!r} does not run any more: {running.end_reason}")
    raise InvalidError(
        f"{function.name!r} cannot be called in a container while its app is not running: "
        f"use `ingle run <file>`, or put the call inside `with app.run():`"
    )


def plain_function_id(function: AnyFunction, way: str) -> str:
    """The id of a function that does not yield.

    Raises:
        InvalidError: it is a generator, or its app is not running.
    """
    if function.is_generator:
        raise InvalidError(
            f"{function.name!r} is a generator function: call it with `.remote_gen(...)`, not `.{way}(...)`"
        )
    return function._id or function_id(function)


def generator_id(function: AnyFunction) -> str:
    """The id of a generator function.

    Raises:
        InvalidError: it is not one, or its app is not running.
    """
    if not function.is_generator:
        raise InvalidError(
            f"{function.name!r} is not a generator function: call it with `.remote(...)`, not `.remote_gen(...)`"
        )
    return function._id or function_id(function)


# ---- as arguments

#: True while the code of a function is pickled for its container: other functions of the app then go by name.
pickling_definition = False


def id_to_pickle(function: AnyFunction) -> str | None:
    """The id under which a function travels as an argument; None: by its name alone.

    Raises:
        InvalidError: its app is not running.
    """
    if function._id is None and pickling_definition:
        return None
    return function._id or function_id(function)


def find_raw(function: AnyFunction) -> None:
    """Finds the Python function of one that arrived as an argument, if its module can be imported here.

    Raises:
        InvalidError: it cannot.
    """
    from ingle.sdk.serialization import import_name

    try:
        found: Any = import_name(function.__module__, function.__qualname__)
    except Exception:
        found = None
    raw = getattr(found, "_ingle_raw", None)
    if raw is None:
        raise InvalidError(f"{function.name!r} cannot be run locally: its code is not here")
    function._ingle_raw = raw
