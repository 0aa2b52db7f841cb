"""The database: group commit, its errors, its schema."""

import asyncio
import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy import insert, select, text

from ingle.exceptions import ServerError, SetupError
from ingle.storage.database import Database
from ingle.storage.migrate import configuration, migrate
from ingle.storage.tables import CALLS, METADATA, REVISION


@pytest.fixture(params=["file", "memory"])
async def database(request, tmp_path):
    made = Database(tmp_path / "ingle.db" if request.param == "file" else None)
    await made.open()
    yield made
    await made.close()


def adding(name):
    return lambda connection: connection.execute(
        insert(CALLS), [{"id": name, "function_id": "fu-1", "created_s": 1.0, "total": 0}]
    )


def names(connection):
    return sorted(connection.execute(select(CALLS.c.id)).scalars())


async def test_what_was_written_can_be_read(database):
    await database.write(adding("fc-1"))
    assert await database.read(names) == ["fc-1"]
    assert database.read_now(names) == ["fc-1"]


async def test_one_that_fails_does_not_take_others_along(database):
    writes = [database.write(adding(name)) for name in ("fc-1", "fc-2", "fc-1", "fc-3")]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(r, ServerError) for r in results] == [False, False, True, False]
    assert await database.read(names) == ["fc-1", "fc-2", "fc-3"]


async def test_many_writers_share_a_commit(tmp_path):
    database = Database(tmp_path / "ingle.db")
    await database.open()
    commits = []
    run = database._commit
    database._commit = lambda batch: commits.append(len(batch)) or run(batch)
    await asyncio.gather(*(database.write(adding(f"fc-{n}")) for n in range(300)))
    assert sum(commits) == 300 and len(commits) < 30
    await database.close()


async def test_close_writes_what_was_handed_over(tmp_path):
    database = Database(tmp_path / "ingle.db")
    await database.open()
    write = database.write(adding("fc-1"))
    await database.close()
    await write
    with pytest.raises(ServerError, match="stopping"):
        await database.write(adding("fc-2"))
    again = Database(tmp_path / "ingle.db")
    await again.open()
    assert await again.read(names) == ["fc-1"]
    await again.close()


async def test_commits_are_safe_against_a_power_cut(tmp_path):
    database = Database(tmp_path / "ingle.db")
    await database.open()

    def pragma(name):
        return database.write(lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar())

    assert await pragma("journal_mode") == "wal"
    assert await pragma("synchronous") == 2  # FULL
    await database.close()


@pytest.mark.parametrize("how", ["header", "middle", "nonsense"])
async def test_a_damaged_file_is_named_and_left_alone(tmp_path, how):
    path = tmp_path / "ingle.db"
    database = Database(path)
    await database.open()
    await asyncio.gather(*(database.write(adding(f"fc-{n:0200}")) for n in range(300)))
    await database.close()
    data = bytearray(path.read_bytes())
    if how == "header":
        data[:16] = b"not a database!!"
    elif how == "middle":
        data[len(data) // 2 : len(data) // 2 + 20_000] = b"\xff" * 20_000
    else:
        data = bytearray(b"hello\n" * 1000)
    path.write_bytes(data)
    with pytest.raises(SetupError) as caught:
        await Database(path).open()
    assert str(path) in str(caught.value) and "damaged" in str(caught.value) and "move it away" in str(caught.value)
    assert path.read_bytes() == data


async def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "ingle.db"
    database = Database(path)
    await database.open()
    await database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await database.close()
    with pytest.raises(SetupError, match="newer Ingle"):
        await Database(path).open()


async def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="file"):
        await Database(tmp_path / "file" / "ingle.db").open()


async def test_a_full_disk_refuses_and_recovers(tmp_path):
    database = Database(tmp_path / "ingle.db")
    await database.open()
    await database.write(adding("fc-1"))

    def shrink(connection):
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await database.write(shrink)
    with pytest.raises(ServerError, match="disk is full"):
        await database.write(adding("fc-" + "x" * 100_000))
    await database.write(lambda connection: connection.execute(text("PRAGMA max_page_count = 100000")))
    await database.write(adding("fc-2"))
    assert await database.read(names) == ["fc-1", "fc-2"]
    await database.close()


def test_the_migrations_make_the_tables(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine

    assert ScriptDirectory.from_config(configuration()).get_current_head() == REVISION
    url = f"sqlite:///{tmp_path / 'ingle.db'}"
    migrate(url)
    migrate(url)
    with create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_the_server_does_not_load_alembic(tmp_path):
    code = "import sys, ingle.server.main; print('alembic' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


async def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    """A process writes and says each row that is acknowledged, until it is killed: all that it said are there."""
    path = tmp_path / "ingle.db"
    code = f"""
import asyncio, sys
from pathlib import Path
from sqlalchemy import insert
from ingle.storage.database import Database
from ingle.storage.tables import CALLS
async def main():
    database = Database(Path({str(path)!r}))
    await database.open()
    for n in range(10**6):
        row = {{"id": f"fc-{{n}}", "function_id": "fu", "created_s": 1.0, "total": 0}}
        await database.write(lambda connection: connection.execute(insert(CALLS), [row]) and None)
        print(n, flush=True)
asyncio.run(main())
"""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    said = [await child.stdout.readline() for _ in range(50)]
    child.kill()
    said += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    database = Database(path)
    await database.open()
    there = set(await database.read(names))
    await database.close()
    assert {f"fc-{int(n)}" for n in said if n.endswith(b"\n")} <= there
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
