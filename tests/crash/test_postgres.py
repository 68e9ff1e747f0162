"""The same faults with the catalog on PostgreSQL: around every call to it, for the flows whose commits differ most."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from tests.crash.driver import drive
from tests.crash.flows import FLOWS, Flow
from tests.servers_postgres import PostgresServer, available_server

pytestmark = pytest.mark.crash

CHOSEN = (
    "put_idempotent",
    "overwrite",
    "delete",
    "delete_version",
    "copy_over",
    "part_replace",
    "complete",
    "abort",
    "sweep",
)


class PostgresDatabases:
    """Databases on a real server; all of them are dropped by `close`."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._names: list[str] = []

    def fresh(self) -> str:
        self._names.append(self._server.create_database())
        return self._server.url(self._names[-1])

    def copy(self, url: str) -> str:
        source, made = url.rpartition("/")[2], f"{self._names[0]}_{len(self._names)}"
        with ThreadPoolExecutor(1) as executor:  # the caller's event loop is running
            executor.submit(asyncio.run, self._copy(source, made)).result(60)
        self._names.append(made)
        return self._server.url(made)

    def close(self) -> None:
        for name in self._names:
            self._server.drop_database(name)

    async def _copy(self, source: str, made: str) -> None:
        connection = await asyncpg.connect(self._server.url("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{made}" TEMPLATE "{source}"')
        finally:
            await connection.close()


@pytest.fixture
def databases() -> Iterator[PostgresDatabases]:
    made = PostgresDatabases(available_server())
    yield made
    made.close()


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow.name in CHOSEN], ids=str)
def test_invariants_hold_wherever_the_catalog_fails(
    flow: Flow, databases: PostgresDatabases, ground: Path
) -> None:
    bucket = "kept" if flow.name == "delete_version" else "plain"
    tally = drive(
        flow,
        bucket,
        ground,
        ("memory",),
        databases=databases,
        calls=lambda label: label.startswith("catalog."),
    )
    assert tally.violations == []
    assert tally.tripped == tally.faults
