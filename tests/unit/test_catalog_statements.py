"""Every statement compiles for both databases, says the same as SQLAlchemy would, and finds its rows by an index."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import apsw
import pytest
from sqlalchemy import select

import holdfast.catalog
from holdfast.catalog import upgrading
from holdfast.catalog.schema import versions
from holdfast.catalog.statements import Statement, among, constant, int_param, one_of, text_param
from holdfast.catalog.transaction import bucket_lock, key_locks, upload_lock
from holdfast.core.types import ObjectRef

pytestmark = pytest.mark.unit


def everything() -> Iterator[tuple[str, Statement]]:
    for found in pkgutil.iter_modules(holdfast.catalog.__path__):
        if found.name != "migrations":
            module = importlib.import_module(f"holdfast.catalog.{found.name}")
            for name, value in vars(module).items():
                if isinstance(value, Statement):
                    yield f"{found.name}.{name}", value


STATEMENTS = dict(everything())
#: These look at all of a small table or take its first rows, or count a bucket for an audit.
SCANS = {
    "auditing.HEADS",
    "dating.MARKED",
    "figures.QUOTAS",
    "tenancy.TENANTS",
    "access.KEYS",
    "tenancy.RECOUNT",
    "sweeping.DELTAS_TAKE",
    "moving.ALL",  # all of a short table, read when it changed
    "placing.RULES",  # all of a short table, read when it changed
    "stores.ALL",
    "stores.RULES",
    "keys.TENANTS_ALL",  # a row for each generation of each tenant that encrypts, when an operator asks for all
    "upstreams.ALL",  # a row for each bucket that follows a store, when an operator asks for all
    "lifecycle.RULED",  # a row for each bucket, once a day
    "findings.COUNTS",  # findings are few, or nobody looks after the stores
    "proving.PROVEN",  # every copy, when an operator asks how far they are proved
    "schedules.ALL",  # all of a short table, when an operator asks for it
    "lagging.GROUPS",  # what is owed, of which a scrape counts so much at most
    "using.KEPT",  # a row for each bucket and store, all of which a report is about
}


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 50


@pytest.mark.parametrize("name", STATEMENTS)
def test_parameters_are_the_same_on_both(name: str) -> None:
    statement = STATEMENTS[name]
    text, names = statement.postgres
    assert len(set(names)) == len(names)
    assert {int(number) for number in re.findall(r"\$(\d+)", text)} == set(range(1, len(names) + 1))
    sqlite_names = set(re.findall(r":(\w+)", statement.sqlite[0]))
    assert sqlite_names <= set(names) | {"now"}
    if "usage" not in text:
        assert set(names) <= sqlite_names | {"now"}
    assert "POSTCOMPILE" not in text + statement.sqlite[0]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    upgrading.upgrade_sqlite(str(path))
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - SCANS))
def test_no_table_is_read_through(name: str, catalog: apsw.Connection) -> None:
    text, _ = STATEMENTS[name].sqlite
    params = dict.fromkeys(re.findall(r":(\w+)", text), 1)
    plan = [str(row[3]) for row in catalog.execute("EXPLAIN QUERY PLAN " + text, params)]
    tables = "|".join(table for table in holdfast.catalog.schema.metadata.tables)  # type: ignore[attr-defined]
    aliases = "hop|older|newer|other"
    scans = [step for step in plan if re.match(rf"SCAN ({tables}|{aliases})\b", step)]
    ordered = [step for step in scans if "USING" in step or name == "sweeping.PAGE"]
    assert scans == ordered, plan


def test_a_list_may_have_any_length() -> None:
    driven = Statement(select(versions.c.seq).where(one_of(versions.c.id, "ids")))
    filtered = Statement(
        select(versions.c.seq).where(among(versions.c.id, "ids"), versions.c.seq > int_param("n"))
    )
    assert driven.sqlite[1] == filtered.sqlite[1] == ("ids",)
    assert "= ANY($1::TEXT[])" in driven.postgres[0]
    assert "EXISTS" in filtered.sqlite[0]


def test_a_parameter_used_twice_is_sent_once() -> None:
    twice = Statement(
        select(versions.c.seq)
        .where(versions.c.id == text_param("a"), versions.c.key == text_param("a"))
        .limit(constant(1))
    )
    assert twice.postgres[1] == ("a",)
    assert twice.sqlite[0].count(":a") == 2


def test_locks_differ_by_what_they_lock() -> None:
    one, other = ObjectRef("t", "b", "k"), ObjectRef("t", "b", "k2")
    assert key_locks(one)[0] == key_locks(other)[0] == bucket_lock("t", "b")
    assert key_locks(one)[1] != key_locks(other)[1]
    assert bucket_lock("t", "b", shared=False) != bucket_lock("t", "b")
    assert bucket_lock("t", "b", shared=False).number == bucket_lock("t", "b").number
    assert upload_lock("k") != key_locks(one)[1]
    assert all(-(2**63) <= lock.number < 2**63 for lock in key_locks(one))
