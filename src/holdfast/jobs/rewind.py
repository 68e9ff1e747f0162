"""The job `rewind`: a bucket, or what starts with a prefix, made as it was at a moment, by new versions.

Nothing is removed, and no bytes move: what was there then comes back as a new version over the same blobs, what was not is
hidden behind a delete marker. What is written after the job began stays as it is; so a step that is done twice finds its
own work, and leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.catalog.contract import KeyThen
from holdfast.core.jobs import Part
from holdfast.core.types import ObjectRef
from holdfast.engine.cloning import clone
from holdfast.engine.engine import Engine
from holdfast.jobs import looking, past, ranges, spec
from holdfast.jobs.kinds import Ask, Finish, Forecast, Range, Step, Work
from holdfast.policy.moments import Change, change

_UNKNOWN = (
    "what was removed for good since cannot come back; where that was the newest version of a key, or all of them,"
    " nothing tells how much it was"
)


class Rewind:
    """A bucket made as it was at a moment: by new versions over the old contents, and delete markers; nothing is lost."""

    name = "rewind"
    verb = "put"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "tenant", "bucket", "prefix", "at", "snapshot")
        return past.said(given, needed=True)

    def asks(self, said: Mapping[str, Any]) -> Sequence[Ask]:
        """Return the permissions: what was there is read, written again, or hidden."""
        bucket, prefix = said["bucket"], said["prefix"]
        return [Ask(verb, bucket, prefix=prefix) for verb in ("versions", "get", "put", "delete")]

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.snapshot(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        at = await _moment(work)
        tenant, bucket = past.place_of(work)
        back = hidden = charged = gaps = 0
        marker = ""
        while page := await work.engine.catalog.compare(
            tenant, bucket, at, prefix=work.spec["prefix"], marker=marker, limit=past.PAGE
        ):
            for key in page:
                gaps += key.gap
                became = change(key.then, key.later)
                if became is Change.ADDED:
                    hidden += 1
                elif became is not None and key.then is not None:
                    back += 1
                    charged += key.then.size
            marker = page[-1].key
        notes = [
            f"{back} objects come back as new versions, {hidden} are hidden behind delete markers",
            f"no bytes are copied; {charged} bytes more count against quotas",
        ]
        if gaps:
            notes.append(f"{gaps} keys have lost versions for good that may have been there then")
        return Forecast(objects=back + hidden, notes=[*notes, _UNKNOWN])

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        await _moment(work)
        tenant, bucket = past.place_of(work)
        return await ranges.split(work.engine, tenant=tenant, bucket=bucket)

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        at = await _moment(work)
        tenant, bucket = past.place_of(work)
        marker, end = past.keys_of(part)
        page = await work.engine.catalog.compare(
            tenant, bucket, at, prefix=work.spec["prefix"], marker=marker, limit=past.PAGE
        )
        mine = [key for key in page if not end or key.key <= end]
        tally = past.Tally()

        begun = await past.begun(work)

        async def turn(ref: ObjectRef, key: KeyThen) -> None:
            await _turn(work, tally, ref, key, begun)

        items = [(ObjectRef(tenant, bucket, key.key), key) for key in mine]
        whole = await past.each(work, tally, items, turn)
        if not whole:
            return Step(part.cursor, counts=tally.broken_off())
        over = len(mine) < len(page) or len(page) < past.PAGE
        cursor = mine[-1].key if mine else part.cursor
        return Step(cursor, over, tally.counts(len(mine)), tally.failures)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        notes = {"gaps": 0, **work.job.counts.notes}
        return Finish({**notes, "unknown": _UNKNOWN})


async def _moment(work: Work) -> int:
    at = await past.moment_of(work)
    assert at is not None
    return at


async def _turn(work: Work, tally: past.Tally, ref: ObjectRef, key: KeyThen, begun: int | None) -> None:
    """Make one key what it was."""
    if key.gap:
        tally.notes["gaps"] += 1
    became = change(key.then, key.later)
    if became is None:
        tally.passed()
        return
    if begun is not None and key.changed > begun:
        tally.passed("newer")
        return
    context = work.engine.context
    if key.then is None:
        assert key.later is not None
        await context.catalog.hide_object(
            ref, key.later.id, marker_id=context.environment.new_id(), actor=past.actor_of(work)
        )
        tally.notes["hidden"] += 1
    else:
        over = "" if key.later is None else key.later.id
        await clone(context, key.then, ref, over=over, actor=past.actor_of(work))
        tally.notes["back"] += 1
    tally.done += 1
