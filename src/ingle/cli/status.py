"""`ingle status`: what runs."""

import json

import click

from ingle.cli import output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> int:
    """Say what runs: the platform of this machine, or the server that is configured. Exit code 1: nothing does."""
    from ingle import exceptions as ex
    from ingle.cli import api
    from ingle.launch import local
    from ingle.launch.state import default_directory

    here = local.status(default_directory())
    remote: dict | None = None
    problem = ""
    try:
        remote = api.get("/v1/status")
    except ex.Error as error:
        problem = str(error)
    if as_json:
        local_part = {
            "state": str(here.state),
            "url": here.url,
            "supervisor_pid": here.supervisor_pid,
            "server_pid": here.server_pid,
            "node_pid": here.node_pid,
        }
        click.echo(json.dumps({"local": local_part, "server": remote, "problem": problem}))
    else:
        output.show_status(here, remote, problem)
    return 0 if remote else 1
