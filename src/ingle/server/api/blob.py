"""/v1/blobs and /v1/sources: bytes of any size around the path of calls."""

from aiohttp import web

from ingle.exceptions import NotFoundError
from ingle.server.api.body import answer, chunks, read_json
from ingle.server.api.parts import PARTS
from ingle.wire.api import PutSource


async def put_blob(request: web.Request) -> web.Response:
    blobs = request.app[PARTS].blobs
    blob = blobs.check_id(request.match_info["blob"])
    if await blobs.exists(blob):
        async for _ in chunks(request):
            pass
    else:
        sha256 = blob[3:] if len(blob) == 67 and blob.startswith("bl-") else None
        await blobs.put(blob, chunks(request), sha256)
    return answer({})


async def get_blob(request: web.Request) -> web.StreamResponse:
    blobs = request.app[PARTS].blobs
    blob = blobs.check_id(request.match_info["blob"])
    path = blobs.path(blob)
    if path is not None:
        if not path.is_file():
            raise NotFoundError(f"there is no blob {blob}")
        return web.FileResponse(path, chunk_size=1 << 20, headers={"Content-Type": "application/octet-stream"})
    if not await blobs.exists(blob):
        raise NotFoundError(f"there is no blob {blob}")
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    async for chunk in blobs.get(blob):
        await response.write(chunk)
    await response.write_eof()
    return response


async def put_source(request: web.Request) -> web.Response:
    return answer(await request.app[PARTS].sources.put(await read_json(request, PutSource)))


async def put_files(request: web.Request) -> web.Response:
    await request.app[PARTS].sources.put_files(request.match_info["source"], request.content)
    return answer({})
