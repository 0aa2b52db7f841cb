"""The server's process."""

import errno
from pathlib import Path
from typing import Any

from ingle import exceptions as ex
from ingle.launch import service
from ingle.launch.state import State


def port_holder(port: int) -> str:
    """Who listens on a TCP port of this machine, for a message; "another program" where that cannot be seen."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return "another program"


def run_server(state: Path, host: str, port: int) -> int:
    """Serve until SIGTERM; returns the exit code."""

    async def start() -> tuple[service.Service, dict[str, Any]]:
        from importlib.metadata import version

        from ingle.server.main import Server, ServerConfig

        place = State(state)
        place.prepare()
        server = Server(
            ServerConfig(state=state, host=host, port=port, token=place.token(), node_token=place.node_token())
        )
        try:
            await server.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ex.SetupError(
                    f"port {port} on {host} is taken by {port_holder(port)}; stop it, or choose another port: "
                    f"ingle up --port {port + 1} (or INGLE_PORT={port + 1})"
                ) from None
            raise
        return server, {"url": server.url, "version": version("ingle"), "text": server.url}

    return service.run(start)
