"""What commands print: tables, states, ages."""

import json
import time
from collections.abc import Sequence
from typing import Any

import click


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Columns as wide as need be; on a terminal the heads are dim. `empty` is said instead of no rows."""
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]
    click.secho("  ".join(h.ljust(w) for h, w in zip(heads, widths, strict=True)).rstrip(), dim=True, color=colours())
    for row in rows:
        click.echo("  ".join(str(cell).ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def colours() -> bool | None:
    """None lets click decide by the stream; NO_COLOR decides against."""
    import os

    return False if os.environ.get("NO_COLOR") else None


def age(since_s: float | None) -> str:
    """How long ago, for people: "12 s", "3 min", "5 h", "2 d"."""
    if not since_s:
        return ""
    seconds = max(0, int(time.time() - since_s))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def size_mib(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def show_status(here: Any, remote: dict[str, Any] | None, problem: str) -> None:
    """`here` is launch.local.Status, `remote` what the configured server says of itself."""
    if here.supervisor_pid or here.server_pid or here.node_pid:
        click.echo(f"platform   {here.state}, supervisor {here.supervisor_pid or 'is gone'}")
        click.echo(f"server     {here.url or 'does not answer yet'}, process {here.server_pid or 'is gone'}")
        click.echo(f"node       process {here.node_pid}" if here.node_pid else "node       none on this machine")
    else:
        click.echo(f"platform   none runs under {here.state} (start it with: ingle up)")
    if remote is None:
        click.echo(f"answer     {problem}")
        return
    for node in remote.get("nodes", []):
        text = f"{node['name']}, {node['cpu_milli'] / 1000:g} cores, {size_mib(node['memory_mib'])}"
        click.echo(f"machine    {text}{'' if node['connected'] else ', not connected just now'}")
    click.echo(f"apps       {remote['apps']}")
    click.echo(f"containers {remote['containers']}")
    click.echo(f"calls      {remote['calls_running']} running, {remote['calls_queued']} waiting")
    click.echo(f"version    {remote['version']} (wire {remote['wire']})")


def show_checks(checks: Sequence[dict[str, Any]]) -> None:
    """Each check with its finding; below what is wrong, the command that mends it."""
    width = max((len(c["name"]) for c in checks), default=0)
    for check in checks:
        mark, colour = ("ok   ", "green") if check["ok"] else ("WRONG", "red")
        click.secho(mark, fg=colour, nl=False, color=colours())
        click.echo(f"  {check['name'].ljust(width)}  {check['found']}")
        if not check["ok"] and check["fix"]:
            click.echo(f"       {' ' * width}  mend it with: {check['fix']}")
