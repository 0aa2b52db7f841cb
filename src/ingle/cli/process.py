"""`ingle server` and `ingle node`: our own processes, as the supervisor starts them. Not for people."""

from pathlib import Path

import click


@click.command(hidden=True)
@click.option("--state", type=click.Path(path_type=Path), required=True)
@click.option("--host", required=True)
@click.option("--port", type=int, required=True)
def server(state: Path, host: str, port: int) -> int:
    """The server's process."""
    from ingle.launch.server import run_server

    return run_server(state, host, port)


@click.command(hidden=True)
@click.option("--state", type=click.Path(path_type=Path), required=True)
@click.option("--url", required=True)
@click.option("--runtime", default="auto")
@click.option("--spares/--no-spares", default=True)
def node(state: Path, url: str, runtime: str, spares: bool) -> int:
    """The node's process."""
    from ingle.launch.node import run_node

    return run_node(state, url, runtime, spares)
