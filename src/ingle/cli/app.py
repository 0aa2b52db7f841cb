"""`ingle app`: list apps, read their logs, stop them."""

import click

from ingle.cli import api, output


@click.group()
def app() -> None:
    """List apps, read their logs, stop them."""


@app.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that have stopped as well.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_apps(everything: bool, as_json: bool) -> None:
    """List the apps that run."""
    apps = api.get("/v1/apps", **({"all": "1"} if everything else {}))
    if as_json:
        output.show_json(apps)
        return
    rows = [
        (a["id"], a["name"], a["state"], "yes" if a["detached"] else "", output.age(a["created_s"]), a["stop_reason"])
        for a in apps
    ]
    empty = "There is no app." if everything else "No app runs (those that have stopped: ingle app list --all)."
    output.show_table(("APP", "NAME", "STATE", "DETACHED", "AGE", "ENDED BECAUSE"), rows, empty)


@app.command()
@click.argument("app_id", metavar="APP")
@click.option("--call", help="Only lines of this call.")
@click.option("--container", help="Only lines of this container.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the app ends.")
@click.option("--tail", type=click.IntRange(0), help="Only the last so many lines.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(
    app_id: str,
    call: str | None,
    container: str | None,
    follow: bool,
    tail: int | None,
    timestamps: bool,
    as_json: bool,
) -> None:
    """Show what an app's containers have printed, stdout to stdout and stderr to stderr. APP is an id or a name."""
    query = {"call": call, "container": container, "tail": tail, "follow": 1 if follow else None}
    show_logs(f"/v1/apps/{app_id}/logs", query, timestamps, as_json)


@app.command()
@click.argument("app_id", metavar="APP")
def stop(app_id: str) -> None:
    """Stop an app and all its containers; calls that wait are cancelled. APP is an id or a name."""
    api.post(f"/v1/apps/{app_id}/stop")
    click.echo(f"Stopped {app_id}.")


def show_logs(path: str, query: dict, timestamps: bool, as_json: bool) -> None:
    """Print the log lines of a route as they come."""
    import json

    from ingle.cli.screen import stamp

    for line in api.lines(path, **{name: str(value) for name, value in query.items() if value is not None}):
        if as_json:
            click.echo(json.dumps(line))
        else:
            prefix = stamp(line["at_s"]) if timestamps else ""
            click.echo(prefix + line["text"], err=line["stream"] != "stdout", color=True)
