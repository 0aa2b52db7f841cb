"""Containers, the node and the server are killed in turn while calls run: every call ends, each result arrives once, nothing is left.

`make chaos` runs it with 10 000 calls, three times over; `make test` a short round. INGLE_CHAOS_CALLS and
INGLE_CHAOS_ROUNDS say how much; INGLE_CHAOS_SEED replays the order of the victims.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from e2e.support import Place

from ingle.testing import wait_until

PROGRAMS = Path(__file__).parent / "programs"
CALLS = int(os.environ.get("INGLE_CHAOS_CALLS", "1200"))
ROUNDS = int(os.environ.get("INGLE_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("INGLE_CHAOS_SEED", "7"))
#: Between two kills: time to come back, and to be struck while coming back.
PAUSE_S = (0.3, 2.5)
#: All calls end within this, the kills included.
STORM_S = 100 + CALLS / 20
#: At least so many of each kind fall, or the storm was none.
KILLS_MIN = 2


@pytest.fixture
def place(request):
    place = Place()
    yield place
    failed = getattr(request.node, "failed", False)
    if failed:
        print(place.logs())
    place.close(failed)


class Killer:
    """Kills one thing after another until told to stop; a thing that is just not there is waited for."""

    def __init__(self, place: Place, seed: int):
        self._place = place
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self.kills = {"container": 0, "node": 0, "server": 0}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.is_set():
            for victim in ("container", "server", "container", "node"):
                if self._stop.wait(self._dice.uniform(*PAUSE_S)):
                    return
                pid = self._container() if victim == "container" else self._place.pid(victim)
                if pid is None:
                    continue
                try:
                    os.kill(pid, signal.SIGKILL)
                    self.kills[victim] += 1
                except ProcessLookupError:
                    pass

    def _container(self) -> int | None:
        """A process inside a container; those of spares are as good."""
        found = self._place.containers()
        return self._dice.choice(found) if found else None


@pytest.mark.timeout(STORM_S + 240)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_call_ends_once_whatever_is_killed(place, number):
    place.start()
    program = place.program(sys.executable, str(PROGRAMS / "storm.py"), str(CALLS))
    program.see("storm begins", 120)
    with Killer(place, SEED + number) as killer:
        enough = threading.Event()

        def until_over() -> None:
            program.process.wait()
            enough.set()

        threading.Thread(target=until_over, daemon=True).start()
        assert enough.wait(STORM_S), f"not all calls have ended after {STORM_S:.0f} s, kills: {killer.kills}\n{program.all()}"
    assert program.wait(30) == 0, f"kills: {killer.kills}\n{program.all()}"
    told = json.loads(program.stdout[-1])
    assert told["delivered"] == CALLS // 8 * 8 and not told["twice"] and not told["missing"], told
    print(f"round {number}: {told['took_s']:.1f} s, kills: {killer.kills}")
    if CALLS >= 10_000:
        assert min(killer.kills.values()) >= KILLS_MIN, f"a storm without enough kills: {killer.kills}"
    wait_until(lambda: place.run("status").code == 0, "the platform is well again", 60)
    wait_until(lambda: not place.listed(), "no container stays when its app is over", 60)


@pytest.mark.timeout(300)
def test_everything_is_killed_in_the_middle_of_spawned_calls(place):
    """All at once, then `ingle up`: leftovers are cleared, and accepted spawned calls of a detached app run, each once for its caller."""
    place.start()
    program = place.program("run", "-d", str(PROGRAMS / "kept.py") + "::leave", "--count", "200")
    line = program.see(r"^calls ", 120)
    assert program.wait(60) == 0, program.all()
    calls = line.split()[1:]
    place.kill_all()
    place.running = False
    begin = time.monotonic()
    place.start()
    done = place.run("run", str(PROGRAMS / "kept.py") + "::fetch", "--call", calls[0], bound_s=200).ok()
    assert "all 200 are right" in done.stdout, done.all
    print(f"from `ingle up` to the last result: {time.monotonic() - begin:.1f} s")
    place.run("app", "stop", "kept").ok()
