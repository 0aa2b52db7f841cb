"""/v1/containers: list, stop, run a command in one."""

import json

from aiohttp import WSMsgType, web

from ingle.exceptions import Error
from ingle.scheduler.events import ContainerStopAsked
from ingle.server.api.body import answer, flag, number, strings
from ingle.server.api.parts import PARTS
from ingle.server.api.websocket import WebSocketLink
from ingle.wire.errors import failure_of
from ingle.wire.node import ExecInput

#: Output that a person has not read: above it their command is killed, as the node cannot be told to wait.
BACKLOG_BYTES_MAX = 64 << 20
REFUSED_CODE = 126


async def containers(request: web.Request) -> web.Response:
    return answer(request.app[PARTS].containers.values(flag(request, "all")))


async def stop(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    container = parts.containers.get(request.match_info["container"])
    parts.events.post(ContainerStopAsked(container.id))
    return answer({})


async def execute(request: web.Request) -> web.StreamResponse:
    """Binary messages go to stdin, an empty one closes it, `{"rows": n, "cols": n}` as text resizes. Back come binary messages with
    the stream in their first byte: 1 stdout, 2 stderr, 3 the end as JSON, with `code` and perhaps `error`."""
    parts = request.app[PARTS]
    container = parts.containers.get(request.match_info["container"]).id
    argv = strings(request, "argv")
    rows, cols = number(request, "rows", 24, 10_000), number(request, "cols", 80, 10_000)
    link = WebSocketLink(request, parts.tasks)
    socket = await link.open()

    def output(stream: int, data: bytes, code: int | None) -> None:
        if code is not None:
            link.send(b"\x03" + json.dumps({"code": code}).encode())
            link.close("")
        elif link.backlog() > BACKLOG_BYTES_MAX:
            parts.execs.gone(name)
            link.close("the connection is too slow for this output")
        else:
            link.send(bytes([stream]) + data)

    try:
        name = parts.execs.start(container, argv, flag(request, "tty"), rows or 24, cols or 80, output)
    except Error as error:
        link.send(b"\x03" + json.dumps({"code": REFUSED_CODE, "error": failure_of(error).message}).encode())
        await link.closed(str(error))
        return socket
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                parts.execs.input(name, ExecInput(name, eof=not message.data), message.data)
            elif message.type is WSMsgType.TEXT:
                parts.execs.input(name, _resize(name, message.data))
    finally:
        parts.execs.gone(name)
    return socket


def _resize(name: str, text: str) -> ExecInput:
    try:
        size = json.loads(text)
        return ExecInput(name, rows=min(int(size["rows"]), 10_000), cols=min(int(size["cols"]), 10_000))
    except (ValueError, KeyError, TypeError):
        return ExecInput(name)
