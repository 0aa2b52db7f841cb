"""A server and the token for it, as every request needs them."""

from __future__ import annotations

from ingle.exceptions import AuthError
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION


class Config:
    """A server and the token for it.

    Attributes:
        url: such as `http://127.0.0.1:7090`.
        token_from: where the token came from, for people.
        local: it is the server of this machine, which may be started, and may come back at another port.
    """

    __slots__ = ("local", "token", "token_from", "url")

    def __init__(self, url: str, token: str, token_from: str, local: bool = False):
        self.url = url
        self.token = token
        self.token_from = token_from
        self.local = local

    def headers(self) -> str:
        """The header lines that every request carries."""
        return f"Authorization: Bearer {self.token}\r\n{VERSION_HEADER}: {WIRE_VERSION}\r\n"


def check_token(token: str, origin: str) -> str:
    """The token without white space around it.

    Raises:
        AuthError: it has characters that no token has, and that would break a request's header.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise AuthError(f"the token from {origin} is empty or has characters that no token has")
    return token
