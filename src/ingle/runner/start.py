"""The runner's beginning: from the first connection to the node until the function is loaded and ready.

Every import here is paid at each cold start; what the node's answer leaves time for comes after HELLO was sent.
"""

import _signal as signal  # type: ignore[import-not-found]
import os
import sys
from _socket import AF_UNIX, CMSG_SPACE, MSG_CMSG_CLOEXEC, SOCK_STREAM, socket
from time import perf_counter

from ingle.runner import context, control, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

#: Objects that an import may make before the garbage collector looks at them: most live as long as the container.
_IMPORT_GC_THRESHOLD = 50_000
_SETUP_BYTES_MAX = 16 << 20
#: The kernel bounds the path of a unix socket; a longer one is reached by its relative name.
_SOCKET_PATH_BYTES_MAX = 100


def main() -> "NoReturn":
    """Becomes the runner."""
    io = os.environ.get("INGLE_IO_DIR", wire.IO_DIR)
    # Process 1 would ignore it, and a spare may wait for its set-up for hours.
    signal.signal(signal.SIGTERM, lambda *_: control.leave(0))
    try:
        node = connect(io)
    except OSError as error:
        sys.stderr.write(f"the runner cannot reach its node at {io}/{wire.SOCKET_NAME}: {error}\n")
        control.leave(1)
    # The node reads this while the rest is imported.
    from ingle.runner import payload, serve, stdio  # noqa: F401

    setup, inbox, node_control = receive_setup(node)
    node.close()
    link = control.Control(node_control)
    # A user's `import __main__` must not find the runner.
    context.program = sys.modules["__main__"]
    sys.modules["__main__"] = type(sys)("__main__")
    link.guard_forks(inbox.close)
    stdio.install()
    link.listen()
    try:
        prepare(setup, io)
        function, import_ms = load(setup)
    except BaseException as error:
        fail(link, error)
    signal_ready(link, import_ms)
    name = os.fsdecode(setup.get(b"function_name", b""))
    server = serve.Server(inbox, link, function, bool(setup.get(b"generator")), name)
    first = server.run()
    from ingle.runner import tasks  # asyncio: only for a function that needs it

    tasks.TaskServer(server).run(first)


def connect(io: str) -> socket:
    """A connection on which the runner has said who it is."""
    node = socket(AF_UNIX, SOCK_STREAM)
    path = f"{io}/{wire.SOCKET_NAME}"
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
        os.chdir(io)
        path = wire.SOCKET_NAME
    node.connect(path)
    node.sendall(wire.pack(wire.HELLO, b"runner", b"%d" % os.getpid(), b"3.%d" % sys.version_info[1]))
    return node


def receive_setup(node: socket) -> tuple[dict[bytes, bytes], socket, socket]:
    """Waits for SETUP, as long as it takes. Leaves if the node goes away."""
    from _struct import unpack

    data, descriptors = b"", []  # type: bytes, list[int]
    length = None
    while length is None or len(data) < length:
        try:
            more, ancillary, _, _ = node.recvmsg(1 << 16, CMSG_SPACE(8), MSG_CMSG_CLOEXEC)
        except OSError:
            more, ancillary = b"", []
        if not more:
            control.leave(0)
        data += more
        for _, _, content in ancillary:
            descriptors += unpack(f"{len(content) // 4}i", content)
        length = wire.message_length(data)
        if len(data) > _SETUP_BYTES_MAX:
            length = 0
    parts = wire.unpack(data)
    if parts[:1] != [wire.SETUP] or len(descriptors) != 2:
        sys.stderr.write("the node answered the runner with something else than a set-up and two sockets\n")
        control.leave(1)
    inbox, node_control = (socket(fileno=descriptor) for descriptor in descriptors)
    return wire.unpack_pairs(parts[1:]), inbox, node_control


def prepare(setup: dict[bytes, bytes], io: str) -> None:
    """Makes the process what user code expects: its environment, directory and import path."""
    text = {os.fsdecode(key): os.fsdecode(value) for key, value in setup.items() if key not in (b"env", b"functions")}
    functions = wire.unpack_pairs(wire.unpack(setup[b"functions"])) if setup.get(b"functions") else {}
    context.enter(text, {os.fsdecode(name): os.fsdecode(value) for name, value in functions.items()}, io)
    environment = wire.unpack_pairs(wire.unpack(setup[b"env"])) if setup.get(b"env") else {}
    root = os.environ.get("INGLE_ROOT_DIR", "/root")
    os.environb.update(environment)
    os.environ.update(context.to_environment())
    if b"TZ" in environment:
        from time import tzset

        tzset()
    os.chdir(root)
    # The interpreter has looked at PYTHONPATH before the function's environment was there.
    sys.path[:0] = [root, *filter(None, os.fsdecode(environment.get(b"PYTHONPATH", b"")).split(":"))]
    sys.argv = [root]
    # What is imported here is seldom imported twice: the container's writable layer is gone with it.
    sys.dont_write_bytecode = True


def load(setup: dict[bytes, bytes]) -> "tuple[Callable[..., Any], float]":
    """The function, and the milliseconds that it took. Raises whatever the user's module raises."""
    import gc

    before = gc.get_threshold()
    gc.set_threshold(_IMPORT_GC_THRESHOLD, *before[1:])
    began = perf_counter()
    try:
        function = _find(setup)
    finally:
        if gc.get_threshold() == (_IMPORT_GC_THRESHOLD, *before[1:]):  # user code may have chosen its own
            gc.set_threshold(*before)
    # What is there now stays: no later collection need look at it (and a forked copy of the process shares its pages).
    gc.freeze()
    return function, (perf_counter() - began) * 1000


def _find(setup: dict[bytes, bytes]) -> "Callable[..., Any]":
    module = os.fsdecode(setup.get(b"module", b""))
    qualname = os.fsdecode(setup.get(b"qualname", b""))
    if setup.get(b"definition"):
        from ingle.runner import payload

        found = payload.load(memoryview(b""), setup[b"definition"])
    else:
        __import__(module)
        found = sys.modules[module]
        for part in qualname.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise AttributeError(
                    f"module `{module}` has no `{qualname}` when it is imported in the container; a function must be "
                    f"defined at the top level of its module, whatever machine imports it"
                ) from None
    # The SDK's decorator leaves an object of its own, and the user's function in it.
    function: Callable[..., Any] = getattr(found, "_ingle_raw", found)
    if not callable(function):
        raise TypeError(f"`{qualname}` of module `{module}` is no function, but {type(function).__name__}")
    return function


def signal_ready(link: control.Control, import_ms: float) -> None:
    control.flush()
    try:
        link.send(wire.pack(wire.READY, b"import", b"%.3f" % import_ms, b"enter", b"0"))
    except OSError:
        control.leave(1)


def fail(link: control.Control, error: BaseException) -> "NoReturn":
    """The container cannot start: says why, and ends it."""
    from ingle.runner import raised

    message = raised.cut(raised.pack(error), wire.INLINE_BYTES_MAX)
    control.flush()
    try:
        link.send(wire.pack(wire.START_FAILED, message))
    except OSError:
        pass
    control.leave(1)
