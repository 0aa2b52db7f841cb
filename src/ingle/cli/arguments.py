"""Options of the command line from the signature of a Python function."""

import datetime
import inspect
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

import click

from ingle import exceptions as ex

SUPPORTED = "str, int, float, bool, datetime, date, Path, Literal[…], Optional[…], list[…]"


class Moment(click.ParamType):
    """A datetime or date in ISO 8601: 2024-05-01, 2024-05-01T12:30, 2024-05-01 12:30:00+02:00."""

    name = "datetime"

    def __init__(self, kind: type[datetime.date]):
        self.kind = kind
        self.name = kind.__name__

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, self.kind):
            return value
        text = str(value)
        if text.endswith(("Z", "z")):  # Python 3.10 does not read it
            text = text[:-1] + "+00:00"
        try:
            return self.kind.fromisoformat(text)
        except ValueError:
            example = "2024-05-01T12:30:00" if self.kind is datetime.datetime else "2024-05-01"
            self.fail(f"{value!r} is not a {self.kind.__name__} such as {example}", param, ctx)


class OneOf(click.Choice):
    """A Literal: chosen by its text, given as its value."""

    def __init__(self, values: tuple[Any, ...]):
        self.values = {str(value): value for value in values}
        super().__init__(list(self.values))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.values.values() and not isinstance(value, str):
            return value
        return self.values[super().convert(value, param, ctx)]


class Unsupported(Exception):
    """The command line cannot give this type."""


SCALARS: dict[Any, Any] = {str: click.STRING, int: click.INT, float: click.FLOAT, bool: click.BOOL}


def scalar_type(hint: Any) -> click.ParamType:
    """The click type of one value.

    Raises:
        Unsupported: there is none.
    """
    if hint in (inspect.Parameter.empty, Any):
        return click.STRING
    if typing.get_origin(hint) is typing.Literal:
        return OneOf(typing.get_args(hint))
    if not isinstance(hint, type):
        raise Unsupported
    if hint in SCALARS:
        return SCALARS[hint]
    if hint in (datetime.datetime, datetime.date):
        return Moment(hint)
    if hint in (pathlib.Path, pathlib.PurePath):
        return click.Path(path_type=pathlib.Path)
    raise Unsupported


def without_none(hint: Any) -> tuple[Any, bool]:
    """The hint without `None`, and whether it had it."""
    if typing.get_origin(hint) is typing.Annotated:
        return without_none(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        left = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(left) == 1 and len(left) < len(typing.get_args(hint)):
            return left[0], True
    return hint, False


def option(name: str, hint: Any, default: Any) -> click.Option:
    """The option for one parameter.

    Raises:
        Unsupported: the command line cannot give its type.
    """
    flag = "--" + name.strip("_").replace("_", "-")
    hint, optional = without_none(hint)
    settings: dict[str, Any] = {}
    if default is inspect.Parameter.empty:
        settings["required"] = not optional
    elif default is not None:
        settings |= {"default": default, "show_default": True}
        if hint is inspect.Parameter.empty and type(default) in SCALARS:
            hint = type(default)
    if hint is bool:
        return click.Option(
            [f"{flag}/{flag.replace('--', '--no-', 1)}", name], type=click.BOOL, is_flag=True, **settings
        )
    if hint in (list, typing.List) or typing.get_origin(hint) is list:  # noqa: UP006
        inner = (typing.get_args(hint) or (str,))[0]
        return click.Option([flag, name], type=scalar_type(inner), multiple=True, help="May be repeated.", **settings)
    return click.Option([flag, name], type=scalar_type(hint), **settings)


def parameters(function: Callable[..., Any], shown_name: str) -> list[click.Parameter]:
    """The options, in the order of the signature. A parameter that has a default and a type that no option can give
    keeps its default.

    Raises:
        InvalidError: a parameter without a default has a type that the command line cannot give.
    """
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation that only a type checker can read
        hints = {}
    found: list[click.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            found.append(click.Argument([parameter.name], nargs=-1, type=click.UNPROCESSED))
            continue
        hint = hints.get(parameter.name, parameter.annotation)
        try:
            found.append(option(parameter.name, hint, parameter.default))
        except Unsupported:
            if parameter.default is parameter.empty:
                text = hint if isinstance(hint, str) else inspect.formatannotation(hint)
                raise ex.InvalidError(
                    f"the parameter `{parameter.name}` of {shown_name}() has the type {text}, which the command line "
                    f"cannot give; it knows {SUPPORTED}; or give the parameter a default"
                ) from None
    return found


def parse(function: Callable[..., Any], shown_name: str, usage_name: str, argv: list[str]) -> tuple[list, dict]:
    """Positional and keyword arguments for the function, from the command line.

    Raises:
        click.UsageError: an option is unknown, missing or of the wrong type; it names the parameter.
        click.exceptions.Exit: `--help` was asked for, and has been shown.
        InvalidError: as `parameters`.
    """
    options = parameters(function, shown_name)
    variable = any(isinstance(o, click.Argument) for o in options)
    command = click.Command(
        usage_name,
        params=options,
        help=inspect.getdoc(function),
        context_settings={"ignore_unknown_options": variable, "help_option_names": ["-h", "--help"]},
    )
    with command.make_context(usage_name, list(argv)) as context:
        given = dict(context.params)
    return _bind(function, given)


def _bind(function: Callable[..., Any], given: dict[str, Any]) -> tuple[list, dict]:
    positional: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in given:
            continue
        value = given[parameter.name]
        if isinstance(value, tuple) and parameter.kind is not parameter.VAR_POSITIONAL:
            unsaid = not value and parameter.default is not parameter.empty
            given[parameter.name] = parameter.default if unsaid else list(value)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(given.pop(parameter.name))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            # What stands before *args must be given by position as well.
            before = [p.name for p in inspect.signature(function).parameters.values()]
            for name in before[len(positional) : before.index(parameter.name)]:
                positional.append(given.pop(name))
            positional += given.pop(parameter.name)
    return positional, given
