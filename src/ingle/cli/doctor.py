"""`ingle doctor`: check this machine, and say how to mend what is wrong."""

import click

from ingle.cli import output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> int:
    """Check each thing that containers need of this machine; for what is wrong, print the one command that mends it.

    Exit code 1 if something is wrong.
    """
    from ingle.launch.machine import examine
    from ingle.launch.state import default_directory

    checks = examine(default_directory())
    if as_json:
        output.show_json(checks)
    else:
        output.show_checks(checks)
    return 0 if all(c["ok"] for c in checks) else 1
