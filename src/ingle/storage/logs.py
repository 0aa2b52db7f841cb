"""Log lines of apps: append-only segments, bounded per app.

A directory per app, in it segments `00000001.log`, …: one JSON object a line. When an app has more than its share, its oldest segment goes.
"""

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Of one app; the oldest lines go first.
APP_BYTES_MAX = 64 << 20
#: An app is at most this many segments.
SEGMENTS = 16
#: Segments held open for writing.
OPEN_MAX = 64
#: `tail` gives no more.
TAIL_MAX = 100_000
#: A longer line was written by nobody of ours.
LINE_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class _Segment:
    number: int
    file: int
    size: int


class Logs:
    def __init__(self, root: Path, app_bytes_max: int = APP_BYTES_MAX):
        self._root = root
        self._segment_bytes = max(app_bytes_max // SEGMENTS, 1)
        self._open: dict[str, _Segment] = {}  # the least recently used first

    def append(self, app_id: str, lines: Sequence[bytes]) -> None:
        """Keeps the lines (JSON objects without newlines). They survive this process, not a power cut.

        Raises:
            OSError: the disk is full; some of the lines may have been kept.
        """
        segment = self._segment(app_id)
        data = b"\n".join(lines) + b"\n"
        written = 0
        while written < len(data):
            written += os.write(segment.file, data[written:])
        segment.size += len(data)

    def end(self, app_id: str) -> tuple[int, int]:
        """Where the next line will stand: segment and offset."""
        segment = self._open.get(app_id)
        if segment is not None:
            return segment.number, segment.size
        numbers = _numbers(self._root / app_id)
        return (numbers[-1], _path(self._root / app_id, numbers[-1]).stat().st_size) if numbers else (0, 0)

    def read(
        self,
        app_id: str,
        match: Callable[[dict], bool] | None = None,
        tail: int | None = None,
        until: tuple[int, int] | None = None,
    ) -> Iterator[bytes]:
        """The lines in the order in which they came; only those that match; only the last `tail` of them; none behind `until`."""
        lines = self._lines(app_id, match, until)
        if tail is None:
            return lines
        return iter(deque(lines, maxlen=min(max(tail, 0), TAIL_MAX)))

    def forget(self, app_id: str) -> None:
        """Removes all lines of the app. Twice is fine."""
        segment = self._open.pop(app_id, None)
        if segment is not None:
            os.close(segment.file)
        shutil.rmtree(self._root / app_id, ignore_errors=True)

    def old(self, age_s: float) -> list[str]:
        """Apps that have had no line for so long."""
        before = time.time() - age_s
        if not self._root.is_dir():
            return []
        return [
            entry.name
            for entry in self._root.iterdir()
            if entry.is_dir() and max((s.stat().st_mtime for s in entry.iterdir()), default=0.0) < before
        ]

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1].file)

    def _segment(self, app_id: str) -> _Segment:
        segment = self._open.pop(app_id, None)
        if segment is not None and segment.size >= self._segment_bytes:
            os.close(segment.file)
            segment = None
        if segment is None:
            segment = self._next_segment(app_id)
        self._open[app_id] = segment
        if len(self._open) > OPEN_MAX:
            os.close(self._open.pop(next(iter(self._open))).file)
        return segment

    def _next_segment(self, app_id: str) -> _Segment:
        folder = self._root / app_id
        folder.mkdir(parents=True, exist_ok=True)
        numbers = _numbers(folder)
        number = numbers[-1] if numbers else 1
        if numbers and _path(folder, number).stat().st_size >= self._segment_bytes:
            number += 1
            for old in numbers[: max(len(numbers) - SEGMENTS + 1, 0)]:
                _path(folder, old).unlink(missing_ok=True)
        path = _path(folder, number)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(file).st_size
        if size and not _ends_with_newline(path, size):  # the last write was cut off
            size += os.write(file, b"\n")
        return _Segment(number, file, size)

    def _lines(
        self, app_id: str, match: Callable[[dict], bool] | None, until: tuple[int, int] | None
    ) -> Iterator[bytes]:
        folder = self._root / app_id
        for number in _numbers(folder):
            with suppress(FileNotFoundError), open(_path(folder, number), "rb") as file:  # the oldest may go meanwhile
                while line := file.readline(LINE_BYTES_MAX):
                    if until is not None and (number, file.tell()) > until:
                        return
                    line = line.rstrip(b"\n")
                    fields = _parse(line)
                    if fields is not None and (match is None or match(fields)):
                        yield line


def _parse(line: bytes) -> dict | None:
    """None for what a cut-off write has left."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(p.stem) for p in folder.glob("*.log") if p.stem.isdigit())


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.log"


def _ends_with_newline(path: Path, size: int) -> bool:
    with open(path, "rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"
