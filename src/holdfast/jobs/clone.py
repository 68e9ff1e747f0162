"""The job `clone`: a bucket's objects, as they are or as they were at a moment, in another bucket; no bytes move.

What is in the target under a key already stays, so a step that is done twice finds its own work, and leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Part
from holdfast.core.names import check_bucket
from holdfast.core.types import Bucket, ListPage, ObjectRef, Version
from holdfast.engine import buckets
from holdfast.engine.cloning import clone
from holdfast.engine.engine import Engine
from holdfast.jobs import looking, past, ranges, spec
from holdfast.jobs.kinds import Ask, Finish, Forecast, Range, Step, Work


class CloneBucket:
    """The objects of a bucket, now or at a moment, in a new bucket of the same tenant, without copying their bytes."""

    name = "clone"
    verb = "create_bucket"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "tenant", "bucket", "target", "prefix", "at", "snapshot")
        said = past.said(given, needed=False)
        target = check_bucket(spec.text(given, "target", None))
        if target == said["bucket"]:
            raise InvalidRequestError("the target is another bucket than the source")
        return {**said, "target": target}

    def asks(self, said: Mapping[str, Any]) -> Sequence[Ask]:
        """Return the permissions: the source is read, the target is made and written."""
        source = [Ask(verb, said["bucket"], prefix=said["prefix"]) for verb in ("list", "versions", "get")]
        return [*source, Ask("create_bucket", said["target"]), Ask("put", said["target"])]

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.snapshot(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        source, at = await _source(work)
        await _free(work, source)
        count = size = 0
        marker, more = "", True
        while more:
            page = await _page(work, source, at, marker)
            count += len(page.items)
            size += sum(version.size for version in page.items)
            marker, more = page.next_marker, page.truncated
        notes = [f"no bytes are copied; {size} bytes count against the quotas of {work.spec['target']}"]
        return Forecast(objects=count, notes=notes)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        source, _ = await _source(work)
        if not await _free(work, source):
            target = work.spec["target"]
            await buckets.create(
                work.engine.context,
                source.tenant,
                target,
                versioning=source.versioning,
                settings=source.settings,
                actor=past.actor_of(work),
            )
        return await ranges.split(work.engine, tenant=source.tenant, bucket=source.name)

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        source, at = await _source(work)
        marker, end = past.keys_of(part)
        page = await _page(work, source, at, marker)
        mine = [version for version in page.items if not end or version.ref.key <= end]
        tally = past.Tally()

        async def make(ref: ObjectRef, version: Version) -> None:
            await _make(work, tally, ref, version, follow=not source.versioning)

        target = work.spec["target"]
        items = [(ObjectRef(source.tenant, target, version.ref.key), version) for version in mine]
        whole = await past.each(work, tally, items, make)
        if not whole:
            return Step(part.cursor, counts=tally.broken_off())
        over = len(mine) < len(page.items) or not page.truncated
        cursor = mine[-1].ref.key if mine else part.cursor
        return Step(cursor, over, tally.counts(len(mine)), tally.failures)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        return Finish({"target": work.spec["target"], **work.job.counts.notes})


async def _source(work: Work) -> tuple[Bucket, int | None]:
    """Return the bucket that is cloned, and as of when; None: as it is found."""
    at = await past.moment_of(work)
    source = await work.engine.catalog.bucket(*past.place_of(work))
    if at is None and source.versioning:
        at = await past.begun(work)
    return source, at


async def _free(work: Work, source: Bucket) -> bool:
    """Return whether the target is there.

    Raises:
        ConflictError: there is something in it.
    """
    try:
        _, usage = await work.engine.catalog.bucket_and_usage(source.tenant, work.spec["target"])
    except NotFoundError:
        return False
    if usage.versions:
        raise ConflictError("the target holds objects; clone into a new bucket", name=work.spec["target"])
    return True


async def _page(work: Work, source: Bucket, at: int | None, marker: str) -> ListPage:
    catalog, prefix = work.engine.catalog, work.spec["prefix"]
    if at is None:
        return await catalog.list_objects(
            source.tenant, source.name, prefix=prefix, marker=marker, limit=past.PAGE
        )
    return await catalog.list_at(
        source.tenant, source.name, at, prefix=prefix, marker=marker, limit=past.PAGE
    )


async def _make(work: Work, tally: past.Tally, ref: ObjectRef, version: Version, *, follow: bool) -> None:
    """Clone one object; with `follow`, what took its place where its bucket keeps no versions."""
    context, actor = work.engine.context, past.actor_of(work)
    try:
        made = await clone(context, version, ref, over="", actor=actor)
    except NotFoundError:
        if not follow:
            raise
        now = (await context.catalog.resolve(version.ref)).version
        made = await clone(context, now, ref, over="", actor=actor)
    tally.done += 1
    tally.notes["bytes"] += made.size
