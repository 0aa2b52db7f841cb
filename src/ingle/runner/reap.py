"""Process 1 inherits orphans: when many dead ones have gathered, those that nobody can be waiting for are taken away.

A zombie may be a child whose exit status user code will still ask for (`Popen.wait`), or an orphan of such a child,
and the kernel does not say which. Zombies hurt only by their number, so a few are left alone, and of many the oldest go,
but none that a living `Popen` or `multiprocessing` process stands for.
"""

import gc
import os
import sys

#: Zombies that are left alone.
KEPT_MAX = 256


def reap() -> int:
    """Takes surplus zombies away; how many."""
    zombies = _zombies()
    if len(zombies) <= KEPT_MAX:
        return 0
    awaited = _awaited()
    surplus = [pid for _, pid in sorted(zombies) if pid not in awaited][: len(zombies) - KEPT_MAX // 2]
    for pid in surplus:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
    return len(surplus)


def _zombies() -> list[tuple[int, int]]:
    """(start time, pid) of each dead child of this process."""
    found = []
    own = str(os.getpid())
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name of the program comes second, in parentheses, and may contain anything.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] == b"Z" and fields[1] == own.encode():
            found.append((int(fields[19]), int(name)))
    return found


def _awaited() -> set[int]:
    """Processes whose end user code can still ask for, as far as Python objects stand for them."""
    pids = set()
    process = sys.modules.get("subprocess")
    if process is not None:
        for value in gc.get_objects():
            if isinstance(value, process.Popen) and value.returncode is None:
                pids.add(value.pid)
    processes = sys.modules.get("multiprocessing.process")
    for child in tuple(getattr(processes, "_children", ())):
        pids.add(child.pid)
    return pids
