"""The first step of a backup: rows of the catalog, all as they were at one moment, into files of the set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from holdfast.catalog.contract import Moment
from holdfast.catalog.dumping import KEPT
from holdfast.core.backend import Store
from holdfast.engine.backups import rows as row_files
from holdfast.engine.backups.packing import Packing, Piece
from holdfast.engine.backups.sets import prefix_of, write_json
from holdfast.jobs.backup_spec import Plan
from holdfast.jobs.kinds import Work
from holdfast.policy.backups import BackupSettings

_PAGE: Final = 500
_FILE: Final = 8 << 20  #: bytes of a file of rows, about: a step that goes on reads one again
_BEAT: Final = 5.0  #: seconds
#: Tables that go with a bucket alone, and the column that names it.
_OF_BUCKET: Final = {"tenants": "", "buckets": "name", "snapshots": "bucket"}

Row = dict[str, Any]


class Beat:
    """Renews the lease of a part now and then, however often it is asked."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._clock = work.engine.context.environment.clock
        self._last = self._clock.monotonic()

    async def __call__(self) -> None:
        """Renew it, if that is a while ago."""
        now = self._clock.monotonic()
        if now - self._last >= _BEAT:
            self._last = now
            await self._work.beat()


class RowFiles:
    """Files of rows being written: a new one when the last is large enough."""

    def __init__(self, work: Work, store: Store, set_id: str, attempt: str, how: BackupSettings) -> None:
        self._executor = work.engine.context.executor
        self._store, self._how = store, how
        self._prefix = f"{prefix_of(set_id)}rows-{attempt}-"
        self._packing = Packing(how.compression, self._executor)
        self._last = ""
        self.pieces: list[Piece] = []

    async def add(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows of one table."""
        if not rows:
            return
        await self._packing.add({"table": table, "rows": len(rows)}, row_files.encode(rows))
        if table == row_files.VERSIONS:
            self._last = rows[-1]["id"]
        if self._packing.size >= _FILE:
            await self.put()

    async def put(self) -> None:
        """Put what is waiting into the store."""
        name = f"{self._prefix}{len(self.pieces) + 1:06d}"
        piece = await self._packing.put(self._store.backend, name, recipients=self._how.recipients)
        self.pieces.append(replace(piece, last=self._last))
        self._packing.close()
        self._packing = Packing(self._how.compression, self._executor)

    async def end(self) -> None:
        """Put the last file into the store."""
        if not self._packing.empty or not self.pieces:
            await self.put()

    def close(self) -> None:
        """Let go of what was not put."""
        self._packing.close()


async def write_rows(
    work: Work, store: Store, set_id: str, attempt: str, how: BackupSettings, *, opens: str, parent: str
) -> Plan | None:
    """Write all rows and the plan of this attempt; None when the job is to stop, and nothing counts then.

    `opens` is a recipient besides those of `how`, for whoever goes on with this backup.
    """
    spec, beat = work.spec, Beat(work)
    recipients = (*how.recipients, opens) if how.recipients else ()
    files = RowFiles(work, store, set_id, attempt, replace(how, recipients=recipients))
    counts = {"versions": 0, "bytes": 0, "buckets": 0, "tenants": 0}
    try:
        async with work.engine.catalog.at_one_moment() as moment:
            async for table, page in _tables(moment, spec["tenant"], spec["bucket"]):
                await files.add(table, page)
                if table in counts:
                    counts[table] += len(page)
                await beat()
            async for page in version_pages(moment, spec["tenant"], spec["bucket"]):
                await files.add(row_files.VERSIONS, page)
                counts["versions"] += len(page)
                counts["bytes"] += sum(row["size"] for row in page)
                await beat()
                if work.stopping():
                    return None
            await files.end()
            plan = Plan(
                attempt,
                moment.at,
                work.engine.context.environment.clock.now(),
                spec["tenant"],
                spec["bucket"],
                parent,
                how.compression,
                how.recipients,
                how.file_size(counts["bytes"]),
                files.pieces,
                counts,
            )
    finally:
        files.close()
    await write_json(store.backend, plan_name(set_id, attempt), _document(plan))
    return plan


def plan_name(set_id: str, attempt: str) -> str:
    """Return the name of the plan of an attempt."""
    return f"{prefix_of(set_id)}plan-{attempt}.json"


def _document(plan: Plan) -> dict[str, Any]:
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(plan)
    return document


async def _tables(moment: Moment, tenant: str, bucket: str) -> AsyncIterator[tuple[str, Sequence[Row]]]:
    """Yield pages of all tables but versions that belong to what is backed up."""
    for table, of_tenant in KEPT.items():
        if (tenant and not of_tenant) or (bucket and table not in _OF_BUCKET):
            continue
        after: Row | None = None
        while page := await moment.rows(table, tenant=tenant, after=after, limit=_PAGE):
            after = page[-1]
            if bucket and (member := _OF_BUCKET[table]):
                page = [row for row in page if row[member] == bucket]
            yield table, page


async def version_pages(moment: Moment, tenant: str, bucket: str) -> AsyncIterator[Sequence[Row]]:
    """Yield pages of the versions of a tenant or bucket, or of all, by id."""
    after = ""
    while page := await moment.versions(after=after, limit=_PAGE):
        after = page[-1]["id"]
        yield [
            row
            for row in page
            if (not tenant or row["tenant"] == tenant) and (not bucket or row["bucket"] == bucket)
        ]
