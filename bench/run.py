"""`make bench`: measures Ingle and its peers side by side in one run, and writes a table and JSON to bench/results/."""

import argparse
import contextlib
import os
import platform as machine_facts
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import calls
import programs
from figures import Row, as_json, markdown
from local_platform import TOP, LocalPlatform
from worker import Worker, WorkerFailed, plain_env, python_of

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
RESULTS = HERE / "results"
PARTS = ("import", "idle", "warm", "map", "arguments", "scale", "edit", "cold", "spare")


def set_up_peers() -> bool:
    """Ray in an environment of its own; returns whether it is there. Costs minutes once."""
    wanted = (HERE / "peers.txt").read_text()
    stamp = PEERS / "installed.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return True
    print("setting up the peers in bench/.peers …", file=sys.stderr)
    venv.create(PEERS, with_pip=True, clear=True)
    done = subprocess.run([python_of(PEERS), "-m", "pip", "install", "-q", "-r", str(HERE / "peers.txt")], check=False)
    if done.returncode == 0:
        stamp.write_text(wanted)
    return done.returncode == 0


def facts() -> dict[str, str]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=TOP, capture_output=True, text=True, check=False)
    crun = subprocess.run(["crun", "--version"], capture_output=True, text=True, check=False)
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit.stdout.strip(),
        "cores": str(os.cpu_count()),
        "kernel": machine_facts.release(),
        "python": machine_facts.python_version(),
        "crun": crun.stdout.split("\n")[0],
        "load before": " ".join(f"{x:.2f}" for x in os.getloadavg()),
    }


class Bench:
    """Runs the parts asked for; what fails is a row that says so, and the rest goes on."""

    def __init__(self, parts: list[str], rounds: int, with_ray: bool):
        self.parts = parts
        self.rounds = rounds
        self.with_ray = with_ray
        self.rows: list[Row] = []
        RESULTS.mkdir(exist_ok=True)
        self.log = RESULTS / "workers.log"
        self.log.unlink(missing_ok=True)

    def part(self, name: str, measure) -> None:
        if name not in self.parts:
            return
        print(f"  {name} …", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            rows = measure()
        except (WorkerFailed, RuntimeError, subprocess.SubprocessError, OSError) as error:
            rows = [Row(name, "", None, targets=[("to be measured", False)], note=f" {str(error).strip().splitlines()[-1]}")]
            print(f"{name} failed: {error}", file=sys.stderr)
        self.rows += rows if isinstance(rows, list) else [rows]
        print(f"  {name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    def worker(self, stack: contextlib.ExitStack, name: str, python: str, env: dict[str, str], wrap=None) -> Worker:
        return stack.enter_context(Worker(name, python, env, self.log, wrap))

    def run(self) -> None:
        self.part("import", lambda: programs.import_cost(self.rounds * 6))
        if {"warm", "map", "arguments", "scale", "idle", "edit", "spare"} & set(self.parts):
            self.with_spares()
        if "cold" in self.parts:
            self.without_spares()

    def with_spares(self) -> None:
        """The platform as users have it."""
        with contextlib.ExitStack() as stack:
            platform = stack.enter_context(LocalPlatform(spares=True))
            platform.command("run", str(HERE / "workers" / "warm_up.py"))  # the image is there afterwards
            workers = {"ingle": self.worker(stack, "on_ingle", programs.PYTHON, platform.env())}
            workers["pool"] = self.worker(stack, "on_pool", sys.executable, plain_env())
            if self.with_ray:
                ray_folder = {"RAY_TMPDIR": str(platform.state / "ray"), "RAY_USAGE_STATS_ENABLED": "0"}
                workers["ray"] = self.worker(stack, "on_ray", python_of(PEERS), plain_env(**ray_folder))
                workers["ray"]("open_app")
            ray = workers.get("ray")
            platform.wait_quiet()
            self.part("idle", lambda: programs.idle(platform, ray, seconds=20.0))
            for name in ("ingle", "pool"):
                workers[name]("open_app")
            self.part("warm", lambda: calls.warm(workers, self.rounds, count=200))
            self.part("map", lambda: calls.many(workers, self.rounds, count=10_000))
            self.part("arguments", lambda: calls.arguments(workers, self.rounds))
            workers["ingle"]("close_app")
            self.part("scale", lambda: calls.scale(platform, workers["ingle"], ray, max(2, self.rounds // 2)))
            self.part("edit", lambda: programs.edit_and_run(platform, self.rounds))
            if ray:
                ray("close_app")
            self.part("spare", lambda: self.cold(stack, platform, workers["ingle"], spare=True))

    def without_spares(self) -> None:
        with contextlib.ExitStack() as stack:
            platform = stack.enter_context(LocalPlatform(spares=False))
            ingle = self.worker(stack, "on_ingle", programs.PYTHON, platform.env())
            self.part("cold", lambda: self.cold(stack, platform, ingle, spare=False))

    def cold(self, stack: contextlib.ExitStack, platform: LocalPlatform, ingle: Worker, spare: bool) -> Row:
        wrap = ["unshare", "--mount", "--propagation", "private"]
        crun = self.worker(stack, "on_crun", sys.executable, plain_env(), wrap)
        binary = shutil.which("crun")
        if not binary:
            raise RuntimeError("crun is not installed: run `ingle setup`")
        ingle("cold", number=999)
        layers, python = platform.rootfs()
        crun("open_app", layers=layers, crun=binary, python=python)
        try:
            return calls.cold(platform, ingle, crun, self.rounds * 3, spare)
        finally:
            crun("close_app")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"only these: {' '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="of everything, interleaved (default 5)")
    parser.add_argument("--no-ray", action="store_true", help="leave Ray out")
    asked = parser.parse_args()
    if wrong := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(wrong))}; there are {', '.join(PARTS)}")
    about = facts()
    with_ray = not asked.no_ray and set_up_peers()
    bench = Bench(asked.parts or list(PARTS), asked.rounds, with_ray)
    try:
        bench.run()
    finally:
        table = markdown(bench.rows, about)
        (RESULTS / "latest.md").write_text(table)
        (RESULTS / "latest.json").write_text(as_json(bench.rows, about))
        print(table)
    missed = [row.name for row in bench.rows if not all(ok for _, ok in row.targets)]
    print(f"{len(missed)} of {len(bench.rows)} rows miss a target; table and JSON are in {RESULTS.relative_to(TOP)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
