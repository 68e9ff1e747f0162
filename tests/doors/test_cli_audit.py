"""`holdfast audit`: seen, verified, exported, pruned, from a terminal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from holdfast.core.errors import HoldfastError, QuotaExceededError, UnavailableError
from holdfast.engine.audit import Auditor, SealReport
from tests.doors.cli_tools import Place, embedded

pytestmark = pytest.mark.doors


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = embedded(tmp_path)
    made.run("mb", "bucket")
    for name in ("a", "b"):
        (made.folder / name).write_text(name)
    made.run("put", str(made.folder / "a"), str(made.folder / "b"), "bucket/")
    return made


def test_what_happened_is_listed(place: Place) -> None:
    shown = place.run("audit", "ls", "--json").records
    told = [(one["action"], one["key"]) for one in shown]
    assert sorted(told[-3:]) == [("create-bucket", ""), ("put", "a"), ("put", "b")]
    assert [one["key"] for one in place.run("audit", "ls", "--prefix", "b", "--json").records] == ["b"]
    assert place.run("audit", "ls", "--limit", "1", "--json").records == shown[-1:]
    assert place.run("audit", "ls", "--since", "2999-01-01", "--json").records == []
    assert place.run("audit", "ls", "--principal", "nobody", "--json").records == []
    assert "bucket/a" in place.run("audit", "ls").out
    assert place.run("audit", "ls", "--since", "soon", status=None).status != 0


@pytest.mark.parametrize("tenant", ["", "default"])
def test_a_deleted_audit_is_missed(place: Place, tenant: str) -> None:
    place.run("audit", "verify")
    place.run("audit", "verify")
    with closing(sqlite3.connect(next(place.folder.rglob("catalog.db")))) as database:
        for table in ("audit_segments", "audit_heads"):
            database.execute(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))
        database.commit()
    (found,) = [
        one for one in place.run("audit", "verify", "--json", status=None).records if not one["whole"]
    ]
    assert (found["tenant"], found["problem"]) == (tenant, "missing")
    assert place.run("audit", "verify", status=None).status == 17


def test_a_tenant_that_is_not_there(place: Place) -> None:
    for command in ("ls", "verify", "export"):
        assert place.run("audit", command, "--tenant", "nope", status=None).status == 3


def test_a_head_that_was_kept_shows_a_rollback(place: Place) -> None:
    (first, *_) = [
        one for one in place.run("audit", "verify", "--json").records if one["tenant"] == "default"
    ]
    assert first["whole"]
    assert first["head"]
    before = (place.folder / "data" / "catalog.db").read_bytes() if (place.folder / "data").is_dir() else b""
    place.run("rm", "bucket/a")
    assert place.run("audit", "verify", "--expect", first["head"], "--json").records[0]["whole"]
    second = place.run("audit", "verify", "--tenant", "default", "--json").records[0]["head"]
    assert before, "the catalog is where this test looks for it"
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (place.folder / "data" / name).unlink(missing_ok=True)
    (place.folder / "data" / "catalog.db").write_bytes(before)
    gone_back = place.run("audit", "verify", "--expect", second, "--json", status=None)
    assert gone_back.status != 0
    assert gone_back.records[0]["problem"] == "rolled-back"


def test_what_was_changed_is_found_and_not_pruned(place: Place) -> None:
    place.run("audit", "verify")
    path = next(place.folder.rglob("catalog.db"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE audit_segments SET to_at = to_at + 1 WHERE tenant = 'default'")
        database.commit()
    broken = place.run("audit", "verify", status=None)
    assert broken.status != 0
    assert "NOT WHOLE" in broken.out
    assert place.run("audit", "prune", "--before", "2999-01-01", status=None).status == broken.status
    exported = place.run("audit", "export", status=None)
    assert exported.status == broken.status
    assert json.loads(exported.out.splitlines()[-1])["audit"]["whole"] is False
    assert place.run("audit", "restart", status=None).status != 0
    place.run("audit", "restart", "--yes")
    place.run("audit", "verify")
    assert [one["action"] for one in place.run("audit", "ls", "--json").records] == ["restart-audit"]


def test_an_export_is_all_of_it_and_a_pruning_is_told(place: Place) -> None:
    lines = [json.loads(line) for line in place.run("audit", "export").out.splitlines()]
    assert lines[-1]["exported"] == len(lines) - 1
    assert lines[-1]["audit"]["head"].startswith("1:")
    assert [line["number"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert place.run("audit", "prune", status=None).status != 0
    assert place.run("audit", "prune", "--keep-days", "1", "--json").records[0]["records"] == 0
    pruned = place.run("audit", "prune", "--before", "2999-01-01", "--json").records[0]
    assert pruned["records"] == len(lines) - 1
    assert [one["action"] for one in place.run("audit", "ls", "--json").records] == ["prune-audit"]
    place.run("audit", "verify")


def test_what_belongs_to_no_tenant(place: Place) -> None:
    place.run("audit", "verify")
    shown = place.run("audit", "ls", "--service", "--json").records
    assert ("audit-begin", {"of": "default"}) in [(one["action"], one["detail"]) for one in shown]
    assert place.run("audit", "ls", "--service", "--tenant", "default", status=None).status != 0


@pytest.mark.parametrize(
    ("failed", "verified", "named"),
    [
        ({"default": QuotaExceededError("the disk is full")}, 13, 13),
        ({"default": UnavailableError("the catalog does not answer")}, 15, 15),
        ({"": QuotaExceededError("the disk is full")}, 13, 0),
    ],
)
def test_records_that_cannot_be_sealed_are_no_success(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    failed: Mapping[str, HoldfastError],
    verified: int,
    named: int,
) -> None:
    async def seal(self: Auditor) -> SealReport:
        return SealReport(failed=dict(failed))

    monkeypatch.setattr(Auditor, "seal", seal)
    for arguments, status in (
        (["verify"], verified),
        (["verify", "--tenant", "default"], named),
        (["export"], named),
    ):
        done = CliRunner().invoke(app, ["audit", *arguments, *place.where])
        assert done.exit_code == status, done.output
        if status:
            assert "cannot be sealed: " in done.output
