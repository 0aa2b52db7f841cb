"""Every exception a user of Ingle may want to catch.

::

    Error
    ├── InvalidError              the SDK or the command was used wrongly
    ├── NotAvailableError         a part of Ingle that this version does not have
    ├── AuthError                 the token is missing or wrong
    ├── NotFoundError             no such app, function, call, container …
    ├── ConnectionError           the server cannot be reached, or was lost for good
    ├── VersionError              client, server or node speak different wire versions
    ├── ServerError               the server failed; its log has the details
    ├── SetupError                this machine lacks something that Ingle needs
    ├── ImageBuildError           a step of an image failed
    ├── PlacementError            no node can ever hold this function
    ├── ExecutionError            the input could not be run to an end
    │   ├── OutOfMemoryError      the container was killed at its memory limit
    │   ├── CallCancelledError    the call was cancelled, or its app was stopped
    │   └── FunctionTimeoutError  it ran longer than the function's `timeout`
    │       └── StartupTimeoutError   its container did not start within `startup_timeout`
    ├── RemoteError               a remote exception that cannot be rebuilt here
    └── OutputExpiredError        the result is no longer kept
    InputCancellation             (BaseException) raised inside a function whose input is cancelled

A remote exception of any other type is raised again as itself.
"""


class Error(Exception):
    """Base of all errors of Ingle."""


class InvalidError(Error):
    """The SDK or the command was used wrongly; the message shows the right way."""


class NotAvailableError(Error):
    """A part of Ingle that this version does not have."""


class AuthError(Error):
    """The token is missing or wrong."""


class NotFoundError(Error):
    """There is no such app, function, call or container."""


class ConnectionError(Error):
    """The server cannot be reached, or the connection was lost and did not come back."""


class VersionError(Error):
    """Client, server or node speak different versions of the wire."""


class ServerError(Error):
    """The server failed; its log has the details."""


class SetupError(Error):
    """This machine lacks something that Ingle needs; the message names the command that mends it."""


class ImageBuildError(Error):
    """A step of an image failed; the message ends with the end of its output."""


class PlacementError(Error):
    """No node can ever hold a container of this function; the message says which need is too large."""


class ExecutionError(Error):
    """The input could not be run to an end."""


class OutOfMemoryError(ExecutionError):
    """The container was killed at its memory limit."""


class CallCancelledError(ExecutionError):
    """The call was cancelled, or its app was stopped."""


class FunctionTimeoutError(ExecutionError):
    """The function ran longer than its `timeout`."""


class StartupTimeoutError(FunctionTimeoutError):
    """The container did not start within `startup_timeout`."""


class RemoteError(Error):
    """A remote exception that cannot be rebuilt here; the message is the remote traceback."""


class OutputExpiredError(Error):
    """The result is no longer kept."""


class InputCancellation(BaseException):
    """Raised inside a running function when its input is cancelled or runs out of time.

    A BaseException, so that `except Exception` in user code does not swallow it.
    """
