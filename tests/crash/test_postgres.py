"""The same faults with the catalog on PostgreSQL: around every call to it, for the flows whose commits differ most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
        self._names.append(self._server.copy_database(url.rpartition("/")[2]))
        return self._server.url(self._names[-1])

    def close(self) -> None:
        for name in self._names:
            self._server.drop_database(name)


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
