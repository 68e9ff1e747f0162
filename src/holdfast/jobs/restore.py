"""Restore: rows and contents of a set put back, over nothing that is newer unless that is wanted.

Versions come in the order of their ids, each in one transaction of its own, so a step that is done twice finds them
there. Rules and snapshots come last: rules only if their stores take something here, snapshots only if nothing
failed. Schedules and stores come switched off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from holdfast.catalog.contract import Actor
from holdfast.catalog.dumping import KEPT
from holdfast.catalog.settings import bucket_settings, tenant_settings
from holdfast.catalog.upgrading import newest
from holdfast.core.backend import Store
from holdfast.core.clock import iso, moment
from holdfast.core.errors import HoldfastError, InvalidRequestError, UnsupportedError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import check_bucket, check_key, check_store, check_tenant
from holdfast.core.types import ObjectRef, Quota
from holdfast.engine.backups import ages, sets
from holdfast.engine.backups.contents import Contents
from holdfast.engine.backups.rows import VERSIONS, Index, Row, ref_of, rows_in, segments_of
from holdfast.engine.backups.writing import Writing
from holdfast.engine.engine import Engine
from holdfast.jobs import looking
from holdfast.jobs import spec as members
from holdfast.jobs.backup_rows import Beat
from holdfast.jobs.backup_set import passes, set_of
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.backups import Place

_MEMBERS: Final = (
    *("store", "set", "tenant", "bucket", "key", "prefix", "at", "into", "identity", "overwrite"),
)
_SECONDS: Final = 120.0  #: of a step, about: each opens the files anew
_AFTER: Final = ("rules", "snapshots")  #: what stands in the way of versions that are put back
_FIRST: Final = tuple(name for name in KEPT if name not in _AFTER)
_VERSIONS: Final = "versions:"
_LAST: Final = "rules"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which part of a set is put back, and where."""

    tenant: str = ""
    bucket: str = ""
    key: str = ""
    prefix: str = ""
    at: int | None = None
    into: str = ""

    def target(self, row: Row) -> ObjectRef | None:
        """Return where a version goes; None when it is not meant."""
        ref = ref_of(row)
        if (self.tenant and ref.tenant != self.tenant) or (self.bucket and ref.bucket != self.bucket):
            return None
        if (self.key and ref.key != self.key) or not ref.key.startswith(self.prefix):
            return None
        if self.at is not None and row["created"] > self.at:
            return None
        return replace(ref, bucket=self.into) if self.into else ref

    def row(self, table: str, row: Row) -> Row | None:
        """Return a row of another table as it is put back; None when it is not."""
        if not KEPT[table]:
            return None if self.tenant else row
        if self.tenant and row["name" if table == "tenants" else "tenant"] != self.tenant:
            return None
        if table == "snapshots":
            return self._snapshot(row)
        if self.bucket and table not in ("tenants", "buckets"):
            return None
        if table == "buckets" and self.bucket:
            return None if row["name"] != self.bucket else {**row, "name": self.into or self.bucket}
        return row

    def _snapshot(self, row: Row) -> Row | None:
        """Return a snapshot as it is put back: only where all that it shows is, too."""
        if self.bucket and row["bucket"] != self.bucket:
            return None
        if self.key or self.prefix or (self.at is not None and row["at"] > self.at):
            return None
        return {**row, "bucket": self.into or row["bucket"]}


class Restore:
    """Puts a set back, or a part of it."""

    name = "restore"
    verb = "operate"

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec in its usual form."""
        members.known(spec, *_MEMBERS)
        made: dict[str, Any] = {name: members.text(spec, name) for name in _MEMBERS if name != "overwrite"}
        made["set"] = members.text(spec, "set", None)
        made["identity"] = members.file(spec, "identity")
        for name, check in (("store", check_store), ("tenant", check_tenant), ("bucket", check_bucket)):
            if made[name]:
                check(made[name])
        if made["bucket"] and not made["tenant"]:
            raise InvalidRequestError("bucket goes with tenant: whose bucket is it?")
        for name in ("key", "prefix", "into"):
            if made[name] and not made["bucket"]:
                raise InvalidRequestError(f"{name} goes with bucket")
        if made["key"]:
            check_key(made["key"])
        if made["into"]:
            check_bucket(made["into"])
        if made["at"]:
            moment(made["at"])
        return made | {"overwrite": members.flag(spec, "overwrite")}

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.backup_store(engine, said["store"])

    async def forecast(self, work: Work) -> Forecast:
        """Return how much would be looked at; what is there already is not written again."""
        source = await Source.of(work)
        count = size = 0
        chosen, beat = chosen_of(work), Beat(work)
        async with aclosing(source.rows({VERSIONS})) as rows:
            async for _, row in rows:
                if chosen.target(row) is not None:
                    count, size = count + 1, size + row["size"]
                await beat()
        files = sum(len(one.data) for one in source.sets.values())
        notes = ["what is there already is left as it is"]
        if source.manifest.missing:
            notes.append(f"{source.manifest.missing} contents could not be read when the backup was made")
        return Forecast(count, size, {source.store.name: {"get": files + 1}}, notes=notes)

    async def split(self, work: Work) -> Sequence[Range]:
        """Return one part; a set that cannot be opened is refused here."""
        source = await Source.of(work)
        async with aclosing(source.rows({"tenants"})) as rows:
            async for _ in rows:
                break
        counts = source.manifest.counts
        whole = chosen_of(work) == Chosen()
        return [
            Range(
                source.manifest.id,
                items=counts.get("versions") if whole else None,
                bytes=counts.get("bytes") if whole else None,
            )
        ]

    async def step(self, work: Work, part: Part) -> Step:
        """Put back other rows, then versions for a while, then rules and snapshots."""
        return await self.put(work, await Source.of(work), part)

    async def put(self, work: Work, source: Source, part: Part) -> Step:
        """As `step`, from a source that may lie elsewhere than in the engine of `work`."""
        chosen = chosen_of(work)
        if not part.cursor:
            counts = await put_rows(work, source, chosen, _FIRST)
            return Step(_VERSIONS, counts=counts)
        if part.cursor == _LAST:
            counts = await put_rows(work, source, chosen, _AFTER)
            await limit(work, source, chosen)
            return Step(part.cursor, done=True, counts=counts)
        return await put_versions(work, source, chosen, part.cursor.removeprefix(_VERSIONS))

    async def finish(self, work: Work) -> Finish:
        """Return what was put back, by where it went."""
        source = await Source.of(work)
        return Finish(
            {"set": source.manifest.id, "moment": iso(source.manifest.moment), **work.job.counts.notes}
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A set that is put back, and the sets whose files it rests on."""

    store: Store
    manifest: sets.Manifest
    sets: Mapping[str, sets.Manifest]
    identities: ages.Identities
    work: Work

    @classmethod
    async def of(cls, work: Work) -> Source:
        context = work.engine.context
        store = await sets.store_of(context, work.spec["store"] or context.settings.backup.store)
        manifest = await set_of(work, store)
        if manifest.schema > newest():
            raise UnsupportedError(
                f"set-{manifest.id} is from step {manifest.schema:.20} of the catalog, this Holdfast knows steps up "
                f"to {newest()}; restore it with the release that wrote it ({manifest.software:.40}), or a newer one"
            )
        identities: ages.Identities = ()
        if manifest.recipients:
            if not work.spec["identity"]:
                raise InvalidRequestError(
                    f"set-{manifest.id} is encrypted: name the file with the identity that opens it"
                )
            identities = ages.read_identities(work.spec["identity"])
        return cls(store, manifest, await sets.check_needed(store, manifest), identities, work)

    def rows(self, tables: set[str], *, after: str = "") -> Any:
        opener = sets.opener(self.work.engine.context, self.store, self.manifest, self.identities)
        return rows_in(opener, self.manifest.rows, tables, after=after)

    def index(self) -> Index:
        opener = sets.opener(self.work.engine.context, self.store, self.manifest)
        return Index(opener, self.manifest.id, self.manifest.index)

    def contents(self) -> Contents:
        return Contents(self.work.engine.context, self.store, self.sets, self.identities)


def chosen_of(work: Work) -> Chosen:
    """Return which part of the set is meant."""
    spec = work.spec
    at = moment(spec["at"]) if spec["at"] else None
    return Chosen(spec["tenant"], spec["bucket"], spec["key"], spec["prefix"], at, spec["into"])


async def put_rows(work: Work, source: Source, chosen: Chosen, tables: Sequence[str]) -> Counts:
    """Put back rows of other tables that are not there."""
    notes: dict[str, int] = {}
    beat, counts = Beat(work), work.job.counts
    lacking = counts.failed or counts.notes.get(Place.TAKEN.value)
    async with aclosing(source.rows(set(tables))) as rows:
        async for table, row in rows:
            meant = chosen.row(table, row)
            if meant is not None:
                if table == "rules" and not _rule_works(work, meant):
                    notes["rules_left"] = notes.get("rules_left", 0) + 1
                elif table == "snapshots" and lacking:  # it would keep out what is missing yet
                    notes["snapshots_left"] = notes.get("snapshots_left", 0) + 1
                elif await work.engine.catalog.restore_row(table, meant):
                    notes[table] = notes.get(table, 0) + 1
            await beat()
    await work.engine.stores.refresh(at_once=True)
    return Counts(notes=notes)


def _rule_works(work: Work, row: Row) -> bool:
    """Tell whether all stores of a rule take something here: else it would stop every write that it is about."""
    try:
        stores = msgspec.json.decode(row["rule"], type=dict[str, Any]).get("stores", [])
    except msgspec.DecodeError:
        return False
    context = work.engine.context
    return all(name in context.stores and not context.store(name).refusal for name in stores)


async def limit(work: Work, source: Source, chosen: Chosen) -> None:
    """Let quotas hold again: what was put back may pass them, what comes may not."""
    catalog = work.engine.catalog
    async with aclosing(source.rows({"tenants", "buckets"})) as rows:
        async for table, row in rows:
            meant = chosen.row(table, row)
            if meant is None:
                continue
            if table == "tenants" and not chosen.bucket:
                quota = tenant_settings(meant["settings"]).quota
                if quota != Quota() and (await catalog.quota(meant["name"])).quota != quota:
                    await catalog.set_quota(meant["name"], None, quota, actor=actor_of(work))
            elif table == "buckets":
                place = (meant["tenant"], meant["name"])
                quota = bucket_settings(meant["settings"]).quota
                if quota != Quota() and (await catalog.quota(*place)).quota != quota:
                    await catalog.set_quota(*place, Quota(), actor=actor_of(work))
                    await catalog.set_quota(*place, quota, actor=actor_of(work))


def actor_of(work: Work) -> Actor:
    """Return who it was, for the audit."""
    return Actor(work.job.principal or "restore", request_id=work.job.id)


async def put_versions(work: Work, source: Source, chosen: Chosen, after: str) -> Step:
    """Put back versions behind the id `after` for a while."""
    context, beat = work.engine.context, Beat(work)
    until = context.environment.clock.monotonic() + _SECONDS
    writing = Writing(
        context,
        moment=source.manifest.moment,
        overwrite=work.spec["overwrite"],
        job_id=work.job.id,
        actor=actor_of(work),
    )
    counts, failures, over = Counts(), list[ItemFailure](), True
    index, contents = source.index(), source.contents()
    try:
        async with aclosing(source.rows({VERSIONS}, after=after)) as rows:
            async for _, row in rows:
                ref = chosen.target(row)
                if ref is not None:
                    if not await work.room():
                        over = False
                        break
                    try:
                        counts += await _put_version(writing, ref, row, index, contents, failures, work)
                    except asyncio.CancelledError:  # from the pace: what was put before is told
                        if not work.stopping():
                            raise
                        over = False
                        break
                    except HoldfastError:  # a store did not answer: what was put before is told
                        if not counts.examined:
                            raise
                        over = False
                        break
                after = row["id"]
                await beat()
                if work.stopping() or context.environment.clock.monotonic() > until:
                    over = False
                    break
    finally:
        await contents.close()
    return Step(_LAST if over else f"{_VERSIONS}{after}", counts=counts, failures=failures)


async def _put_version(
    writing: Writing,
    ref: ObjectRef,
    row: Row,
    index: Index,
    contents: Contents,
    failures: list[ItemFailure],
    work: Work,
) -> Counts:
    segments = segments_of(row)
    found = await index.of(row["id"]) if segments else []

    async def source(number: int) -> Any:
        async for payload in contents.segment(found, segments, number):
            await work.gauge.bytes(len(payload))
            yield payload

    try:
        place = await writing.write(ref, row, source)
    except HoldfastError as error:
        if passes(error):
            raise
        failures.append(
            ItemFailure(ref.bucket, ref.key, row["id"], error.code, error.message, tenant=ref.tenant)
        )
        return Counts(examined=1, failed=1)
    if place in (Place.THERE, Place.KEPT, Place.TAKEN):
        return Counts(examined=1, skipped=1, notes={place.value: 1})
    told = place.value if place is Place.MENDED else "restored"
    return Counts(examined=1, done=1, bytes=row["size"], notes={told: 1})
