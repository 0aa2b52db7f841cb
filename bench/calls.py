"""Calls measured side by side: warm, many, with large arguments, cold, from zero to twenty."""

from figures import Figure, Row
from local_platform import LocalPlatform
from worker import Worker

MIB = 1 << 20
SCALE = 20
#: Longer than the slowest start of twenty that could still meet the target, so that no container answers twice.
HOLD_S = 3.0


def warm(workers: dict[str, Worker], rounds: int, count: int) -> Row:
    """Sync calls of a no-op, one after another."""
    took: dict[str, list[float]] = {name: [] for name in workers}
    floor: list[float] = []
    for _ in range(rounds):
        for name, worker in workers.items():
            took[name] += worker("calls", count=count)
        floor += workers["pool"]("ping_pong", count=count)
    row = Row("warm `.remote()` of a no-op", "ms", Figure.of("Ingle", took["ingle"], tail=True))
    row.peers = [Figure.of(_spoken(n), took[n], tail=True) for n in workers if n != "ingle"]
    row.peers.append(Figure.of("pipe ping-pong", floor, tail=True))
    row.at_most(0.9)
    row.against("Ray", 1)
    return row


def many(workers: dict[str, Worker], rounds: int, count: int) -> Row:
    """A map of no-ops, its results in order."""
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            rates[name].append(worker("map_rate", count=count))
    row = Row(f"`.map` of {count} no-ops", "/s", Figure.of("Ingle", rates["ingle"]))
    row.peers = [Figure.of(_spoken(n), rates[n]) for n in workers if n != "ingle"]
    row.targets.append(("≥ 8000 /s", row.ours.p50 >= 8000))
    row.against("Ray", 2, faster_is_more=True)
    row.against("ProcessPoolExecutor", 1, faster_is_more=True)
    return row


def arguments(workers: dict[str, Worker], rounds: int) -> list[Row]:
    """One large argument: bytes a second, the whole call included."""
    rows = []
    for size in (1, 64):
        rates: dict[str, list[float]] = {name: [] for name in workers}
        copies: list[float] = []
        for _ in range(rounds):
            for name, worker in workers.items():
                rates[name].append(worker("argument", size=size * MIB))
            copies.append(workers["ingle"]("copy", size=size * MIB))
        row = Row(f"an argument of {size} MiB", "MiB/s", Figure.of("Ingle", rates["ingle"]))
        row.peers = [Figure.of(_spoken(n), rates[n]) for n in workers if n != "ingle"]
        row.peers.append(Figure.of("memory copy", copies))
        row.more["of_memory_copy"] = row.ours.p50 / row.peers[-1].p50
        rows.append(row)
    return rows


def cold(platform: LocalPlatform, ingle: Worker, crun: Worker, rounds: int, spare: bool) -> Row:
    """The first call of a function that never ran, its image there."""
    ours, bare = [], []
    ingle("cold", number=0)  # this start builds the image if it must, and warms the page cache; no figure
    for number in range(1, rounds + 1):
        platform.wait_quiet()
        ours.append(ingle("cold", number=number))
        bare += [crun("cold", number=number * 2 + half) for half in (0, 1)]
    name = "cold start with a spare" if spare else "cold start without a spare"
    row = Row(f"{name}: call to result", "ms", Figure.of("Ingle", ours), [Figure.of("crun run python3 -c pass", bare)])
    if spare:
        row.at_most(30)
    else:
        row.against("crun run python3 -c pass", 3)
    return row


def scale(platform: LocalPlatform, ingle: Worker, ray: Worker | None, rounds: int) -> Row:
    ours, rays, fewest = [], [], SCALE
    for _ in range(rounds):
        platform.wait_quiet()
        took, containers = ingle("scale", count=SCALE, seconds=HOLD_S)
        ours.append(took)
        fewest = min(fewest, containers)
        if ray:
            rays.append(ray("scale", count=SCALE)[0])
    row = Row(f"scale 0 → {SCALE} containers, all answered", "s", Figure.of("Ingle", ours))
    if rays:
        row.peers.append(Figure.of("Ray's fresh actors", rays))
    if fewest < SCALE:
        row.note = f" only {fewest} of {SCALE} containers were there at once, so this figure is not what it says."
    row.at_most(1.0)
    return row


def _spoken(worker: str) -> str:
    return {"ray": "Ray", "pool": "ProcessPoolExecutor"}.get(worker, worker)
