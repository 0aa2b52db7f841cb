"""The control socket and the signals: what may interrupt user code, and when.

Python runs signal handlers in the main thread, between two bytecodes of whatever runs there: user code or our own. A
handler of ours may raise only into user code, and only into the input that the node meant. Hence the *region*:
`running` names an input from just before user code begins to just after it ended, inside a `try` that catches
everything. What may interleave:

* CANCEL while `running` is that input: it is raised at once, and `running` is cleared first, so once.
* CANCEL for an input that has ended: its id is in `ended`; dropped.
* CANCEL for one that has not begun: kept in `cancelled`. Whoever opens the region sets `running` first and looks into
  `cancelled` then, so a handler that runs between the two cannot be missed.
* While the main thread waits for credit it reads the socket itself (`waiting`), and the handler leaves it alone:
  a message that the handler took would not end the wait.

In async mode nothing is raised: `defer` hands the cancel to the event loop.

The end of file on control means that the node is gone. F_SETSIG makes the kernel raise the signal for that too, so that
a runner that is busy with user code notices.
"""

import _signal as signal  # type: ignore[import-not-found]
import posix
import sys
from _collections import deque  # type: ignore[import-not-found]
from _socket import MSG_DONTWAIT, socket
from _thread import _local

from ingle.runner import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

#: How long exit handlers of user code may take when the container is stopped.
STOP_S_MAX = 1.0
_CANCELLED_MAX = 1024
_ENDED_MAX = 256
_MESSAGE_BYTES_MAX = 4096

# Not in `fcntl`, or only there from Python 3.13.
_F_SETOWN, _F_GETFL, _F_SETFL, _F_SETSIG, _O_ASYNC = 8, 3, 4, 10, 0o20000


class Control:
    """The control socket, and what is known about the input that runs."""

    def __init__(self, node: socket) -> None:
        self._socket = node
        self.send = node.send
        self.fileno = node.fileno
        self.running = b""  #: the input whose user code may be interrupted now
        self.begun = b""  #: the input that is being handled
        self.cancelled: dict[bytes, bytes] = {}
        self.ended: deque[bytes] = deque(maxlen=_ENDED_MAX)
        self.taken = 0  #: items of `begun` that have been taken: it may yield YIELDS_AHEAD_MAX more
        self.waiting = False
        self.over = False  #: this process serves no further input: it is being stopped, or it is a forked child
        self.forked = False
        self.defer: Callable[..., object] | None = None  #: async mode: the loop's call_soon_threadsafe
        self.on_cancel: Callable[[bytes, bytes], None] | None = None  #: async mode: cancels the task of an input
        self.on_credit: Callable[[], None] | None = None  #: async mode
        self.busy: Callable[[], bool] = lambda: False  #: async mode: is a task running?

    def listen(self) -> None:
        """From now on, messages interrupt."""
        for number, handler in self._handlers():
            signal.signal(number, handler)
        try:
            import fcntl

            fd = self._socket.fileno()
            fcntl.fcntl(fd, _F_SETSIG, wire.CANCEL_SIGNAL)
            fcntl.fcntl(fd, _F_SETOWN, posix.getpid())
            fcntl.fcntl(fd, _F_SETFL, fcntl.fcntl(fd, _F_GETFL) | _O_ASYNC)
        except (ImportError, OSError):
            pass  # a kernel without it: the node's own signal remains
        self.drain()

    def _handlers(self) -> "tuple[tuple[int, Callable[..., Any]], ...]":
        return (wire.CANCEL_SIGNAL, self._on_signal), (signal.SIGTERM, self.stop), (signal.SIGINT, self.interrupt)

    def _on_signal(self, number: int, frame: object) -> None:
        if not self.waiting:
            self.drain()

    def drain(self) -> None:
        """Reads all that is there. Raises InputCancellation if it is for the input that runs; ends the process at the
        end of file."""
        hit = b""
        while True:
            try:
                message = self._socket.recv(_MESSAGE_BYTES_MAX, MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                message = b""
            hit = self._handle(message) or hit
        if hit:
            raise cancellation(hit)

    def wait(self) -> None:
        """Sleeps until one more message came, and handles it. Raises as `drain`, `running` being set."""
        try:
            message = self._socket.recv(_MESSAGE_BYTES_MAX)
        except OSError:
            message = b""
        hit = self._handle(message)
        if hit:
            raise cancellation(hit)

    def _handle(self, message: bytes) -> bytes:
        """The reason, if the running input is to be cancelled."""
        if not message:
            leave(0)
        try:
            kind, name, value = wire.unpack(message)[:3]
        except ValueError:
            return b""
        if kind == wire.CREDIT:
            if name == self.begun and value.isdigit():
                self.taken = max(self.taken, int(value))
                if self.defer is not None:
                    self.defer(self.on_credit)
        elif kind == wire.CANCEL:
            if self.defer is not None:
                self.defer(self.on_cancel, name, value)
            elif name == self.running:
                self.running = b""
                return value or b"cancelled"
            else:
                self.remember(name, value)
        return b""

    def remember(self, name: bytes, reason: bytes) -> None:
        """A cancel of an input that does not run: it has ended, or will begin."""
        if name in self.ended:
            return
        while len(self.cancelled) >= _CANCELLED_MAX:
            del self.cancelled[next(iter(self.cancelled))]
        self.cancelled[name] = reason or b"cancelled"

    def end(self, name: bytes) -> None:
        """The input is answered."""
        self.begun = b""
        self.ended.append(name)
        if self.cancelled:
            self.cancelled.pop(name, None)

    def stop(self, number: int = 0, frame: object = None) -> None:
        """SIGTERM: no further input; user code that runs is interrupted, exit handlers are given STOP_S_MAX."""
        self.over = True
        signal.signal(signal.SIGALRM, lambda *_: leave(0))
        signal.setitimer(signal.ITIMER_REAL, STOP_S_MAX)
        if self.running:
            self.running = b""
            raise cancellation(b"stopped")
        if self.defer is not None and self.busy():
            self.defer(self.on_cancel, self.begun, b"stopped")
            return
        leave_politely()

    def interrupt(self, number: int, frame: object) -> None:
        """SIGINT, which user code may send itself: a KeyboardInterrupt there, and never in our own code."""
        if self.running:
            raise KeyboardInterrupt

    def guard_forks(self, close: "Callable[[], object]") -> None:
        """A forked child is no runner: it must not answer, and dies of signals as any process. `close` is called in it.

        The child forgets signals that reach it before its first Python code, SIGTERM of an early `terminate()` too; so
        that is held back in the kernel until the child has its own disposition.
        """
        masks = _local()

        def before() -> None:
            masks.old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

        def restore() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, masks.old)

        def in_child() -> None:
            self.forked = self.over = True
            self._socket.close()
            close()
            for number, handler in self._handlers():
                if signal.getsignal(number) == handler:
                    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            restore()

        posix.register_at_fork(before=before, after_in_parent=restore, after_in_child=in_child)


def cancellation(reason: bytes) -> BaseException:
    from ingle.exceptions import InputCancellation

    texts = {
        b"timeout": "the function ran longer than its `timeout`",
        b"stopped": "the container is being stopped",
    }
    return InputCancellation(texts.get(reason, "the call was cancelled"))


def flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except Exception:  # closed, replaced by anything, or nobody reads it
            pass


def leave(code: int) -> "NoReturn":
    """Ends the process at once, whatever threads there are."""
    flush()
    posix._exit(code)


def leave_politely() -> "NoReturn":
    import atexit

    try:
        atexit._run_exitfuncs()
    except BaseException:  # it has been printed
        pass
    leave(0)
