"""Bytes of a version put back that is there, and whose bytes are not: new copies of it, out of a backup.

The version stays what it is. Its new copies are announced, written and adopted as those of `reconcile`; the bad ones are
condemned after that, which owes the rest: further copies, and the removal of what is no longer wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.body import Body
from holdfast.core.directly import directly
from holdfast.core.errors import CorruptedError, HoldfastError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.findings import Provable
from holdfast.core.names import INLINE
from holdfast.core.types import Digests, Located, ObjectRef, Replica, ReplicaState, Segment
from holdfast.engine import proving
from holdfast.engine.backups.rows import Row, Source, segments_of
from holdfast.engine.context import Context
from holdfast.engine.facts import asking
from holdfast.engine.proving import Proof, Verdict
from holdfast.engine.rules import check_encryption
from holdfast.engine.storing import store_segment
from holdfast.engine.targets import accepted, pending, target_of

_BAD: Final = Proof(Verdict.BAD, detail="its bytes were lost; they were put back from a backup")


@dataclass(frozen=True, slots=True)
class Lost:
    """A segment of which no copy is sound; it is number `number` of its version."""

    number: int
    segment: Segment
    copies: Sequence[Replica]


class Mending:
    """Puts lost bytes of versions back.

    Args:
        reads: a copy is sound only when it was read whole; else when its store has it, or does not answer.
    """

    def __init__(self, context: Context, *, reads: bool, actor: Actor) -> None:
        self._context, self._reads, self._actor = context, reads, actor

    async def mend(self, ref: ObjectRef, row: Row, source: Source) -> bool:
        """Write what is lost of a version anew, and return whether anything was; False too when it is gone itself.

        Raises:
            HoldfastError: it could not be; what is there is as it was then.
        """
        try:
            located = await self._context.catalog.resolve(ref, version_id=row["id"])
        except NotFoundError:
            return False
        lost = await self._lost(ref, located)
        if not lost:
            return False
        known = segments_of(row)
        if [one.size for one in known] != [one.size for one in located.segments]:
            raise CorruptedError("the version that is there and that of the backup are not the same")
        made = await self._write(ref, located, lost, known, source)
        failpoint("restore.after_store")
        adopted = await self._context.catalog.adopt(
            ref, row["id"], [one.id for one in made], grace=self._context.grace, actor=self._actor
        )
        if not adopted.there or adopted.lost:
            await self._context.abandon(made)
            return False
        for one in lost:
            for copy in one.copies:
                await proving.condemn(self._context, self._provable(ref, located, one, copy), _BAD)
        return True

    async def _lost(self, ref: ObjectRef, located: Located) -> list[Lost]:
        found = []
        for number, segment in enumerate(located.segments):
            copies = [copy for copy in located.replicas if copy.segment_id == segment.id]
            lost = Lost(number, segment, copies)
            for copy in copies:
                if copy.state is ReplicaState.LIVE and await self._is_sound(ref, located, lost, copy):
                    break
            else:
                found.append(lost)
        return found

    async def _is_sound(self, ref: ObjectRef, located: Located, lost: Lost, copy: Replica) -> bool:
        if copy.store not in self._context.stores and copy.store != INLINE:
            return False
        if self._reads:
            proof = await proving.prove(self._context, self._provable(ref, located, lost, copy))
            return proof.verdict in (Verdict.SOUND, Verdict.LOCKED)
        try:
            with directly():
                await self._context.store(copy.store).for_blob(copy.blob).head(copy.blob)
        except NotFoundError:
            return False
        except HoldfastError:  # whether it is there cannot be told now
            return True
        return True

    def _provable(self, ref: ObjectRef, located: Located, lost: Lost, copy: Replica) -> Provable:
        return Provable(copy, ref, lost.segment.digests, None, located.version.content_type)

    async def _write(
        self, ref: ObjectRef, located: Located, lost: Sequence[Lost], known: Sequence[Segment], source: Source
    ) -> Sequence[Replica]:
        """Write new copies of segments where the rules in force say; durable then, and nobody reads them yet."""
        context, version = self._context, located.version
        bucket = await context.rules.bucket(ref.tenant, ref.bucket)
        plan = (await asking(context, bucket)).of_version(version, parts=len(located.segments))
        check_encryption(bucket, context.stores, plan.stores, encrypt=plan.encrypt)
        target = target_of(context, plan, bucket)
        each = [pending(context, ref, target, version.id, one.segment.id, one.segment.size) for one in lost]
        made = [replica for some in each for replica in some]
        try:
            for replicas in each:
                await context.catalog.begin(ref, replicas, lease_until=await context.lease_until())
            failpoint("restore.after_begin")
            async with context.leased(made):
                for one, replicas in zip(lost, each, strict=True):
                    digests = _either(one.segment.digests, known[one.number].digests)
                    size = one.segment.size
                    body = Body.of_stream(source(one.number), size=size) if size else Body.of_bytes(b"")
                    await store_segment(
                        context,
                        ref,
                        replicas,
                        body,
                        digests,
                        version.content_type,
                        md5=False,
                        part=one.number + 1 if version.parts else None,
                        created=version.created,
                    )
        except BaseException:
            await context.abandon(made)
            raise
        accepted(context, target)
        return made


def _either(ours: Digests, theirs: Digests) -> Digests:
    """Return what the bytes must be: as the version says that is there, else as the backup does."""
    held = ours if ours.sha256 is not None or ours.crc64nvme is not None else theirs
    return replace(held, md5=None)
