"""What this machine needs for containers: installed, and examined."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path


def set_up(agreed: bool, say: Callable[[str], None], ask: Callable[[str], bool]) -> int:
    """Install the system packages that are missing, after asking unless `agreed`; returns the exit code.

    Raises:
        SetupError: they cannot be installed; the message says why.
    """
    from ingle.node import setup

    lacking = setup.missing()
    if not lacking:
        say("This machine has every package that containers need.")
        return 0
    if not agreed:
        say("Containers need of this machine:")
        for need in lacking:
            say(f"  {need.packages[0]}: {need.why}")
        if not ask("Install them with apt?"):
            say("Nothing was installed.")
            return 1
    setup.install(say)
    say("This machine has every package that containers need. `ingle doctor` checks the rest.")
    return 0


def examine(state: Path) -> list[dict[str, object]]:
    """Each check: its `name`, whether it is `ok`, what was `found`, and the command that would `fix` it."""
    from ingle.node import doctor

    return [{"name": c.name, "ok": c.ok, "found": c.seen, "fix": as_typed(c.mend)} for c in doctor.checks(state)]


def as_typed(command: str) -> str:
    """The command as this user can type it here: our own with its path where it is not on PATH, with sudo if need be."""
    program, _, rest = command.removeprefix("sudo ").partition(" ")
    if not command or program == "export":
        return command
    if program == "ingle" and shutil.which("ingle") is None:
        program = str(Path(sys.executable).parent / "ingle")
    return ("sudo " if os.geteuid() != 0 else "") + f"{program} {rest}".strip()
