"""The only place where the scheduler is told things and where its commands are carried out.

`post` takes events, tells the scheduler the time and then each of them, and carries out every command before it returns: no await anywhere, so
nobody sees a half-done batch. What carrying out brings about (a container that cannot be reached, say) is posted again and handled next.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ingle.model import container as states
from ingle.scheduler import commands, events
from ingle.server.app import Apps
from ingle.server.call import Calls
from ingle.server.container import Containers, Running
from ingle.server.events import Events
from ingle.server.function import Functions
from ingle.server.node import Nodes
from ingle.server.session import Sessions
from ingle.wire import node as wire
from ingle.wire.api import Notice

log = logging.getLogger(__name__)

#: A frame of inputs takes no more when it has so many bytes.
FRAME_BYTES = 8 << 20


class Loop:
    def __init__(
        self,
        scheduler: Any,
        posted: Events,
        functions: Functions,
        containers: Containers,
        calls: Calls,
        apps: Apps,
        nodes: Nodes,
        sessions: Sessions,
    ):
        self._scheduler = scheduler
        self._functions = functions
        self._containers = containers
        self._calls = calls
        self._apps = apps
        self._nodes = nodes
        self._sessions = sessions
        self._waiting: deque[events.Event] = deque()
        self._busy = False
        self._sends: dict[str, tuple[str, list[str]]] = {}  # by container: its node and the inputs of the next frame
        self._carry: dict[type, Callable[[Any], None]] = {
            commands.SendInputs: self._send_inputs,
            commands.EndInputs: self._end_inputs,
            commands.RetryInput: self._retry_input,
            commands.StartContainer: self._start_container,
            commands.StopContainer: self._stop_container,
            commands.RecallInputs: self._recall_inputs,
            commands.CancelInput: self._cancel_input,
            commands.Explain: self._explain,
        }
        posted.listen(self.post)

    def post(self, *happened: events.Event) -> None:
        self._waiting.extend(happened)
        if self._busy:
            return
        self._busy = True
        try:
            handle = self._scheduler.handle
            self._do(handle(events.Tick(time.monotonic())))
            while self._waiting:
                while self._waiting:
                    self._do(handle(self._waiting.popleft()))
                self._flush_sends()
            self._flush_sends()
            self._calls.flush()
        finally:
            self._busy = False

    def _do(self, todo: list) -> None:
        for command in todo:
            try:
                self._carry[type(command)](command)
            except Exception:  # the others still have to be carried out
                log.exception("a command could not be carried out: %.300r", command)

    # ---- inputs

    def _send_inputs(self, command: commands.SendInputs) -> None:
        send = self._sends.get(command.container)
        if send is None:
            self._sends[command.container] = (command.node, list(command.inputs))
        else:
            send[1].extend(command.inputs)

    def _flush_sends(self) -> None:
        if self._sends:
            sends, self._sends = self._sends, {}
            for container, (node, inputs) in sends.items():
                try:
                    self._send(container, node, inputs)
                except Exception:
                    log.exception("%d inputs could not be sent to %s", len(inputs), container)

    def _send(self, container: str, node: str, input_ids: list[str]) -> None:
        found, missing = self._calls.take(container, input_ids)
        record = self._containers.running.get(container)
        if record is not None:
            for one in found:
                record.inputs[one.id] = None
        payloads = [one.payload or b"" for one in found]
        start = 0
        while start < len(found):
            size, end = 0, start
            while end < len(found) and (size == 0 or size + len(payloads[end]) <= FRAME_BYTES):
                size += len(payloads[end])
                end += 1
            part, pieces = found[start:end], payloads[start:end]
            blobs = [n for n, one in enumerate(part) if one.blob]
            self._nodes.send(
                node, wire.SendInputs(container, [one.id for one in part], [len(p) for p in pieces], blobs), pieces
            )
            start = end
        if missing:  # ended meanwhile, or unreadable: the scheduler shall not wait for them
            self._waiting.append(events.InputsCancelled(missing))
            self._waiting.append(events.InputsRecalled(container, missing))

    def _flush_one(self, container: str) -> None:
        """What was to be sent before another command to the same container."""
        send = self._sends.pop(container, None)
        if send is not None:
            self._send(container, *send)

    def _recall_inputs(self, command: commands.RecallInputs) -> None:
        self._flush_one(command.container)
        self._nodes.send(command.node, wire.RecallInputs(command.container))

    def _cancel_input(self, command: commands.CancelInput) -> None:
        self._flush_one(command.container)
        self._nodes.send(command.node, wire.CancelInput(command.container, command.input))

    def _end_inputs(self, command: commands.EndInputs) -> None:
        self._calls.end(command.inputs, command.verdict, command.reason)

    def _retry_input(self, command: commands.RetryInput) -> None:
        if self._calls.retry(command.input):
            self._nodes.forget_answer(command.input)

    # ---- containers

    def _start_container(self, command: commands.StartContainer) -> None:
        function = self._functions.find(command.function)
        if function is None:
            log.warning("container %s is to start for a function that is gone", command.container)
            return
        app = function.app
        name = function.spec.name
        self._containers.add(
            Running(
                command.container,
                app.id,
                command.function,
                command.node,
                states.STARTING,
                time.time(),
                function_name=name,
            )
        )
        message = wire.StartContainer(
            command.container, function.spec, self._apps.names(app.id), command.queued_s * 1000, app.name
        )
        self._nodes.send(command.node, message)
        if self._sessions.watched(app.id):
            text = f"starting a container for {name}"
            self._sessions.tell(app.id, Notice(app.id, "container", command.function, text))

    def _stop_container(self, command: commands.StopContainer) -> None:
        self._flush_one(command.container)
        record = self._containers.running.get(command.container)
        if record is not None:
            record.stopping = True
        self._nodes.send(command.node, wire.StopContainer(command.container, command.reason))

    def _explain(self, command: commands.Explain) -> None:
        function = self._functions.find(command.function)
        if function is not None:
            app = function.app.id
            text = f"{function.spec.name}: {command.text}" if command.text else ""
            self._sessions.tell(app, Notice(app, "waiting", command.function, text, not command.text))
