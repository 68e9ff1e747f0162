"""The job `lifecycle`: what the rules of buckets want of their versions is done, page by page.

A part walks the versions of buckets with rules; at the beginning of each bucket it gives up stale uploads. Removing looks
once more whether the version is as it was judged; moving says where a version belongs, and owes it to `reconcile`. Done
twice, a step finds nothing left to do.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.core.errors import ConflictError, HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.types import Bucket
from holdfast.engine.engine import Engine
from holdfast.engine.lifecycle import ACTOR, Judged, Place, ageing, move, remove, stretch
from holdfast.jobs import looking, ranges, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.jobs.lifecycle_forecast import forecast
from holdfast.policy.lifecycle import Action, stale_uploads
from holdfast.policy.worth import HORIZON_DAYS

PAGE: Final = 300
_AT_ONCE: Final = 16
_MOST_DAYS: Final = 36_500


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a part stands: in a bucket, among its open uploads first, then among its versions."""

    bucket: int = 0
    place: Place = field(default_factory=Place)
    upload: tuple[str, str] | None = (
        "",
        "",
    )  #: key and id behind which uploads go on; None: all were looked at

    def text(self) -> str:
        """Return it as a part keeps it."""
        place = self.place
        return json.dumps([self.bucket, place.key, place.seq, place.since, place.newer, self.upload])

    @classmethod
    def of(cls, part: Part) -> Cursor:
        """Return where `part` goes on."""
        if part.cursor:
            bucket, key, seq, since, newer, upload = json.loads(part.cursor)
            return cls(
                bucket, Place(key, seq, since, newer), None if upload is None else (upload[0], upload[1])
            )
        bucket, key, _ = ranges.place_of(part.start)
        return cls(max(bucket, 0), Place(key), None if key else ("", ""))


class Lifecycle:
    """Rules of buckets followed: expiry, noncurrent versions, delete markers, stale uploads, moves to other stores."""

    name = "lifecycle"
    verb = "update_bucket"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "tenant", "bucket", "horizon_days")
        days = given.get("horizon_days", HORIZON_DAYS)
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= _MOST_DAYS:
            raise InvalidRequestError(f"horizon_days is a whole number from 1 to {_MOST_DAYS}")
        return {
            "tenant": spec.text(given, "tenant"),
            "bucket": spec.text(given, "bucket"),
            "horizon_days": days,
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.bucket_of(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        return await forecast(work, tenant_of(work), work.spec["bucket"], work.spec["horizon_days"])

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        tenant, bucket = tenant_of(work), work.spec["bucket"]
        if bucket and not tenant:
            raise InvalidRequestError("name the tenant whose bucket it is")
        return await ranges.split(work.engine, tenant=tenant, bucket=bucket)

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        cursor = Cursor.of(part)
        ruled = await work.engine.catalog.ruled_buckets(
            tenant_of(work), work.spec["bucket"], after=cursor.bucket - 1, limit=1
        )
        end = ranges.place_of(part.end, empty=ranges.LAST)
        if not ruled or ruled[0][0].id > end[0]:
            return Step(cursor.text(), done=True)
        bucket, counting = ruled[0]
        if bucket.id != cursor.bucket:
            cursor = Cursor(bucket.id)
        if bucket.id == end[0] and not end[1]:
            return Step(cursor.text(), done=True)
        if cursor.upload is not None:
            return await _uploads(work, bucket, cursor, cursor.upload)
        return await _versions(work, part, bucket, counting, cursor, end[1] if bucket.id == end[0] else "")

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        after = ""
        while after := await work.engine.catalog.forget_reads(after=after):
            await work.beat()
        return Finish(dict(work.job.counts.notes))


def tenant_of(work: Work) -> str:
    """Return whose buckets are meant; "": everybody's."""
    return str(work.spec["tenant"]) or work.job.tenant


# -- uploads ----------------------------------------------------------------------------------------------------------
async def _uploads(work: Work, bucket: Bucket, cursor: Cursor, after: tuple[str, str]) -> Step:
    """Give up a page of uploads that were opened too long ago."""
    engine, rules = work.engine, bucket.settings.lifecycle
    walked = Cursor(bucket.id, cursor.place, None).text()
    if all(rule.abort_uploads_days is None for rule in rules):
        return Step(walked)
    now = await engine.catalog.now()
    page, more = await engine.catalog.list_uploads(
        bucket.tenant, bucket.name, key_marker=after[0], id_marker=after[1], limit=PAGE
    )
    given_up = 0
    for upload in page:
        found = stale_uploads(rules, upload.ref.key, upload.created)
        if found is None or found[1] > now:
            continue
        if not await work.room():
            counts = Counts(done=given_up, notes={"uploads": given_up} if given_up else {})
            return Step(cursor.text(), counts=counts)
        try:
            await engine.catalog.abort_upload(upload.ref, upload.id, actor=ACTOR)
        except NotFoundError:  # completed meanwhile, or given up
            continue
        given_up += 1
    counts = Counts(done=given_up, notes={"uploads": given_up} if given_up else {})
    if not more:
        return Step(walked, counts=counts)
    last = page[-1]
    return Step(Cursor(bucket.id, cursor.place, (last.ref.key, last.id)).text(), counts=counts)


# -- versions ---------------------------------------------------------------------------------------------------------
async def _versions(
    work: Work, part: Part, bucket: Bucket, counting: int | None, cursor: Cursor, before: str
) -> Step:
    """Do what is due of a page of versions."""
    engine = work.engine
    ages = await ageing(engine.context, bucket, counting, horizon=work.spec["horizon_days"])
    place = cursor.place
    grown = await engine.catalog.aged(bucket, from_key=place.key, below=place.seq, limit=PAGE)
    now = await engine.catalog.now()
    judged, place, more = stretch(ages, grown, place, now, before)
    done = _Done()
    await done.remove(work, bucket, [one for one in judged if one.wish and not one.refused])
    moves = [one for one in judged if one.to and not one.refused]
    if moves and not work.stopping() and await work.room(len(moves)):
        done.moved(moves, await move(engine.context, moves))
    if work.stopping():
        return Step(part.cursor or cursor.text(), counts=done.broken_off())
    for one in judged:
        if one.refused:
            done.notes[f"refused: {one.refused}"] += 1
    skipped = sum(1 for one in judged if one.refused or one.wish is None)
    counts = done.counts(len(judged), skipped)
    if more:
        return Step(Cursor(bucket.id, place, None).text(), counts=counts, failures=done.failures)
    over = bool(before)
    return Step(Cursor(bucket.id + 1).text(), done=over, counts=counts, failures=done.failures)


class _Done:
    """What a page came to."""

    def __init__(self) -> None:
        self.notes: Counter[str] = Counter()
        self.failures: list[ItemFailure] = []
        self._bytes = 0
        self._done = 0
        self._passed = 0

    async def remove(self, work: Work, bucket: Bucket, judged: Sequence[Judged]) -> None:
        """Remove those that are to be removed, some at once."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(what: Judged) -> None:
            async with gate:
                if not work.stopping() and await work.room():
                    await self._remove(work, bucket, what)

        gone = [what for what in judged if what.wish and what.wish.action is not Action.MOVE]
        ends = await asyncio.gather(*(one(what) for what in gone), return_exceptions=True)
        for error in ends:  # none goes on behind our back when the step is tried again
            if error is not None:
                raise error

    async def _remove(self, work: Work, bucket: Bucket, what: Judged) -> None:
        version = what.aged.version
        try:
            done = await remove(work.engine.context, bucket, what)
        except ConflictError:  # held or locked meanwhile
            done = False
        except NotFoundError:  # the bucket is gone
            done = False
        except HoldfastError as error:
            if error.retryable:
                raise  # the catalog does not answer: the whole step is done again
            failure = ItemFailure(
                version.ref.bucket,
                version.ref.key,
                version.id,
                error.code,
                error.message,
                tenant=version.ref.tenant,
            )
            self.failures.append(failure)
            return
        if not done:
            self._passed += 1
            return
        self._done += 1
        self._bytes += version.size
        kind = "markers" if version.delete_marker else "expired" if what.newest else "noncurrent"
        self.notes[kind] += 1

    def moved(self, judged: Sequence[Judged], changed: set[str]) -> None:
        """Count those that belong elsewhere now."""
        for one in judged:
            if one.aged.version.id in changed:
                self._done += 1
                self._bytes += one.aged.version.size
                self.notes[f"to {one.to}"] += 1
            else:
                self._passed += 1

    def broken_off(self) -> Counts:
        """Return what to add when the page is to be gone through again: what was done, and nothing else."""
        return Counts(done=self._done, bytes=self._bytes, notes=dict(self.notes))

    def counts(self, examined: int, skipped: int = 0) -> Counts:
        """Return what to add to the job's counters."""
        return Counts(
            examined, self._done, skipped + self._passed, len(self.failures), self._bytes, dict(self.notes)
        )
