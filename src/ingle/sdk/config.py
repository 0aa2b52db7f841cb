"""Which server, and with which token: environment, then a profile of `~/.ingle.toml`, then the server of this machine."""

from __future__ import annotations

import os
import sys

from ingle.exceptions import AuthError, InvalidError
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION

FILE = "~/.ingle.toml"
CONFIG_BYTES_MAX = 1 << 20


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


def configured() -> Config | None:
    """What the user configured; None: nothing, so the server of this machine is meant.

    Raises:
        InvalidError: the file cannot be read, or has no such profile.
        AuthError: a server is named, but no token for it.
    """
    profile, settings = _profile()
    url = os.environ.get("INGLE_SERVER_URL") or settings.get("server_url")
    if not url:
        return None
    token, origin = os.environ.get("INGLE_TOKEN"), "INGLE_TOKEN"
    if not token:
        token, origin = settings.get("token"), f"profile {profile!r} of {FILE}"
    if not token:
        from ingle.sdk import local

        here = local.find()
        if here is not None and here.url.rstrip("/") == url.rstrip("/"):
            return here
        raise AuthError(f"no token for {url}: set INGLE_TOKEN, or `token` in profile {profile!r} of {FILE}")
    return Config(url, check_token(token, origin), origin)


def check_token(token: str, origin: str) -> str:
    """The token without white space around it.

    Raises:
        AuthError: it has characters that no token has, and that would break a request's header.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise AuthError(f"the token from {origin} is empty or has characters that no token has")
    return token


def _profile() -> tuple[str, dict[str, str]]:
    wanted = os.environ.get("INGLE_PROFILE")
    profile = wanted or "default"
    path = os.path.expanduser(FILE)
    try:
        with open(path, "rb") as file:
            text = file.read(CONFIG_BYTES_MAX)
    except FileNotFoundError:
        text = b""
    except OSError as error:
        raise InvalidError(f"cannot read {FILE}: {error.strerror}") from None
    profiles = _parse(text) if text else {}
    settings = profiles.get(profile)
    if settings is None:
        if wanted:
            known = ", ".join(sorted(profiles)) or "none"
            raise InvalidError(f"INGLE_PROFILE names {wanted!r}, which is not in {FILE} (there: {known})")
        return profile, {}
    if not isinstance(settings, dict):
        raise InvalidError(f"{FILE}: {profile!r} is not a section; write [{profile}] and below it server_url and token")
    for key in ("server_url", "token"):
        if not isinstance(settings.get(key, ""), str):
            raise InvalidError(f"{FILE}: `{key}` of [{profile}] is not a string")
    return profile, settings


def _parse(text: bytes) -> dict:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text.decode())
    except ValueError as error:
        raise InvalidError(f"{FILE} is not valid TOML: {error}") from None
