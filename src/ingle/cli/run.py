"""`ingle run`: run a function or a local entrypoint of a file, its functions in containers."""

import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from ingle import exceptions as ex

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be run."""

    app: Any
    name: str
    function: Callable[..., Any]  #: the user's own
    remote: Any = None  #: the Function, if it runs in a container


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "module", is_flag=True, help="The target is a module: ingle run -m package.module[::function].")
@click.option("-d", "--detach", is_flag=True, help="Let the app live on when this program ends.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; only the program's output and the containers' logs.")
@click.option(
    "-w",
    "--write-result",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result to a file: str and bytes as they are, other values as JSON, else as repr.",
)
@click.option("--name", help="Name of the app, instead of the one in the file.")
@click.option("--timestamps", is_flag=True, help="Begin each line of the containers' logs with its time.")
@click.argument("target", metavar="FILE[::FUNCTION]")
@click.argument("arguments", metavar="[ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def run(
    module: bool,
    detach: bool,
    quiet: bool,
    write_result: Path | None,
    name: str | None,
    timestamps: bool,
    target: str,
    arguments: tuple[str, ...],
) -> int:
    """Run a function or a local entrypoint of a file; its functions run in containers.

    What stands after FILE are the function's own options, made from its signature:

        ingle run thumbs.py --folder ./photos

        ingle run thumbs.py::shrink --help

    With no server configured, one is started on this machine.
    """
    from ingle.cli.screen import Screen
    from ingle.sdk import output

    place, _, wanted = target.partition("::")
    with Screen(quiet=quiet, timestamps=timestamps) as screen:
        _interruptible(screen)
        output.use(screen)
        try:
            loaded = load(place, module)
            chosen = choose(loaded, wanted, place)
            positional, named = arguments_of(chosen, target, arguments)
            value = execute(chosen, positional, named, detach=detach, name=name, keep=write_result is not None)
            if write_result is not None:
                write_value(write_result, value)
            elif chosen.remote is not None and not chosen.remote.is_generator:
                show_value(value)
            return 0
        except KeyboardInterrupt:
            return INTERRUPTED
        except SystemExit as stop:
            return _exit_code(stop)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BaseException as error:
            return complain(error)


def arguments_of(chosen: Choice, target: str, argv: tuple[str, ...]) -> tuple[list, dict]:
    """Positional and keyword arguments for what was chosen.

    Raises:
        click.UsageError: they do not fit its signature; the message names the parameter.
    """
    from ingle.cli.arguments import parse

    try:
        return parse(chosen.function, chosen.name, f"ingle run {target}", list(argv))
    except click.NoSuchOption as error:
        ours = {flag for option in run.params if isinstance(option, click.Option) for flag in option.opts}
        if error.option_name in ours:
            place = f"{error.option_name} is an option of `ingle run` itself: it stands before {target}"
            raise click.UsageError(place, error.ctx) from None
        raise


def complain(error: BaseException) -> int:
    """Show what went wrong; returns the exit code. An error of ours that no line of the user's led to is a sentence."""
    from ingle.cli import trace

    trace.clean(error)
    if isinstance(error, ex.Error) and error.__traceback__ is None:
        raise error
    trace.show(error)
    return 1


def _exit_code(stop: SystemExit) -> int:
    """As Python itself would end."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    click.echo(str(stop.code), file=sys.stderr)
    return 1


def _interruptible(screen: Any) -> None:
    """The first Ctrl-C ends the program in order, and stops its app; a second one ends it at once. SIGTERM is as the first."""
    before = False

    def on_interrupt(number: int, frame: Any) -> None:
        nonlocal before
        if before:
            screen.close()
            os._exit(INTERRUPTED)
        before = True
        screen.say("Stopping. Ctrl-C again ends at once.")
        raise KeyboardInterrupt

    def on_terminate(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGTERM, on_terminate)


# ---- what to run


def load(place: str, is_module: bool) -> ModuleType:
    """Import a file as the module of its name, or a module, with what stands beside it on the path.

    Raises:
        InvalidError: there is no such file or module.
        click.UsageError: it has the name of a module that is needed here.
    """
    from ingle.sdk import running, source  # noqa: F401 - what they import must not come from the program's folder

    entry = source.entry(place, is_module)
    known = sys.modules.get(entry.module)
    if known is not None:
        file = getattr(known, "__file__", None)
        if file is None or not os.path.exists(file) or not os.path.samefile(file, entry.path):
            raise click.UsageError(f"{place} has the name of a module that Python or Ingle needs: rename it")
    sys.argv = [place]
    return entry.load()


def choose(loaded: ModuleType, wanted: str, place: str) -> Choice:
    """The entrypoint or function of that name; without a name the only entrypoint, else the only function.

    Raises:
        click.UsageError: there is none, or more than one; the message lists the choices.
    """
    choices = list_choices(loaded)
    if not choices:
        raise click.UsageError(
            f"{place} has nothing to run: it needs an `app = ingle.App(…)` with an @app.local_entrypoint() or an "
            "@app.function()"
        )
    if wanted:
        found = [c for c in choices if c.name == wanted]
        if found:
            return found[0]
        raise click.UsageError(f"{place} has no {wanted}; {_listed(choices, place)}")
    entrypoints = [c for c in choices if c.remote is None]
    some = entrypoints or choices
    if len(some) > 1:
        raise click.UsageError(f"{place} has more than one thing to run; {_listed(choices, place)}")
    return some[0]


def _listed(choices: list[Choice], place: str) -> str:
    return "choose one: " + ", ".join(f"{place}::{c.name}" for c in choices)


def list_choices(loaded: ModuleType) -> list[Choice]:
    """Everything that can be run in the module: the entrypoints of its apps, then their functions."""
    from ingle.sdk.app import App

    apps = {id(value): value for value in vars(loaded).values() if isinstance(value, App)}
    choices = []
    for app in apps.values():
        choices += [Choice(app, e.name, e.raw) for e in app.registered_entrypoints.values()]
    for app in apps.values():
        choices += [Choice(app, f.name, f.local, f) for f in app.registered_functions.values()]
    return choices


# ---- running it


def execute(
    chosen: Choice, positional: list, named: dict, *, detach: bool, name: str | None, keep: bool = False
) -> Any:
    """Run the app around the entrypoint or the function; returns its value. What a generator yields is shown as it comes;
    with `keep` its value is the list of that."""
    with chosen.app.run(name=name, detach=detach):
        if chosen.remote is None:
            value = chosen.function(*positional, **named)
            if inspect.iscoroutine(value):
                import asyncio

                value = asyncio.run(_awaited(value))
            return value
        if chosen.remote.is_generator:
            kept = []
            for item in chosen.remote.remote_gen(*positional, **named):
                show_value(item)
                if keep:
                    kept.append(item)
            return kept
        return chosen.remote.remote(*positional, **named)


async def _awaited(value: Any) -> Any:
    return await value


# ---- its result


def show_value(value: Any) -> None:
    """A function's result on the screen; None is nothing to show."""
    if value is not None:
        click.echo(value if isinstance(value, str) else repr(value))


def write_value(path: Path, value: Any) -> None:
    """A result into a file.

    Raises:
        click.ClickException: it cannot be written.
    """
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            path.write_bytes(value)
        elif isinstance(value, str):
            path.write_text(value, encoding="utf-8", errors="backslashreplace")
        else:
            try:
                text = json.dumps(value)
            except (TypeError, ValueError):
                text = repr(value)
            path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise click.ClickException(f"the result cannot be written to {path}: {error.strerror}") from None
