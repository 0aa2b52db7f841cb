"""What every request passes: token, version; and what every error becomes."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from ingle.exceptions import AuthError, Error
from ingle.model.ids import new_id
from ingle.server.api.body import failure, refusal
from ingle.server.api.parts import PARTS
from ingle.server.auth import check_token, check_version

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as Failure; what nobody expected as an id that stands in the log too."""
    try:
        return await handler(request)
    except Error as error:
        return refusal(error)
    except web.HTTPException as error:
        if error.status == 404:
            return failure(404, "not_found", f"there is no route {request.method} {request.path[:200]}")
        return failure(error.status, "invalid", f"{request.method} {request.path[:200]}: {error.reason}")
    except (ConnectionResetError, ConnectionError):
        raise  # the client has left: nobody to tell
    except Exception:
        name = new_id("er")
        log.exception("%s: %s %s failed", name, request.method, request.path)
        return failure(500, "server", f"the server failed; its log says why under {name}")


@web.middleware
async def tokens(request: web.Request, handler: Handler) -> web.StreamResponse:
    config = request.app[PARTS].config
    path = request.path
    if path == "/v1/node":
        check_token(request.headers, config.node_token)
    else:
        try:
            check_token(request.headers, config.token)
        except AuthError:
            if not path.startswith("/v1/blobs/"):
                raise
            check_token(request.headers, config.node_token)  # nodes fetch and store blobs too
    check_version(request.headers)
    return await handler(request)
