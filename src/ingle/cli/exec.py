"""A program in a container with this terminal's, or these pipes', input and output."""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from typing import Any

from ingle import exceptions as ex
from ingle.cli import api

STDOUT, STDERR, CONTROL = 1, 2, 3
READ_BYTES = 32 << 10


def execute(container: str, argv: list[str], tty: bool | None) -> int:
    """Run it to its end; returns its exit code.

    Raises:
        Error: there is no such container or program, or the connection is lost.
    """
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    tty = terminal if tty is None else tty
    size = shutil.get_terminal_size()
    query = {"argv": json.dumps(argv), "tty": str(int(tty)), "rows": str(size.lines), "cols": str(size.columns)}
    socket = api.websocket(f"/v1/containers/{container}/exec", **query)
    with _raw(tty and terminal):
        if tty:
            _follow_size(socket)
        threading.Thread(target=_send_input, args=(socket, tty and terminal), name="ingle-stdin", daemon=True).start()
        code = _show_output(socket)
    return code if code >= 0 else 128 - code


def _show_output(socket: Any) -> int:
    while True:
        try:
            message = socket.recv()
        except OSError as error:
            raise ex.ConnectionError(f"the connection to the container was lost: {error}") from None
        kind, data = message[0], memoryview(message)[1:]
        if kind == CONTROL:
            said = json.loads(bytes(data))
            if said.get("error"):
                raise ex.Error(said["error"])
            return int(said["code"])
        with contextlib.suppress(OSError):
            _write(1 if kind == STDOUT else 2, data)


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _send_input(socket: Any, terminal: bool) -> None:
    """Stdin to the program; its end as an empty message."""
    with contextlib.suppress(OSError):
        while data := os.read(0, READ_BYTES):
            socket.send([data])
        if not terminal:
            socket.send([b""])


@contextlib.contextmanager
def _raw(wanted: bool) -> Any:
    """The terminal hands every key on, Ctrl-C included; put back at the end, whatever happens."""
    if not wanted:
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _follow_size(socket: Any) -> None:
    """Tell the program when the window changes its size: a text message of JSON."""

    def on_resize(*_: Any) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(OSError):
            socket.send_text(json.dumps({"rows": size.lines, "cols": size.columns}))

    signal.signal(signal.SIGWINCH, on_resize)
