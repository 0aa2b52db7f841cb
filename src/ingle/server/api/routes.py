"""All routes, in the order of wire.api.ROUTES."""

from aiohttp import web

from ingle.server.api import app, blob, container, node, session, status
from ingle.server.api.body import JSON_BYTES_MAX
from ingle.server.api.guard import errors, tokens
from ingle.server.api.parts import PARTS, Parts


def application(parts: Parts) -> web.Application:
    made = web.Application(middlewares=[errors, tokens], client_max_size=JSON_BYTES_MAX)
    made[PARTS] = parts
    made.router.add_routes(
        [
            web.get("/v1/status", status.status, allow_head=False),
            web.post("/v1/sources", blob.put_source),
            web.post("/v1/sources/{source}/files", blob.put_files),
            web.put("/v1/blobs/{blob}", blob.put_blob),
            web.get("/v1/blobs/{blob}", blob.get_blob, allow_head=False),
            web.get("/v1/apps", app.apps, allow_head=False),
            web.post("/v1/apps", app.create),
            web.post("/v1/apps/{app}/stop", app.stop),
            web.get("/v1/apps/{app}/logs", app.logs, allow_head=False),
            web.get("/v1/containers", container.containers, allow_head=False),
            web.post("/v1/containers/{container}/stop", container.stop),
            web.get("/v1/containers/{container}/logs", app.container_logs, allow_head=False),
            web.get("/v1/containers/{container}/exec", container.execute, allow_head=False),
            web.get("/v1/session", session.session, allow_head=False),
            web.get("/v1/node", node.node, allow_head=False),
        ]
    )
    return made
