"""Where this program runs: in a container of Ingle or not, for which function, and for which input just now.

The runner fills it in; the SDK reads it (as attributes of this module, each time anew). A program that user code starts
inside a container finds the same facts in its environment. Outside of containers everything is empty.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import ContextVar

#: Is this process inside a container of Ingle?
in_container = False
#: Directory with `node.sock` and `in/`; `out/` beside them can be written.
io_dir = ""
container = ""  #: container id
app = ""  #: app id
app_name = ""
function = ""  #: function id
function_name = ""
#: Name to id of every function of the app.
functions: dict[str, str] = {}

#: The input that this process runs now, or b"". The runner alone writes it.
input_id = b""
#: Set by the async part of the runner: a ContextVar, so that a task left over from an earlier input still knows its own.
input_variable: "ContextVar[bytes] | None" = None

#: The module that was `__main__` before user code got an empty one; it must stay alive.
program: object = None

_VARIABLE = "INGLE_CONTAINER"
#: A longer map of functions is not handed on to child processes (the kernel bounds one variable to 128 KiB).
_FUNCTIONS_BYTES_MAX = 100_000


def current_input_id() -> str | None:
    """The id of the input that the caller works for, such as `fc-…:0`; None outside of one.

    A thread that user code started belongs to the input that runs now. A separate program that it started gets None.
    """
    if input_variable is not None:
        own = input_variable.get(b"")
        if own:
            return own.decode()
    return input_id.decode() or None


def current_function_call_id() -> str | None:
    """The id of the call that the caller works for, such as `fc-…`; None outside of one."""
    current = current_input_id()
    return current.rpartition(":")[0] if current else None


def enter(values: dict[str, str], function_ids: dict[str, str], io: str) -> None:
    """Called once, by the runner: this process is that container now. Child processes learn it from the environment."""
    global in_container, io_dir, container, app, app_name, function, function_name, functions
    in_container = True
    io_dir = io
    container = values.get("container", "")
    app = values.get("app", "")
    app_name = values.get("app_name", "")
    function = values.get("function", "")
    function_name = values.get("function_name", "")
    functions = function_ids


def to_environment() -> dict[str, str]:
    """What a child process needs to know the same."""
    library = __file__.rpartition("/ingle/")[0]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path and path != library]
    said = {
        _VARIABLE: "\n".join((container, app, app_name, function, function_name)),
        "INGLE_IO_DIR": io_dir,
        "PYTHONPATH": ":".join([*paths, library]),  # so that `import ingle` works there as well
    }
    flat = "\n".join(f"{name}={value}" for name, value in functions.items())
    if len(flat) < _FUNCTIONS_BYTES_MAX:
        said["INGLE_FUNCTIONS"] = flat
    return said


def _from_environment() -> None:
    names = ("container", "app", "app_name", "function", "function_name")
    values = dict(zip(names, os.environ[_VARIABLE].split("\n"), strict=False))
    pairs = [line.rpartition("=") for line in os.environ.get("INGLE_FUNCTIONS", "").split("\n") if line]
    enter(values, {name: value for name, _, value in pairs}, os.environ.get("INGLE_IO_DIR", "/run/ingle"))


if _VARIABLE in os.environ:
    _from_environment()
