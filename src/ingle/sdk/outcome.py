"""What came of an input: the value, or the exception to raise."""

from __future__ import annotations

from ingle.model.call import RAISED, RETURNED
from ingle.sdk.serialization import loads
from ingle.sdk.wake import in_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingle.sdk.connection import Connection

    #: Outcome (model.call), payload, and whether the payload stands for a blob.
    Result = tuple[str, bytes, bool]


def open_result(connection: Connection, result: Result) -> Any:
    """The value of an input that returned.

    Raises:
        BaseException: what the function raised, or why it could not be run.
    """
    outcome, payload, is_blob = result
    if is_blob:
        payload = connection.fetch(payload)
    if outcome == RETURNED:
        return loads(payload)
    raise exception_of(outcome, payload)


async def open_aio(connection: Connection, result: Result) -> Any:
    """`open_result`; what must be fetched first is fetched in a thread."""
    if result[2]:
        data = await in_thread(connection.fetch, result[1])
        result = (result[0], data, False)
    return open_result(connection, result)


def exception_of(outcome: str, payload: Any) -> BaseException:
    """What a failed input raises."""
    if outcome == RAISED:
        from ingle.sdk.raised import rebuild

        return rebuild(payload)
    from ingle.wire.errors import error_of, unpack_failure

    return error_of(unpack_failure(payload))


def as_value(connection: Connection, result: Result) -> Any:
    """The value, or the exception as a value (for `return_exceptions=True`)."""
    try:
        return open_result(connection, result)
    except Exception as error:
        return error
    except BaseException as error:  # SystemExit and the like, raised remotely; Ctrl-C here is no result
        if isinstance(error, KeyboardInterrupt) and result[0] == RETURNED:
            raise
        return error


def fresh(error: Exception) -> Exception:
    """The same error again, so that each caller's traceback is its own."""
    return type(error)(*error.args)
