"""/v1/apps: make, list, stop, read logs."""

from aiohttp import web

from ingle.exceptions import NotFoundError
from ingle.server.api.body import answer, flag, number, read_json
from ingle.server.api.parts import PARTS
from ingle.storage.logs import TAIL_MAX
from ingle.wire.api import CreateApp


async def apps(request: web.Request) -> web.Response:
    return answer(await request.app[PARTS].apps.values(flag(request, "all")))


async def create(request: web.Request) -> web.Response:
    return answer(await request.app[PARTS].apps.create(await read_json(request, CreateApp)))


async def stop(request: web.Request) -> web.Response:
    apps = request.app[PARTS].apps
    await apps.stop(apps.find(request.match_info["app"]).app.id, "it was asked to stop")
    return answer({})


async def logs(request: web.Request) -> web.StreamResponse:
    app = await request.app[PARTS].apps.resolve(request.match_info["app"])
    return await stream_logs(request, app, request.query.get("container", ""))


async def container_logs(request: web.Request) -> web.StreamResponse:
    container = request.match_info["container"]
    app = request.app[PARTS].containers.app_of(container)
    if app is None:
        raise NotFoundError(f"there is no container {container[:40]}: `ingle container list --all` shows the last ones")
    return await stream_logs(request, app, container)


async def stream_logs(request: web.Request, app: str, container: str) -> web.StreamResponse:
    parts = request.app[PARTS]
    tail = number(request, "tail", most=TAIL_MAX)

    def ended() -> bool:
        return parts.apps.app(app) is None or bool(container and container not in parts.containers.running)

    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    call = request.query.get("call", "")
    try:
        async for line in parts.logs.read(app, container, call, tail, flag(request, "follow"), ended):
            await response.write(line + b"\n")
        await response.write_eof()
    except ConnectionResetError:
        pass  # the reader has left: `ingle app logs --follow` ends with Ctrl-C
    return response
