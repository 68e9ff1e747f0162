"""One version of a backup put back into the engine: with its id, its times and all that was said about it.

Where its bytes go is decided by the rules in force now. Announce, move, commit, as every write: dying in between leaves
pending rows for `sweep`, and doing it again finds the version there.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.catalog.rows import digests_of, mapping_of
from holdfast.core.body import Body
from holdfast.core.errors import ConfigError, ConflictError, UnavailableError
from holdfast.core.failpoints import failpoint
from holdfast.core.types import Digests, ObjectRef, Replica, Segment, Version
from holdfast.engine.backups.mending import Mending
from holdfast.engine.backups.rows import Row, Source, segments_of
from holdfast.engine.context import Context
from holdfast.engine.facts import asking
from holdfast.engine.rules import check_encryption
from holdfast.engine.storing import store_segment
from holdfast.engine.targets import accepted, pending, target_of
from holdfast.policy.backups import Place, place_of

_TRIES: Final = 5  #: looks at a key that others write to meanwhile
_NOTHING: Final = (Place.THERE, Place.KEPT, Place.TAKEN)


def another_id(job_id: str, version_id: str) -> str:
    """Return the id of a version whose own is taken: the same each time that one job asks."""
    digest = sha256(f"{job_id} {version_id}".encode()).hexdigest()
    return f"{version_id[:14]}7{digest[:3]}-8{digest[3:6]}-{digest[6:18]}"


class Writing:
    """Puts versions of one set back.

    Args:
        moment: when the set was taken; what is newer stays on top unless `overwrite`.
        job_id: makes other ids where the own ones are taken.
    """

    def __init__(self, context: Context, *, moment: int, overwrite: bool, job_id: str, actor: Actor) -> None:
        self._context = context
        self._moment, self._overwrite = moment, overwrite
        self._job_id, self._actor = job_id, actor
        self._mending = Mending(context, reads=overwrite, actor=actor)

    async def write(self, ref: ObjectRef, row: Row, source: Source) -> Place:
        """Put a version back under `ref`, if that is to be done, and return where it is now.

        Raises:
            HoldfastError: it could not be; nothing is there of it then.
        """
        own = row
        place, row, head = await self.look(ref, row)
        if place is Place.THERE and segments_of(row):
            return Place.MENDED if await self._mending.mend(ref, row, source) else place
        if place in _NOTHING:
            return place
        if row["id"] != own["id"] and segments_of(
            own
        ):  # once more on top of what is newer: is it sound below, too?
            await self._mending.mend(ref, own, source)
        row = self._settled(row)
        replicas = await self._move(ref, row, source)
        failpoint("restore.after_store")
        try:
            place = await self._commit(ref, row, replicas, place, head)
        except BaseException:
            await self._context.abandon(replicas)
            raise
        if place in _NOTHING:
            await self._context.abandon(replicas)
        failpoint("restore.after_commit")
        return place

    async def _commit(
        self, ref: ObjectRef, row: Row, replicas: Sequence[Replica], place: Place, head: str
    ) -> Place:
        """Make it visible; where others wrote to the key meanwhile, look again: its bytes are there already."""
        for last in (False,) * _TRIES + (True,):
            try:
                made = await self._context.catalog.restore_version(
                    ref,
                    row,
                    [replica.id for replica in replicas],
                    over=head,
                    on_top=place is not Place.OWN,
                    grace=self._context.grace,
                    actor=self._actor,
                )
                return place if made else Place.THERE
            except ConflictError:
                again, same, head = await self.look(ref, row)
                if last or same["id"] != row["id"]:
                    raise
                if again in _NOTHING:
                    return again
                place = again
        raise AssertionError("unreachable")

    async def look(self, ref: ObjectRef, row: Row) -> tuple[Place, Row, str]:
        """Return where a version goes, the row that it gets there, and which version is the newest now."""
        found = await self._context.catalog.standing(ref, row["id"], row["seq"])
        if found.elsewhere:
            row = self._renamed(row)
            found = await self._context.catalog.standing(ref, row["id"], row["seq"])
        place = place_of(
            found,
            version_id=row["id"],
            seq=row["seq"],
            current=bool(row["current"]),
            moment=self._moment,
            overwrite=self._overwrite,
        )
        if place is Place.AGAIN:
            row = self._renamed(row)
            found = await self._context.catalog.standing(ref, row["id"], row["seq"])
            if found.here or found.elsewhere:
                place = Place.THERE
        return place, row, found.head

    def _renamed(self, row: Row) -> Row:
        """Return the version under another id; its only segment is called as it is."""
        return {**row, "id": another_id(self._job_id, row["id"])}

    def _settled(self, row: Row) -> Row:
        """Return the row without what means nothing here: a tier in a store that there is not."""
        tier = row.get("tier")
        return {**row, "tier": None} if tier and tier not in self._context.stores else row

    async def _move(self, ref: ObjectRef, row: Row, source: Source) -> Sequence[Replica]:
        segments = segments_of(row)
        if not segments:
            return ()
        context = self._context
        version = version_of(ref, row)
        bucket = await context.rules.bucket(ref.tenant, ref.bucket)
        plan = (await asking(context, bucket)).of_version(version, parts=len(segments))
        check_encryption(bucket, context.stores, plan.stores, encrypt=plan.encrypt)
        try:
            target = target_of(context, plan, bucket)
        except UnavailableError as error:
            if any(name not in context.stores or context.store(name).refusal for name in plan.stores):
                raise ConfigError(error.message, store=error.store) from None  # no later try helps by itself
            raise
        each = [pending(context, ref, target, version.id, one.id, one.size) for one in segments]
        made = [replica for some in each for replica in some]
        try:
            for replicas in each:
                await context.catalog.begin(ref, replicas, lease_until=await context.lease_until())
            failpoint("restore.after_begin")
            async with context.leased(made):
                for number, (segment, replicas) in enumerate(zip(segments, each, strict=True)):
                    await self._store(ref, version, number, segment, replicas, source)
        except BaseException:
            await context.abandon(made)
            raise
        accepted(context, target)
        return made

    async def _store(
        self,
        ref: ObjectRef,
        version: Version,
        number: int,
        segment: Segment,
        replicas: Sequence[Replica],
        source: Source,
    ) -> None:
        """Store one segment in every store of the target; what arrives must be what was once written."""
        known = Digests(segment.digests.sha256, None, segment.digests.crc64nvme)
        body = Body.of_stream(source(number), size=segment.size) if segment.size else Body.of_bytes(b"")
        await store_segment(
            self._context,
            ref,
            replicas,
            body,
            known,
            version.content_type,
            md5=False,
            part=number + 1 if version.parts else None,
            created=version.created,
        )


def version_of(ref: ObjectRef, row: Row) -> Version:
    """Return what placement asks about a version of a backup."""
    return Version(
        row["id"],
        ref,
        row["size"],
        row["etag"],
        row["created"],
        row["content_type"],
        mapping_of(row["metadata"]),
        mapping_of(row["tags"]),
        digests_of(row["sha256"], row["md5"], row["crc64nvme"]),
        parts=row["parts"],
        seq=row["seq"],
        storage_class=row.get("storage_class") or "",
        **({"tier": row["tier"]} if row.get("tier") else {}),
    )
