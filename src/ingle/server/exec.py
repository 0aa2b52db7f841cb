"""Commands that people run in containers: bytes between their connection and the node."""

from collections.abc import Callable
from dataclasses import dataclass

from ingle.exceptions import ConnectionError
from ingle.model import ids
from ingle.server.container import Containers
from ingle.server.node import Nodes
from ingle.wire.node import ExecInput, ExecOutput, StartExec

#: (stream, bytes, exit code): stream 3 with a code is the end.
Output = Callable[[int, bytes, int | None], None]
#: What a container is reported to end with that took its command with it.
LOST_CODE = 137


@dataclass(frozen=True, slots=True)
class _Running:
    container: str
    output: Output


class Execs:
    def __init__(self, containers: Containers, nodes: Nodes):
        self._containers = containers
        self._nodes = nodes
        self._running: dict[str, _Running] = {}
        nodes.execs = self

    def start(self, container: str, argv: list[str], tty: bool, rows: int, cols: int, output: Output) -> str:
        """The command's id.

        Raises:
            NotFoundError: no such container runs.
            ConnectionError: its node is away.
        """
        record = self._containers.get(container)
        exec_id = ids.new_id(ids.EXEC)
        if not self._nodes.send(record.node_id, StartExec(exec_id, container, argv, tty, rows, cols)):
            raise ConnectionError(f"the node of {container} is not connected just now: try again in a moment")
        self._running[exec_id] = _Running(container, output)
        return exec_id

    def input(self, exec_id: str, message: ExecInput, payload: bytes = b"") -> None:
        running = self._running.get(exec_id)
        record = self._containers.running.get(running.container) if running else None
        if record is not None:
            self._nodes.send(record.node_id, message, payload)

    def output(self, message: ExecOutput, payload: memoryview) -> None:
        running = self._running.get(message.exec)
        if running is None:
            return
        if payload:
            running.output(message.stream, bytes(payload), None)
        if message.code is not None:
            del self._running[message.exec]
            running.output(3, b"", message.code)

    def over_in(self, container: str) -> None:
        """The container is gone."""
        for exec_id, running in list(self._running.items()):
            if running.container == container:
                del self._running[exec_id]
                running.output(3, b"", LOST_CODE)

    def gone(self, exec_id: str) -> None:
        """The person is: kill what they ran."""
        self.input(exec_id, ExecInput(exec_id, eof=True, gone=True))
        self._running.pop(exec_id, None)
