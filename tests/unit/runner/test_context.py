"""What user code and the SDK can ask about where they are."""

import subprocess
import sys

from ingle.runner import wire

CODE = """
import subprocess, sys, threading
from ingle.runner import context
def here():
    return [context.in_container, context.container, context.app, context.app_name, context.function,
            context.function_name, context.functions, context.io_dir, context.current_input_id(), context.current_function_call_id()]
at_import = here()
def f(how):
    if how == "import": return at_import
    if how == "thread":
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(here())); thread.start(); thread.join()
        return seen
    if how == "process":
        return eval(subprocess.run([sys.executable, "-c", "import user_code; print(user_code.at_import)"],
                    capture_output=True, check=True).stdout)
    return here()
"""


def test_a_container_knows_itself(start):
    functions = wire.pack(b"f", b"fu-1", b"odd=name", b"fu-2")
    runner = start(CODE, "f", functions=functions)
    known = [True, "co-1", "ap-1", "an app", "fu-1", "f", {"f": "fu-1", "odd=name": "fu-2"}, str(runner.io)]
    assert runner.call("import").value == [*known, None, None]
    assert runner.call("here").value == [*known, "fc-test:1", "fc-test"]
    assert runner.call("thread").value == [*known, "fc-test:2", "fc-test"]
    assert runner.call("process").value == [*known, None, None]


def test_outside_everything_is_empty(library):
    program = "from ingle.runner import context as c; print(c.in_container, repr(c.io_dir), c.functions, c.current_input_id(), c.current_function_call_id())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False '' {} None None\n"


def test_importing_it_loads_nothing(library):
    program = (
        f"import sys; sys.path.insert(0, {str(library)!r}); before = set(sys.modules)\n"
        "from ingle.runner import context; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"ingle", "ingle.runner", "ingle.runner.context"}
