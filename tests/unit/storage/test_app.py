"""Rows of apps and functions, on every kind of database."""

import pytest

from ingle.model.app import RUNNING, STOPPED, App
from ingle.model.function import FunctionSpec, Scaling
from ingle.model.image import ImageSpec
from ingle.model.resources import Limits, Resources
from ingle.model.retries import Retries
from ingle.storage.app import AppRows, pack_function, unpack_function
from ingle.storage.database import Database

SPEC = FunctionSpec(
    "fu-1",
    "ap-1",
    "f",
    "module",
    "Class.f",
    ImageSpec("3.12"),
    is_generator=True,
    definition="bl-0123456789abcdef",
    resources=Resources(250, 512),
    limits=Limits(None, 1024, 10),
    env={"A": "b"},
    retries=Retries(3, 0.5, 2.0, 9.0),
    scaling=Scaling(1, 5, 2, 30.0),
)


@pytest.fixture(params=["file", "memory"])
async def rows(request, tmp_path):
    database = Database(tmp_path / "ingle.db" if request.param == "file" else None)
    await database.open()
    yield AppRows(database)
    await database.close()


def app(number, state=RUNNING):
    return App(f"ap-{number}", f"app {number}", state, False, float(number))


def test_a_function_survives_its_row():
    assert unpack_function(pack_function(SPEC)) == SPEC


async def test_running_apps_come_with_their_functions(rows):
    await rows.add(app(1), [SPEC], "request-1")
    await rows.add(app(2), [], "request-2")
    assert await rows.running() == [(app(1), [SPEC]), (app(2), [])]
    await rows.stop("ap-2", 9.0, "why")
    await rows.stop("ap-2", 10.0, "again")
    assert await rows.running() == [(app(1), [SPEC])]
    assert await rows.newest() == [App("ap-2", "app 2", STOPPED, False, 2.0, 9.0, "why"), app(1)]


async def test_a_request_makes_one_app(rows):
    assert await rows.add(app(1), [SPEC], "request-1") == "ap-1"
    assert await rows.add(app(2), [], "request-1") == "ap-1"
    assert await rows.of_request("request-1") == ("ap-1", {"f": "fu-1"})
    assert await rows.of_request("request-2") is None
