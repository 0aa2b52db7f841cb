"""The life of a child of the supervisor: start, say so, run until told to stop or left alone, stop."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ingle import exceptions as ex
from ingle.launch.supervisor import CONFIG_ERROR_CODE

#: How long a stop in good order may take; the supervisor kills somewhat later.
STOP_S = 22.0
#: One record of our log, in characters; a traceback may be this long.
RECORD_CHARACTERS_MAX = 16_000

log = logging.getLogger("ingle.launch")


class Service(Protocol):
    async def stop(self) -> None: ...


class BoundedFormatter(logging.Formatter):
    """`time level logger: message`, cut at RECORD_CHARACTERS_MAX."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > RECORD_CHARACTERS_MAX:
            text = f"{text[:RECORD_CHARACTERS_MAX]}… ({len(text)} characters)"
        return text


def start_logging() -> None:
    """Our log goes to stderr, which the supervisor keeps bounded. `INGLE_LOG` sets the level (default: info)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(BoundedFormatter())
    level = os.environ.get("INGLE_LOG", "info").upper()
    logging.basicConfig(
        handlers=[handler], level=level if level in ("DEBUG", "INFO", "WARNING", "ERROR") else "INFO", force=True
    )
    for noisy in ("aiohttp.access", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run(start: Callable[[], Awaitable[tuple[Service, dict[str, Any]]]]) -> int:
    """Run a service to its end; returns the exit code of the process.

    `start` returns the running service and what is said of it (`text` for people). An error of Ingle, or an OSError,
    from it is a matter of configuration: said in one sentence, without a traceback.
    """
    start_logging()
    supervised = os.environ.pop("INGLE_SUPERVISED", "") == "1"
    words = _take_words() if supervised else None
    return _run_loop(_live(start, words, supervised))


def _take_words() -> int:
    """Our end of the supervisor's pipe; what prints to stdout by mistake goes to the log from now on."""
    words = os.dup(1)  # not inheritable
    os.dup2(2, 1)
    return words


def _say(words: int | None, **message: Any) -> None:
    if words is None:
        return
    with contextlib.suppress(OSError):
        os.write(words, json.dumps(message).encode() + b"\n")


def _run_loop(main: Any) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) if sys.version_info >= (3, 11) else _OldRunner() as runner:
        return runner.run(main)


class _OldRunner:
    """asyncio.Runner of Python 3.11, as far as we need it, for Python 3.10."""

    def __enter__(self) -> "_OldRunner":
        import uvloop

        uvloop.install()
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, main: Any) -> int:
        return asyncio.run(main)


async def _live(
    start: Callable[[], Awaitable[tuple[Service, dict[str, Any]]]], words: int | None, supervised: bool
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if supervised:
        _watch_supervisor(loop, stop)
    starting = asyncio.ensure_future(start())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting}, timeout=STOP_S)
        return 0
    try:
        service, said = await starting
    except (ex.Error, OSError) as error:
        text = str(error) or type(error).__name__
        log.error("%s", text)
        _say(words, error=text)
        return CONFIG_ERROR_CODE
    _say(words, ready=said)
    log.info("ready: %s", said.get("text", ""))
    ended = asyncio.ensure_future(_ended(service))
    await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    log.info("stopping")
    try:
        await asyncio.wait_for(service.stop(), STOP_S)
    except (TimeoutError, asyncio.TimeoutError):
        log.error("did not stop within %.0f s", STOP_S)
        return 1
    if not ended.done():
        ended.cancel()
        return 0
    await ended  # its error, if it ended with one
    return 0 if stop.is_set() else 1


async def _ended(service: Service) -> None:
    """Returns when the service ends by itself (those that can have a `run`)."""
    run = getattr(service, "run", None)
    if run is not None:
        await run()
    else:
        await asyncio.Event().wait()


def _watch_supervisor(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Nothing ever comes through stdin; its end says that the supervisor is gone."""

    def on_stdin() -> None:
        if not os.read(0, 1):
            log.warning("the supervisor is gone: stopping")
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, on_stdin)
