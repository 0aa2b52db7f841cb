"""`ingle setup`: install what this machine needs to run containers."""

import click


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask before installing.")
def setup(yes: bool) -> int:
    """Install the system packages that containers need; says which, and why. Needs root."""
    from ingle.launch.machine import set_up

    return set_up(yes, click.echo, lambda question: click.confirm(question, default=True))
