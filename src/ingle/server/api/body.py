"""Bodies of requests and answers: JSON both ways, bounded in size and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from ingle.exceptions import Error, InvalidError
from ingle.wire.codec import FrameError, dump, load
from ingle.wire.errors import Failure, failure_of, status_of

#: A JSON body; a source tree of 50 000 files has one of 10 MiB.
JSON_BYTES_MAX = 32 << 20
#: A client that sends nothing for so long is given up.
SILENCE_S_MAX = 60.0
CHUNK_BYTES = 1 << 20


async def read_json(request: web.Request, kind: type) -> Any:
    """The body as a dataclass.

    Raises:
        InvalidError: it is no such JSON, too long, or stops coming.
    """
    try:
        body = await asyncio.wait_for(request.read(), SILENCE_S_MAX)
    except asyncio.TimeoutError:
        raise InvalidError(f"the request's body did not arrive within {SILENCE_S_MAX:.0f} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise InvalidError(f"the request's body has more than {JSON_BYTES_MAX >> 20} MiB") from None
    try:
        return load(kind, body)
    except FrameError as error:
        raise InvalidError(f"the request's body cannot be read: {error}") from None


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        InvalidError: nothing came for SILENCE_S_MAX.
    """
    while True:
        try:
            chunk = await asyncio.wait_for(request.content.read(CHUNK_BYTES), SILENCE_S_MAX)
        except asyncio.TimeoutError:
            raise InvalidError(f"the upload stood still for {SILENCE_S_MAX:.0f} s: send it again") from None
        if not chunk:
            return
        yield chunk


def answer(value: Any) -> web.Response:
    return web.Response(body=dump(value), content_type="application/json")


def refusal(error: Error) -> web.Response:
    return web.Response(status=status_of(error), body=failure_of(error).pack(), content_type="application/json")


def failure(status: int, code: str, message: str) -> web.Response:
    return web.Response(status=status, body=Failure(code, message).pack(), content_type="application/json")


def number(request: web.Request, name: str, default: int | None = None, most: int = 1 << 31) -> int | None:
    """A whole number from the query.

    Raises:
        InvalidError: it is none.
    """
    given = request.query.get(name)
    if given is None or given == "":
        return default
    if not given.isdecimal() or int(given) > most:
        raise InvalidError(f"`{name}` has to be a number from 0 to {most}, not {given[:40]!r}")
    return int(given)


def flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "0") not in ("", "0", "false")


def strings(request: web.Request, name: str) -> list[str]:
    """A JSON list of strings from the query.

    Raises:
        InvalidError: it is none, or empty.
    """
    try:
        value = json.loads(request.query.get(name, ""))
    except ValueError:
        value = None
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise InvalidError(f"`{name}` has to be a JSON list of strings")
    return value
