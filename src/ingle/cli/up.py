"""`ingle up`: start the platform of this machine."""

import sys

import click


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Run it in the background; return when it is ready.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="INGLE_PORT",
    help="Where the server listens; 0: any free port.  [env: INGLE_PORT; default: 7090]",
)
@click.option("--host", help="The address it listens on.  [default: 127.0.0.1]")
@click.option("--no-node", is_flag=True, help="Only the server; nodes elsewhere run the containers.")
@click.option("--no-spares", is_flag=True, help="Keep no started containers in reserve.")
@click.option("--runtime", type=click.Choice(["auto", "crun", "runc", "fake"]), default="auto", hidden=True)
def up(detach: bool, port: int | None, host: str | None, no_node: bool, no_spares: bool, runtime: str) -> int:
    """Start the platform of this machine: a server, and a node that runs containers.

    `ingle run` does this by itself when it finds no server. One platform runs per state directory
    (INGLE_STATE_DIR; /var/lib/ingle as root).
    """
    from ingle.launch.local import AlreadyRunning, Up, run_in_foreground, start_in_background, status
    from ingle.launch.state import HOST_DEFAULT, PORT_DEFAULT, default_directory

    wanted = Up(
        default_directory(),
        HOST_DEFAULT if host is None else host,
        PORT_DEFAULT if port is None else port,
        node=not no_node,
        runtime=runtime,
        spares=not no_spares,
    )
    if detach:
        now = start_in_background(wanted)
        click.echo(f"Ingle runs at {now.url} (stop it with: ingle down)")
        return 0
    try:
        run_in_foreground(wanted)
    except AlreadyRunning:
        now = status(wanted.state)
        click.echo(
            f"Error: Ingle already runs at {now.url or 'a server that is starting'} "
            f"(process {now.supervisor_pid}, state {now.state}); see: ingle status; stop it with: ingle down",
            file=sys.stderr,
        )
        return 1
