"""How lives end: what is said about it, as pure functions."""

import signal
from dataclasses import dataclass

from ingle import exceptions as ex
from ingle.model import call
from ingle.runner import wire
from ingle.wire import node as w
from ingle.wire.errors import Failure, failure_of

STOPPED, START_FAILED, KILLED, EXITED, OUT_OF_MEMORY = "stopped", "start_failed", "killed", "exited", "out_of_memory"


@dataclass(frozen=True, slots=True)
class Ending:
    """`cause` and `message` as in ContainerExited; `outcome` and `payload` for one that never was ready."""

    cause: str
    message: str
    outcome: str = ""
    payload: bytes = b""


class StartFailed(RuntimeError):
    """`code` as in wire.errors; or the exception that the user's code raised, as packed by the runner."""

    def __init__(self, code: str, message: str, raised: bytes = b""):
        super().__init__(message)
        self.code, self.raised = code, raised


class Died(RuntimeError):
    """The process ended before the function was loaded."""

    def __init__(self, code: int):
        super().__init__(f"it ended with {code}")
        self.code = code


def failure(code: str, message: str) -> bytes:
    """The payload of an outcome FAILED."""
    return Failure(code, message).pack()


def interruption(reason: str, timeout_s: float) -> str:
    if reason == "timeout":
        return f"the function ran longer than its timeout of {timeout_s:g} s"
    return "the call was cancelled"


def of_error(error: Exception, tail: str) -> Ending | None:
    """The ending that this error of a start means; None: `judge` says it by the exit code."""
    if isinstance(error, Died):
        return None
    if isinstance(error, StartFailed) and error.raised:
        return Ending(START_FAILED, str(error), call.RAISED, error.raised)
    if isinstance(error, StartFailed):
        message = with_tail(str(error), tail)
        return Ending(START_FAILED, message, call.FAILED, failure(error.code, message))
    if isinstance(error, ex.Error):
        return Ending(START_FAILED, str(error), call.FAILED, failure_of(error).pack())
    message = f"the node could not start the container: {error or type(error).__name__}"
    return Ending(START_FAILED, message, call.FAILED, failure("server", message))


def judge(
    known: Ending | None, *, code: int, oom_kills: int, running: str, was_ready: bool, memory_mib: int | None,
    interrupted: tuple[str, str] | None, tail: str,
) -> Ending:  # fmt: skip
    """Why it is over. What we did ourselves (`known`) comes before what the kernel did, and that before the exit code.

    Args:
        code: negative for a signal; 128 + signal counts as that signal.
        interrupted: the input that was being interrupted, and why.
    """
    if 128 < code < 128 + 65:
        code = 128 - code
    if known is not None and known.cause == KILLED and not was_ready and not known.outcome:
        known = Ending(START_FAILED, known.message, call.FAILED, failure("execution", known.message))
    if known is not None:
        return known
    if oom_kills and code == -signal.SIGKILL:
        limit = f"its memory limit of {memory_mib} MiB" if memory_mib else "the memory limit of the node"
        end = Ending(OUT_OF_MEMORY, f"killed at {limit}")
    elif code == -signal.SIGKILL:
        end = Ending(KILLED, f"the container's process was killed from outside{_while(running)}")
    else:
        how = f"by signal {_signal_name(-code)}" if code < 0 else f"with code {code}"
        end = Ending(EXITED, f"the container's process ended {how} (os._exit or a crash){_while(running)}")
    if interrupted is not None and interrupted[0] == running and end.cause != OUT_OF_MEMORY:
        end = Ending(interrupted[1], f"{end.message}, as it was interrupted ({interrupted[1]})")
    if was_ready:
        return end
    message = with_tail(f"{end.message} before its function was loaded", tail)
    kind = "out_of_memory" if end.cause == OUT_OF_MEMORY else "execution"
    return Ending(START_FAILED, message, call.FAILED, failure(kind, message))


def with_tail(message: str, tail: str) -> str:
    return f"{message}; the last it said:\n{tail}" if tail else message


def _while(running: str) -> str:
    return f" while running {running}" if running else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def setup_message(message: w.StartContainer) -> bytes:
    """SETUP for a runner."""
    spec = message.function
    env = wire.pack(*wire.pack_pairs({k.encode(): v.encode() for k, v in spec.env.items()}))
    functions = wire.pack(*wire.pack_pairs({k.encode(): v.encode() for k, v in message.app_functions.items()}))
    values = (
        message.container, spec.app_id, message.app_name, spec.id, spec.name, spec.module, spec.qualname,
        "definition" if spec.definition else "", "1" if spec.is_generator else "", "1" if spec.single_use else "",
    )  # fmt: skip
    pairs = dict(zip(wire.SETUP_KEYS, [*(value.encode() for value in values), env, functions], strict=True))
    return wire.pack(wire.SETUP, *wire.pack_pairs(pairs))
