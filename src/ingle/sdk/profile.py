"""The server that the user configured: by the environment, else by a profile of `~/.ingle.toml`."""

from __future__ import annotations

import os
import sys

from ingle.exceptions import AuthError, InvalidError
from ingle.sdk import local
from ingle.sdk.config import Config, check_token

FILE = "~/.ingle.toml"
CONFIG_BYTES_MAX = 1 << 20


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
        here = local.find()
        if here is not None and here.url.rstrip("/") == url.rstrip("/"):
            return here
        raise AuthError(f"no token for {url}: set INGLE_TOKEN, or `token` in profile {profile!r} of {FILE}")
    return Config(url, check_token(token, origin), origin)


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
