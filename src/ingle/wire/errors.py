"""One table: exception, stable code, HTTP status; and how an error of Ingle travels."""

import json
from dataclasses import dataclass, field

from ingle import exceptions as ex

#: Subclasses stand before their bases: the first match is taken.
TABLE: tuple[tuple[type[ex.Error], str, int], ...] = (
    (ex.InvalidError, "invalid", 400),
    (ex.NotAvailableError, "not_available", 501),
    (ex.AuthError, "auth", 401),
    (ex.NotFoundError, "not_found", 404),
    (ex.ConnectionError, "connection", 503),
    (ex.VersionError, "version", 426),
    (ex.SetupError, "setup", 500),
    (ex.ImageBuildError, "image_build", 422),
    (ex.PlacementError, "placement", 422),
    (ex.OutOfMemoryError, "out_of_memory", 500),
    (ex.CallCancelledError, "cancelled", 409),
    (ex.StartupTimeoutError, "startup_timeout", 504),
    (ex.FunctionTimeoutError, "timeout", 504),
    (ex.ExecutionError, "execution", 500),
    (ex.RemoteError, "remote", 500),
    (ex.OutputExpiredError, "expired", 410),
    (ex.ServerError, "server", 500),
    (ex.Error, "error", 500),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of Ingle as data."""

    code: str
    message: str
    data: dict[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        return json.dumps({"code": self.code, "message": self.message, "data": self.data}).encode()


def unpack_failure(payload: bytes | memoryview) -> Failure:
    """The failure in a payload; what cannot be read becomes a `server` failure."""
    try:
        value = json.loads(bytes(payload))
        return Failure(str(value["code"]), str(value["message"]), dict(value.get("data") or {}))
    except (ValueError, KeyError, TypeError):
        return Failure("server", "the server answered with something that this client cannot read")


def failure_of(error: ex.Error) -> Failure:
    for cls, code, _ in TABLE:
        if isinstance(error, cls):
            return Failure(code, str(error))
    return Failure("error", str(error))


def error_of(failure: Failure) -> ex.Error:
    for cls, code, _ in TABLE:
        if code == failure.code:
            return cls(failure.message)
    return ex.Error(failure.message)


def status_of(error: ex.Error) -> int:
    return next(status for cls, _, status in TABLE if isinstance(error, cls))
