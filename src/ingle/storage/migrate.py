"""Brings a database to the newest schema: `python -m ingle.storage.migrate URL`.

A program of its own, as Alembic and what it imports would otherwise stay in the server's memory for ever.
"""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def migrate(url: str) -> None:
    """Runs every migration that the database lacks.

    Raises:
        alembic.util.CommandError: the database is of a newer version than this program.
    """
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            config = configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


if __name__ == "__main__":
    migrate(sys.argv[1])
