"""Backup: rows of the catalog and the contents of all versions, as of one moment, into files on a store.

Its steps: all rows at one moment, with a pin on what is given up from then on; contents, a file a step; the manifest.
Dying in a step leaves files that no later step counts, so the next one writes its own under other names. The pin lasts
a day from the last step: whoever pauses for longer begins with the rows again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import msgspec

from holdfast.catalog.upgrading import newest
from holdfast.core.backend import Store
from holdfast.core.errors import ConflictError, CorruptedError, InvalidRequestError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.jobs import Part
from holdfast.core.names import INLINE
from holdfast.core.records import Pin
from holdfast.core.types import Usage
from holdfast.engine.backups import ages, sets
from holdfast.engine.backups.opening import Opener
from holdfast.engine.backups.packing import Piece
from holdfast.engine.backups.rows import VERSIONS, Index, rows_in
from holdfast.engine.backups.shelf import told
from holdfast.engine.costs import price_key
from holdfast.engine.engine import Engine
from holdfast.jobs import looking
from holdfast.jobs.backup_contents import ContentStep, step_name
from holdfast.jobs.backup_rows import Beat, plan_name, write_rows
from holdfast.jobs.backup_spec import LEASE, Cursor, Done, Plan, checked, settled
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.backups import BackupSettings
from holdfast.policy.cost import Estimate, month_cost, once_cost


class Backup:
    """Writes a set. Its id is that of the job, so a step that is done twice goes into the same set."""

    name = "backup"
    verb = "operate"

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec in its usual form; see `backup_spec`."""
        return checked(spec)

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.backup_store(engine, settled(said, engine.context.settings.backup).store)
        await looking.bucket_of(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """Return how much there is, and in how many files it goes; what a parent has already is not known before."""
        how, store = await _where(work)
        usage = await usage_of(work.engine, work.spec["tenant"], work.spec["bucket"])
        files = 2 + 2 * max(1, -(-usage.bytes // how.file_size(usage.bytes)))
        notes = ["sizes are before compression"]
        if work.spec["incremental"] or work.spec["parent"]:
            parent = await _parent(work, store, how)
            notes.append(
                f"it goes on from set-{parent.id}; what that holds already is not written again"
                if parent
                else "there is no backup yet that it could go on from; it is a full one"
            )
        book, key = work.engine.context.settings.prices, price_key(work.engine.context, store.name)
        reading, why = await reading_cost(work, usage, store.name)
        return Forecast(
            usage.versions,
            usage.bytes,
            {store.name: {"put": files}},
            once=reading + once_cost(book, key, writes=files),
            after=month_cost(book, key, usage.bytes, objects=files),
            notes=[*notes, *why],
        )

    async def split(self, work: Work) -> Sequence[Range]:
        """Return one part: rows come before contents, and the manifest comes last."""
        how, store = await _where(work)
        if work.spec["parent"]:
            await _parent(work, store, how)
        usage = await usage_of(work.engine, work.spec["tenant"], work.spec["bucket"])
        return [Range(items=usage.versions, bytes=usage.bytes)]

    async def step(self, work: Work, part: Part) -> Step:
        """Write the rows, or a file of contents, or the manifest."""
        cursor, set_id = Cursor.of(part.cursor), work.job.id
        how, store = await _where(work)
        catalog = work.engine.catalog
        if cursor.attempt and not cursor.over:
            pin = await catalog.renew_pin(set_id, lease=LEASE)
            if pin is None:  # for so long nobody worked at it that bytes may be gone
                cursor = Cursor()
            else:
                return await self._contents(work, store, cursor, pin)
        if cursor.over:
            await self._manifest(work, store, cursor)
            return Step(cursor.text, done=True)
        return await self._rows(work, store, how)

    async def finish(self, work: Work) -> Finish:
        """Return what the set is."""
        _, store = await _where(work)
        manifest = await sets.load(store, work.job.id)
        return Finish(told(manifest, store.name))

    async def _rows(self, work: Work, store: Store, how: BackupSettings) -> Step:
        secret, opens = ages.new_identity()
        pin = await work.engine.catalog.pin(work.job.id, lease=LEASE, secret=secret)
        if pin.secret != secret:
            opens = ages.recipient_of(pin.secret)
        failpoint("backup.after_pin")
        parent = await _parent(work, store, how)
        attempt = work.engine.context.environment.new_id()[-12:]
        if parent is not None:  # whoever prunes meanwhile is to know that it is needed
            await sets.write_json(
                store.backend, plan_name(work.job.id, f"{attempt}-parent"), {"parent": parent.id}
            )
            await sets.load(store, parent.id)
            failpoint("backup.after_parent")
        plan = await write_rows(
            work, store, work.job.id, attempt, how, opens=opens, parent=parent.id if parent else ""
        )
        failpoint("backup.after_rows")
        return Step("" if plan is None else Cursor(attempt=attempt).text)

    async def _contents(self, work: Work, store: Store, cursor: Cursor, pin: Pin) -> Step:
        plan = await _plan(store, work.job.id, cursor.attempt)
        opener = Opener(
            store.backend,
            sets.prefix_of(work.job.id),
            plan.compression,
            bool(plan.recipients),
            ages.identities_of(pin.secret, "the pin of the backup"),
            work.engine.context.executor,
        )
        parent = None
        if plan.parent:
            manifest = await sets.load(store, plan.parent)
            parent = Index(sets.opener(work.engine.context, store, manifest), manifest.id, manifest.index)
        async with aclosing(rows_in(opener, plan.rows, {VERSIONS}, after=cursor.after)) as rows:
            step = ContentStep(work, store, work.job.id, plan, cursor, rows, parent)
            await step.run()
        failpoint("backup.after_contents")
        notes = {"missing": step.tally.missing} if step.tally.missing else {}
        return Step(
            step.cursor.text,
            counts=replace(step.tally.counts, notes=notes),
            failures=step.tally.failures,
        )

    async def _manifest(self, work: Work, store: Store, cursor: Cursor) -> None:
        set_id = work.job.id
        try:
            manifest = await sets.load(store, set_id)
        except NotFoundError:
            plan = await _plan(store, set_id, cursor.attempt)
            steps = await _chain(work, store, cursor)
            manifest = _manifest_of(work, plan, steps)
            await sets.check_needed(store, manifest)
            failpoint("backup.before_manifest")
            await sets.save(store, manifest)
        failpoint("backup.after_manifest")
        await work.engine.catalog.unpin(set_id)
        beat = Beat(work)
        for name in [name async for name in sets.leftovers(store, manifest)]:
            await store.backend.delete(name)
            await beat()


async def reading_cost(work: Work, usage: Usage, target: str) -> tuple[Estimate, Sequence[str]]:
    """Return what reading the contents costs, by the prices of the stores that held them when it was measured last.

    Where copies lie at several prices it is the dearest, since which of them is read is not known before.
    """
    context, (tenant, bucket) = work.engine.context, (work.spec["tenant"], work.spec["bucket"])
    if not usage.bytes:
        return Estimate(), ()
    _, uses = await context.catalog.store_uses()
    names = {use.store for use in uses if tenant in ("", use.tenant) and bucket in ("", use.bucket)}
    why = []
    if not names:
        names, why = set(context.stores) - {target}, ["it was not measured yet which stores hold it"]
    costs = [
        once_cost(context.settings.prices, key, reads=usage.versions, bytes=usage.bytes)
        for key in sorted({price_key(context, name) for name in names - {INLINE}})
    ]
    dearest = max(costs, key=lambda cost: (cost.total is None, cost.known), default=Estimate())
    return dearest, [*why, "reading is priced at the dearest of the stores"] if len(costs) > 1 else why


async def usage_of(engine: Engine, tenant: str, bucket: str) -> Usage:
    """Return what a tenant or bucket has, or all of them together."""
    if bucket:
        return await engine.catalog.usage(tenant, bucket)
    names = [tenant] if tenant else [one.name for one in await engine.catalog.tenants()]
    each = [await engine.catalog.usage(name) for name in names]
    return Usage(versions=sum(one.versions for one in each), bytes=sum(one.bytes for one in each))


async def _where(work: Work) -> tuple[BackupSettings, Store]:
    how = settled(work.spec, work.engine.context.settings.backup)
    return how, await sets.store_of(work.engine.context, how.store, write=True)


async def _parent(work: Work, store: Store, how: BackupSettings) -> sets.Manifest | None:
    """Return the set that this one goes on from; None for a full one.

    Raises:
        InvalidRequestError: the one that was named is encrypted to others.
    """
    wanted = work.spec["parent"]
    if wanted:
        found = await sets.find(store, wanted)
        if set(found.recipients) != set(how.recipients):
            raise InvalidRequestError(
                f"set-{found.id} is encrypted to other recipients: one key would not open both; make a full backup"
            )
        return found
    if not work.spec["incremental"]:
        return None
    scope = (work.spec["tenant"], work.spec["bucket"])
    for one in reversed(await sets.listing(store)):
        if (one.tenant, one.bucket) == scope and set(one.recipients) == set(how.recipients):
            return one
    return None


async def _plan(store: Store, set_id: str, attempt: str) -> Plan:
    name = plan_name(set_id, attempt)
    try:
        return msgspec.convert(await sets.read_json(store.backend, name, name), Plan)
    except msgspec.ValidationError as error:
        raise CorruptedError(f"{name} is damaged: {error}") from None


async def _chain(work: Work, store: Store, cursor: Cursor) -> list[Done]:
    """Return the steps that led to `cursor`, the first one first."""
    found: list[Done] = []
    number, nonce, beat = cursor.steps, cursor.nonce, Beat(work)
    while number:
        name = step_name(work.job.id, number, nonce)
        try:
            document = await sets.read_json(store.backend, name, name)
        except NotFoundError:
            raise ConflictError(f"{name} is gone: somebody removed files of a backup that runs") from None
        found.append(msgspec.convert(document, Done))
        number, nonce = number - 1, found[-1].previous
        await beat()
    return found[::-1]


def _manifest_of(work: Work, plan: Plan, steps: Sequence[Done]) -> sets.Manifest:
    counts = dict(plan.counts)
    for name in ("missing", "written"):
        counts[name] = sum(step.counts.get(name, 0) for step in steps)
    counts["written_bytes"] = sum(step.counts.get("bytes", 0) for step in steps)
    data: list[Piece] = [step.data for step in steps if step.data is not None]
    return sets.Manifest(
        id=work.job.id,
        moment=plan.moment,
        tenant=plan.tenant,
        bucket=plan.bucket,
        parent=plan.parent,
        needs=sorted({set_id for step in steps for set_id in step.needs}),
        compression=plan.compression,
        recipients=plan.recipients,
        rows=plan.rows,
        data=data,
        index=[step.index for step in steps],
        counts=counts,
        schema=newest(),
        made_by=work.job.principal,
        started=plan.started,
        ended=work.engine.context.environment.clock.now(),
        software=version("holdfast"),
    )
