"""Dead orphans are taken away, children whose end somebody will ask for are not."""

import os
import subprocess
import sys
import textwrap


def test_surplus_zombies_go_and_awaited_children_stay(library):
    program = """
    import os, subprocess, sys
    from ingle.runner import reap
    reap.KEPT_MAX = 4
    def end(): return os.posix_spawn("/bin/true", ["true"], {})
    awaited = subprocess.Popen(["sh", "-c", "exit 7"])
    orphans = [end() for _ in range(8)]
    for pid in (awaited.pid, *orphans): os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert len(reap._zombies()) == 9
    assert reap.reap() == 7, reap._zombies()
    assert reap.reap() == 0
    assert awaited.wait() == 7
    left = [pid for _, pid in reap._zombies()]
    assert len(left) == 1 and left[0] in orphans
    """
    environment = {**os.environ, "PYTHONPATH": str(library)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=True, timeout=20)
