"""The catalog keeps every promise of a store, on both databases."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from holdfast.catalog import open_catalog
from holdfast.core.clock import Environment
from holdfast.engine.inline import InlineBackend
from holdfast.testing.run import conformance
from tests.servers_postgres import fresh_database

pytestmark = pytest.mark.engine


class Alone(InlineBackend):
    """The catalog as a store, closed with its catalog; large enough for the largest blob that a promise is about."""

    async def close(self) -> None:
        await self._catalog.close()


@cache
def database() -> str:
    return fresh_database()


async def on_sqlite(environment: Environment, folder: Path) -> Alone:
    return await alone(f"sqlite:///{folder.parent / 'contents.db'}", environment)


async def on_postgres(environment: Environment, folder: Path) -> Alone:
    return await alone(database(), environment)


READY: set[str] = set()  #: one catalog for all promises, each of which has names of its own


async def alone(url: str, environment: Environment) -> Alone:
    catalog = await open_catalog(url, environment=environment, upgrade=url not in READY, connections=4)
    READY.add(url)
    return Alone(catalog, max_blob_size=32 << 20)


test_promise_on_sqlite = conformance(on_sqlite)
test_promise_on_postgresql = conformance(on_postgres)
