"""Who may talk to the server."""

import hmac
from collections.abc import Mapping

from ingle.exceptions import AuthError, VersionError
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION


def check_token(headers: Mapping[str, str], token: str) -> None:
    """Compares in constant time.

    Raises:
        AuthError: no token, or another.
    """
    kind, _, given = headers.get("Authorization", "").partition(" ")
    if not given:
        raise AuthError("this server wants a token: set INGLE_TOKEN, or `token` in ~/.ingle.toml")
    right = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), token.encode())
    if kind.lower() != "bearer" or not token or not right:
        raise AuthError("the server does not know this token: check INGLE_TOKEN, or `token` in ~/.ingle.toml")


def check_version(headers: Mapping[str, str]) -> None:
    """
    Raises:
        VersionError: the peer speaks another wire.
    """
    said = headers.get(VERSION_HEADER, "")
    if said != str(WIRE_VERSION):
        raise VersionError(
            f"the server speaks wire version {WIRE_VERSION}, this client {ascii(said[:20]) if said else 'none'}: install the same version of Ingle on both"
        )
