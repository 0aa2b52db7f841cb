"""The command itself: finds the verb, loads only that one's file, and turns errors into messages and exit codes."""

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from ingle import exceptions as ex

#: Exit codes.
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

#: Each command's file and its line in `ingle --help`. A file is loaded when its command is called.
COMMANDS = {
    "run": "Run a function or a local entrypoint of a file.",
    "up": "Start the platform of this machine.",
    "down": "Stop it, and all its containers.",
    "status": "Say what runs.",
    "app": "List apps, read their logs, stop them.",
    "container": "List containers, read their logs, stop them, run programs in them.",
    "setup": "Install what this machine needs to run containers.",
    "doctor": "Check this machine, and say how to mend what is wrong.",
}
#: Programs of our own, started by the supervisor.
HIDDEN = {"server": "process", "node": "process"}


class Commands(click.Group):
    """A group whose commands are files."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name not in HIDDEN:
            return None
        module = import_module(f"ingle.cli.{HIDDEN.get(cmd_name, cmd_name)}")
        return getattr(module, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ingle", message="ingle %(version)s")
def ingle() -> None:
    """Serverless Python on your own machines.

    The first thing to try:  ingle run examples/01_hello.py
    """


def main(argv: list[str] | None = None) -> NoReturn:
    """The entry point of the program."""
    try:
        code = run_command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # `ingle app logs | head`: the reader has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = FAILED
    sys.exit(code)


def run_command(argv: list[str]) -> int:
    """Run one command line; returns its exit code. Errors have been shown."""
    try:
        result: Any = ingle.main(args=argv, prog_name="ingle", standalone_mode=False)
        return result if isinstance(result, int) else OK
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except ex.InvalidError as error:
        _complain(error)
        return USAGE
    except ex.Error as error:
        _complain(error)
        return FAILED


def _complain(error: Exception) -> None:
    text = str(error) or type(error).__name__
    print(f"Error: {text}", file=sys.stderr)
