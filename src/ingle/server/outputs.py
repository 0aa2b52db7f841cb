"""Outputs on their way to a client: as few frames as their size allows."""

from ingle.server.session import Session
from ingle.wire.api import Outputs

#: A frame takes no more outputs when it has so many bytes.
FRAME_BYTES = 8 << 20


def send_outputs(session: Session) -> None:
    """Sends all outputs that have gathered. Who has no link asks again when it is back."""
    gathered, session.outputs = session.outputs, []
    if session.link is None:
        return
    if len(gathered) == 1:
        (only,) = gathered
        blobs = [0] if only.output_blob else []
        session.send(Outputs([only.id], [only.outcome], [len(only.output)], blobs), only.output)
        return
    start = 0
    while start < len(gathered):
        size, end = 0, start
        while end < len(gathered) and (size == 0 or size + len(gathered[end].output) <= FRAME_BYTES):
            size += len(gathered[end].output)
            end += 1
        part = gathered[start:end] if end - start < len(gathered) else gathered
        pieces = [i.output for i in part]
        message = Outputs(
            [i.id for i in part],
            [i.outcome for i in part],
            [len(p) for p in pieces],
            [n for n, i in enumerate(part) if i.output_blob],
        )
        session.send(message, pieces)
        start = end
