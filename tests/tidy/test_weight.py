"""What `import ingle` and a decorated function load: asserted on sys.modules, which does not flicker."""

import subprocess
import sys
import textwrap

import pytest
from tidy.source import SRC, modules

#: Together these cost more than the whole budget of `import ingle`: imported at first use.
HEAVY = {
    "aiohttp", "asyncio", "click", "cloudpickle", "concurrent.futures", "email", "http.client", "importlib.metadata", "logging", "msgspec", "multiprocessing", "obstore", "picows", "pickle", "psutil", "rich", "sqlalchemy", "ssl",
    "subprocess", "tempfile", "urllib.request", "uvloop",
}  # fmt: skip
#: The cold start of a container pays for each of these (see docs/decisions); the runner starts without them.
HEAVY_INSIDE = HEAVY | {"dataclasses", "enum", "json", "re", "socket", "traceback", "typing"}

DECORATED = """
import ingle

app = ingle.App("weight")

@app.function()
def work(x):
    return x

@app.local_entrypoint()
def main():
    work.remote(1)
"""


def loaded(code: str, **env: str) -> set[str]:
    """sys.modules after the code, in a fresh Python without site-packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(code) + "\nimport sys\nprint(*sys.modules)"],
        capture_output=True, text=True, cwd=SRC, timeout=60, env={"PYTHONDONTWRITEBYTECODE": "1", **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import ingle", "import ingle\ningle.App, ingle.Image, ingle.Retries", DECORATED])
def test_import_is_light(code):
    heavy = HEAVY & loaded(code)
    assert not heavy, f"imported too early: {', '.join(sorted(heavy))} (python -X importtime shows by whom)"


def test_a_decorated_function_is_light_inside_a_container():
    heavy = HEAVY_INSIDE & (loaded(DECORATED, INGLE_CONTAINER="co-1\nap-1\nweight\nfu-1\nwork") - loaded("pass"))
    assert not heavy, f"imported at every cold start: {', '.join(sorted(heavy))}: move to first use"


def test_the_runner_starts_light():
    names = {m.name for m in modules() if m.part == "runner" and not m.name.endswith("__main__")}
    at_start = "import ingle.runner.wire, ingle.runner.context"
    if "ingle.runner.serve" in names:
        at_start += ", ingle.runner.serve"
    heavy = HEAVY_INSIDE & (loaded(at_start) - loaded("pass"))
    assert not heavy, f"the runner imports at start: {', '.join(sorted(heavy))}: move to first use"


def test_help_does_not_load_server_or_node():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ingle", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    heavy = {"aiohttp", "sqlalchemy", "alembic", "obstore", "uvloop", "psutil", "rich"} & names
    assert not heavy, f"`ingle --help` imports {', '.join(sorted(heavy))}"
