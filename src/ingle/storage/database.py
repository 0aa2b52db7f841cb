"""The database: one writer with group commit, one reader, and errors that say what to do.

Whoever writes hands over a function and waits for its future. One thread takes all that have gathered, runs them in one
transaction and commits once: many writers share one fsync. If one of them fails, the transaction is rolled back
and each is run again by itself, so that nobody fails for another's fault.
"""

import asyncio
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from ingle.exceptions import ServerError, SetupError
from ingle.storage.tables import METADATA, REVISION

T = TypeVar("T")

#: Writers that share one transaction.
BATCH_MAX = 500
#: Writers that may wait; further ones are refused.
WAITING_MAX = 20_000
#: Larger files are not read through at start.
CHECK_BYTES_MAX = 64 << 20
MIGRATION_S_MAX = 300
#: SQLite's own wait for a lock, which only a stranger could hold.
LOCK_MS_MAX = 5000

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit that was answered survives a power cut
    f"PRAGMA busy_timeout = {LOCK_MS_MAX}",
    "PRAGMA cache_size = -4096",
    "PRAGMA temp_store = MEMORY",
)


class Database:
    """SQLite in a file, or in memory if `path` is None (for tests: nothing is kept)."""

    def __init__(self, path: Path | None):
        self.path = path
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._closed = False
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Checks the file, brings its schema to the newest, starts the writer.

        Raises:
            SetupError: the file is damaged, of a newer Ingle, or cannot be written. Nothing in it was changed.
        """
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._prepare)
        self._engine = _engine(self.path)
        if self.path is None:
            METADATA.create_all(self._engine)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="ingle-reader")
        self._reader = self._engine.connect()
        self._now_reader = self._engine.connect()
        self._writer_connection = self._engine.connect()
        self._memory_lock = threading.Lock()
        self._thread = threading.Thread(target=self._write_for_ever, name="ingle-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Ends after everything handed over has been written."""
        if self._engine is None or self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reading.shutdown()
        for connection in (self._reader, self._now_reader, self._writer_connection):
            connection.close()
        self._engine.dispose()

    def write(self, operation: Callable[[Connection], T]) -> "asyncio.Future[T]":
        """Runs the operation in a transaction; the future is done when that is on disk.

        The future fails with ServerError if the disk is full or the database broken; then nothing was written.
        """
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(ServerError("the server is stopping: nothing was written"))
        elif self._queue.qsize() >= WAITING_MAX:
            future.set_exception(ServerError(f"{WAITING_MAX} writes wait for the server's disk: try again later"))
        else:
            self._queue.put((operation, future))
        return future

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Runs the operation in the reader's thread."""
        assert self._loop is not None
        return await self._loop.run_in_executor(self._reading, self._read, self._reader, operation)

    def read_now(self, operation: Callable[[Connection], T]) -> T:
        """Runs the operation in the caller's thread, for the few reads (of one row by its key) that may not wait."""
        return self._read(self._now_reader, operation)

    def _read(self, connection: Connection, operation: Callable[[Connection], T]) -> T:
        if self.path is None:  # in memory all share one connection
            with self._memory_lock:
                return operation(connection)
        try:
            with connection.begin():
                return operation(connection)
        except DBAPIError as error:
            raise self._translate(error) from error

    def _write_for_ever(self) -> None:
        assert self._loop is not None
        stop = False
        while not stop:
            batch = [self._queue.get()]
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            stop = None in batch
            batch = [item for item in batch if item is not None]
            if batch:
                results = self._commit(batch)
                try:
                    self._loop.call_soon_threadsafe(_resolve, results)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _commit(self, batch: list) -> list[tuple[asyncio.Future, Any, Exception | None]]:
        with self._memory_lock:
            try:
                with self._writer_connection.begin():
                    values = [operation(self._writer_connection) for operation, _ in batch]
                return [(future, value, None) for (_, future), value in zip(batch, values, strict=True)]
            except Exception as error:
                if len(batch) == 1:
                    return [(batch[0][1], None, self._translate(error))]
        return [result for item in batch for result in self._commit([item])]

    def _translate(self, error: Exception) -> Exception:
        said = str(getattr(error, "orig", None) or error)
        if "disk is full" in said or "disk I/O error" in said:
            return ServerError(f"the server's disk is full: nothing was written; free some space under {self._place()}")
        if "malformed" in said or "not a database" in said:
            return ServerError(_damaged(self._place(), said))
        if isinstance(error, DBAPIError):
            return ServerError(f"the server's database refused: {said}")
        return error

    def _place(self) -> str:
        return str(self.path.parent if self.path else "memory")

    def _prepare(self) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            found = _revision(self.path)
        except sqlite3.DatabaseError as error:
            said = str(error)
            if "malformed" in said or "not a database" in said:
                raise SetupError(_damaged(str(self.path), said)) from None
            if "disk is full" in said or "disk I/O error" in said:
                raise SetupError(
                    f"the database {self.path} cannot be opened ({said}): is the disk full? free some space there"
                ) from None
            raise SetupError(f"the database {self.path} cannot be opened: {said}") from None
        except OSError as error:
            raise SetupError(f"the database {self.path} cannot be made: {error.strerror}") from None
        if found == REVISION:
            return
        if found is not None and found > REVISION:
            raise SetupError(
                f"the database {self.path} was written by a newer Ingle (schema {found}, this one knows {REVISION}): "
                "install that version, or use another state directory (INGLE_STATE_DIR)"
            )
        command = [sys.executable, "-m", "ingle.storage.migrate", f"sqlite:///{self.path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MIGRATION_S_MAX)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise SetupError(f"the schema of {self.path} could not be brought up to date: {last}")


def _engine(path: Path | None) -> Engine:
    if path is None:
        return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def connected(connection, _record):
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    return engine


def _revision(path: Path) -> str | None:
    """The schema's revision, None for a new file; reads the file through if it is not too large."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    connection = sqlite3.connect(path)
    try:
        connection.execute(f"PRAGMA busy_timeout = {LOCK_MS_MAX}")
        if path.stat().st_size <= CHECK_BYTES_MAX:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise sqlite3.DatabaseError(f"malformed: {said}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None
    finally:
        connection.close()


def _damaged(place: str, said: str) -> str:
    said = " ".join(said.split())
    return (
        f"the database {place} is damaged ({said}); nothing was changed. "
        "Put a good copy in its place, or move it away (with its -wal and -shm) to start with an empty one"
    )


def _resolve(results: list) -> None:
    for future, value, error in results:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
