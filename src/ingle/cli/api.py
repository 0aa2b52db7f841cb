"""What the commands ask the server."""

from collections.abc import Iterator
from typing import Any


def get(path: str, **query: str) -> Any:
    """The JSON that the server answers.

    Raises:
        Error: whatever the server says, or that there is none.
    """
    from ingle.sdk import http

    return http.request("GET", _with(path, query))


def post(path: str) -> Any:
    """The JSON that the server answers to an empty body.

    Raises:
        Error: as `get`.
    """
    from ingle.sdk import http

    return http.request("POST", path, {})


def lines(path: str, **query: str) -> Iterator[dict[str, Any]]:
    """The values of an NDJSON answer, as they come.

    Raises:
        Error: as `get`.
    """
    from ingle.sdk import http

    yield from http.stream(_with(path, query))


def _with(path: str, query: dict[str, str]) -> str:
    from urllib.parse import urlencode

    return path + ("?" + urlencode(query) if query else "")
