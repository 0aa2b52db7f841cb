"""`ingle container`: list containers, read their logs, stop them, run programs in them."""

import click

from ingle.cli import api, output


@click.group()
def container() -> None:
    """List containers, read their logs, stop them, run programs in them."""


@container.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that have ended as well.")
@click.option("--phases", is_flag=True, help="How long each phase of the start took, in milliseconds.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_containers(everything: bool, phases: bool, as_json: bool) -> None:
    """List the containers that run."""
    containers = api.get("/v1/containers", **({"all": "1"} if everything else {}))
    if as_json:
        output.show_json(containers)
        return
    empty = (
        "There is no container."
        if everything
        else "No container runs (those that have ended: ingle container list --all)."
    )
    if phases:
        from ingle.model.container import PHASES

        output.show_table(("CONTAINER", *PHASES, "all", "spare"), [_phases(c, PHASES) for c in containers], empty)
        return
    names = {a["id"]: a["name"] for a in api.get("/v1/apps", all="1")} if containers else {}
    heads = ("CONTAINER", "FUNCTION", "APP", "STATE", "INPUTS", "AGE", "ENDED BECAUSE")
    output.show_table(heads, [_row(c, names) for c in containers], empty)


def _row(one: dict, app_names: dict[str, str]) -> tuple[str, ...]:
    app = app_names.get(one["app_id"], one["app_id"])
    held = str(len(one["inputs"]))
    function = one["function_name"]
    return (one["id"], function, app, one["state"], held, output.age(one["started_s"]), one["exit_reason"])


def _phases(one: dict, names: tuple[str, ...]) -> tuple[str, ...]:
    took = one["phases_ms"]
    shown = [f"{took[name]:.1f}" if name in took else "-" for name in names]
    return (one["id"], *shown, f"{sum(took.values()):.1f}", "yes" if one["from_spare"] else "")


@container.command()
@click.argument("container_id", metavar="CONTAINER")
@click.option("--call", help="Only lines of this call.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("--tail", type=click.IntRange(0), help="Only the last so many lines.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(container_id: str, call: str | None, follow: bool, tail: int | None, timestamps: bool, as_json: bool) -> None:
    """Show what a container has printed, stdout to stdout and stderr to stderr."""
    from ingle.cli.app import show_logs

    query = {"call": call, "tail": tail, "follow": 1 if follow else None}
    show_logs(f"/v1/containers/{container_id}/logs", query, timestamps, as_json)


@container.command()
@click.argument("container_id", metavar="CONTAINER")
def stop(container_id: str) -> None:
    """Stop a container. What it was running runs again in another one."""
    api.post(f"/v1/containers/{container_id}/stop")
    click.echo(f"Stopped {container_id}.")


@container.command(context_settings={"allow_interspersed_args": False})
@click.option("--tty/--no-tty", "tty", default=None, help="With a terminal.  [default: when this one is a terminal]")
@click.argument("container_id", metavar="CONTAINER")
@click.argument("argv", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def exec(tty: bool | None, container_id: str, argv: tuple[str, ...]) -> int:
    """Run a program in a running container; ends with its exit code. Without COMMAND: a shell.

    ingle container exec co-… python3 -c "import os; print(os.getpid())"
    """
    from ingle.cli.exec import execute

    argv = argv[1:] if argv[:1] == ("--",) else argv
    return execute(container_id, list(argv) or ["/bin/sh"], tty)
