"""`ingle down`: stop the platform of this machine, and all its containers."""

import click


@click.command()
def down() -> int:
    """Stop the platform of this machine and all its containers, and clear what they left.

    Detached apps and accepted spawned calls are kept; they go on at the next start.
    """
    from ingle.launch import local
    from ingle.launch.state import default_directory

    state = default_directory()
    if local.stop(state):
        click.echo("Ingle is stopped.")
    else:
        click.echo(f"Nothing was running under {state}.")
    return 0
