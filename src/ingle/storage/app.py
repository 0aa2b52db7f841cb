"""Rows of apps and their functions."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row

from ingle.model.app import RUNNING, STOPPED, App
from ingle.model.function import FunctionSpec, Scaling
from ingle.model.image import ImageSpec
from ingle.model.resources import Limits, Resources
from ingle.model.retries import Retries
from ingle.storage.database import Database
from ingle.storage.tables import APPS, FUNCTIONS

#: Apps that a list shows at most, the newest first.
LIST_MAX = 1000


class AppRows:
    """Every method that writes returns a future that is done when its rows are on disk."""

    def __init__(self, database: Database):
        self._database = database

    def add(self, app: App, functions: Sequence[FunctionSpec], request: str) -> "asyncio.Future[str]":
        """Writes the app and its functions. Gives its id, or that of the app which the same request made before."""

        def operation(connection: Connection) -> str:
            found = connection.execute(select(APPS.c.id).where(APPS.c.request == request)).scalar()
            if found is not None:
                return found
            connection.execute(insert(APPS), [asdict(app) | {"request": request}])
            rows = [{"id": f.id, "app_id": f.app_id, "name": f.name, "spec": pack_function(f)} for f in functions]
            if rows:
                connection.execute(insert(FUNCTIONS), rows)
            return app.id

        return self._database.write(operation)

    def stop(self, app_id: str, at_s: float, reason: str) -> "asyncio.Future[None]":
        """Marks it stopped; the first reason stays."""

        def operation(connection: Connection) -> None:
            connection.execute(
                update(APPS)
                .where(APPS.c.id == app_id, APPS.c.state == RUNNING)
                .values(state=STOPPED, stopped_s=at_s, stop_reason=reason)
            )

        return self._database.write(operation)

    async def running(self) -> list[tuple[App, list[FunctionSpec]]]:
        """All running apps with their functions, oldest first."""

        def operation(connection: Connection) -> list[tuple[App, list[FunctionSpec]]]:
            rows = connection.execute(select(APPS).where(APPS.c.state == RUNNING).order_by(APPS.c.created_s))
            apps: dict[str, tuple[App, list[FunctionSpec]]] = {row.id: (_app(row), []) for row in rows}
            joined = FUNCTIONS.join(APPS, APPS.c.id == FUNCTIONS.c.app_id)
            specs = select(FUNCTIONS.c.app_id, FUNCTIONS.c.spec).select_from(joined).where(APPS.c.state == RUNNING)
            for row in connection.execute(specs):
                if row.app_id in apps:
                    apps[row.app_id][1].append(unpack_function(row.spec))
            return list(apps.values())

        return await self._database.read(operation)

    async def newest(self) -> list[App]:
        """The newest LIST_MAX apps, stopped ones too."""

        def operation(connection: Connection) -> list[App]:
            rows = connection.execute(select(APPS).order_by(APPS.c.created_s.desc()).limit(LIST_MAX))
            return [_app(row) for row in rows]

        return await self._database.read(operation)

    async def of_request(self, request: str) -> tuple[str, dict[str, str]] | None:
        """The app that this request made, with its functions' names and ids."""

        def operation(connection: Connection) -> tuple[str, dict[str, str]] | None:
            found = connection.execute(select(APPS.c.id).where(APPS.c.request == request)).scalar()
            if found is None:
                return None
            rows = connection.execute(select(FUNCTIONS.c.name, FUNCTIONS.c.id).where(FUNCTIONS.c.app_id == found))
            return found, {row.name: row.id for row in rows}

        return await self._database.read(operation)


def pack_function(spec: FunctionSpec) -> str:
    return json.dumps(asdict(spec), separators=(",", ":"))


def unpack_function(value: str) -> FunctionSpec:
    plain = json.loads(value)
    nested = {"image": ImageSpec, "resources": Resources, "limits": Limits, "retries": Retries, "scaling": Scaling}
    return FunctionSpec(**plain | {name: cls(**plain[name]) for name, cls in nested.items()})


def _app(row: Row) -> App:
    return App(row.id, row.name, row.state, row.detached, row.created_s, row.stopped_s, row.stop_reason)
