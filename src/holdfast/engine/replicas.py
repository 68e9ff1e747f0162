"""`reconcile`: the copies that a version has, made equal to those that its plan wants.

One segment after the other: announce the missing copies, move the bytes, read them back, adopt them in a transaction
that looks once more whether the version is still there. A copy that does not read as what was written is given up. Only a transaction that sees every wanted copy dooms the others and pays the
version's debt. Dying in between leaves copies that are live already, which the next run does not make again, and
pending rows, which `sweep` collects. Two at once make a copy twice; the second is doomed when it is adopted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.catalog.contract import Actor, Adopted, Owed
from holdfast.core.asleep import AsleepError
from holdfast.core.backend import CopierFrom, Describer
from holdfast.core.body import CHUNK, Body
from holdfast.core.errors import (
    CorruptedError,
    HoldfastError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.failpoints import failpoint
from holdfast.core.names import is_sealed
from holdfast.core.types import Digests, Located, ObjectRef, Origin, Replica, ReplicaState, Segment, Span
from holdfast.engine.blame import UnreadableError
from holdfast.engine.context import Context
from holdfast.engine.facts import asking
from holdfast.engine.reading_back import read_back
from holdfast.engine.rules import check_encryption
from holdfast.engine.run import Health, Run
from holdfast.engine.storing import more_of, store_segment, told_of
from holdfast.engine.targets import accepted_by, blamed, trouble_of
from holdfast.engine.waking import ASLEEP, FIRST, SleepingError, sleeps, wake
from holdfast.policy.placement import Plan

_WORTH: Final = (
    1 << 20
)  #: bytes from which on a store is asked to copy by itself: it takes requests of its own
#: Why a store has not begun to copy by itself: it is sent then, from this copy or another one.
_NOT_BEGUN: Final = (NotFoundError, UnsupportedError, PermissionDeniedError, AsleepError)
ACTOR: Final = Actor("reconcile")  #: who it was, in the audit


@dataclass(slots=True)
class Reconciled:
    """What was done for one version.

    `settled`: it is where its plan wants it, and nowhere else. `gone`: it was removed meanwhile. `trouble` says why a
    copy could not be made; what could was made.
    """

    copied: int = 0  #: blobs
    bytes: int = 0
    doomed: int = 0  #: copies that are no longer wanted
    settled: bool = False
    gone: bool = False
    changed: bool = False  #: its copies were changed by somebody else meanwhile
    waking: bool = False  #: what is to be copied sleeps in an archive class, and is being woken
    troubles: list[str] = field(default_factory=list)

    @property
    def comes(self) -> bool:
        """Whether nothing is wrong but that it has to be awake before it can be copied."""
        return self.waking and len(set(self.troubles)) == 1

    def add(self, earlier: Reconciled) -> None:
        """Count what an earlier try did, too."""
        self.copied += earlier.copied
        self.bytes += earlier.bytes
        self.doomed += earlier.doomed

    @property
    def trouble(self) -> str:
        """What went wrong, each thing once; "" when nothing did."""
        return "; ".join(dict.fromkeys(self.troubles))


async def reconcile(context: Context, ref: ObjectRef, version_id: str, *, actor: Actor = ACTOR) -> Reconciled:
    """Bring a version where the placement in force wants it. What is wrong with a store is told, not raised.

    Raises:
        UnavailableError: the catalog does not answer.
    """
    report = await _reconciled(context, ref, version_id, actor)
    if report.changed:  # by another process, which perhaps knows of a move that we do not
        await context.placing.look_at_moves()
        first, report = report, await _reconciled(context, ref, version_id, actor)
        report.add(first)
    if report.changed and not report.troubles:
        report.troubles.append("its copies changed meanwhile")
    return report


async def _reconciled(context: Context, ref: ObjectRef, version_id: str, actor: Actor) -> Reconciled:
    report = Reconciled()
    try:
        located = await context.catalog.resolve(ref, version_id=version_id, once=True)
        bucket = await context.rules.bucket(ref.tenant, ref.bucket)
        asked = await asking(context, bucket)
        plan = asked.of_version(located.version, parts=len(located.segments))
        check_encryption(bucket, context.stores, plan.stores, encrypt=plan.encrypt)
    except NotFoundError:
        report.gone = True
        return report
    except UnavailableError:
        raise
    except HoldfastError as error:
        report.troubles.append(error.message)
        return report
    await _Move(context, ref, located, plan, report, actor).run()
    return report


def sealed_in(context: Context, plan: Plan) -> tuple[str, ...]:
    """Return the stores of `plan` in which only encrypted copies will do."""
    stores = context.stores
    return tuple(
        name
        for name in plan.stores
        if plan.encrypt or ((store := stores.get(name)) is not None and store.encrypt)
    )


class _Move:
    """One version on its way to the stores of a plan."""

    def __init__(
        self,
        context: Context,
        ref: ObjectRef,
        located: Located,
        plan: Plan,
        report: Reconciled,
        actor: Actor,
    ) -> None:
        self._context = context
        self._ref = ref
        self._located = located
        self._plan = plan
        self._report = report
        self._actor = actor
        self._health = Health(context)
        self._sealed = sealed_in(context, plan)
        self._by_itself = (
            False  #: the target copied it by itself: what is wrong with it may be wrong with its source
        )
        self._sends = False  #: bytes are sent, and proved on their way
        self._wanted: set[tuple[str, str]] = set()  #: segments that are missing in a store
        self._places = {segment.id: number for number, segment in enumerate(located.segments, 1)}

    async def run(self) -> None:
        """Make what is missing, then let go of what is in excess."""
        missing = self._missing()
        self._wanted = {(segment.id, store) for segment, store in missing}
        if missing and await self._sleeps(*missing[0]):
            return
        lost: set[str] = set()
        for number, (segment, store) in enumerate(missing, 1):
            last = number == len(missing) and not lost
            if store not in lost and not await self._copy(segment, store, last=last):
                if self._report.gone:
                    return
                lost.add(store)
        if self._report.troubles or self._report.settled:
            return
        self._take_in(await self._adopt((), last=True))
        if not self._report.settled and not self._report.gone:
            self._report.changed = True

    def _missing(self) -> list[tuple[Segment, str]]:
        """Return the copies that are wanted and not there, store by store; those of stores that take none are told."""
        sound = {
            (replica.segment_id, replica.store)
            for replica in self._located.replicas
            if replica.state is ReplicaState.LIVE
            and (is_sealed(replica.blob) or replica.store not in self._sealed)
        }
        found = []
        for name in self._plan.stores:
            wanted = [segment for segment in self._located.segments if (segment.id, name) not in sound]
            if wanted and (trouble := trouble_of(self._context, name)):
                self._report.troubles.append(f"store {name!r} {trouble}")
            else:
                found += [(segment, name) for segment in wanted]
        return found

    async def _copy(self, segment: Segment, store: str, *, last: bool) -> bool:
        """Make one copy; False when it could not be made."""
        context, version = self._context, self._located.version
        number = self._plan.stores.index(store)
        try:
            made = context.replica(
                self._ref,
                context.store(store),
                version.id,
                segment.id,
                segment.size,
                number,
                sealed=self._plan.encrypt,
            )
        except HoldfastError as error:
            self._report.troubles.append(f"store {store!r}: {error.message}")
            return False
        try:
            await context.catalog.begin(self._ref, [made], lease_until=await context.lease_until())
            failpoint("reconcile.after_begin")
            written = await self._move(segment, made)
            failpoint("reconcile.after_store")
            await read_back(context, written, made, sent=not self._by_itself)
            if segment.digests.sha256 is None:  # it was adopted, and nobody had read it before
                known = (written.digests, written.chunk_size, written.chunk_crcs)
                await context.catalog.learn_digests(version.id, segment.id, *known)
            adopted = await self._adopt([made.id], last=last)
        except NotFoundError:  # the bucket went
            self._report.gone = True
            return False
        except SleepingError as error:
            await context.abandon([made])
            await self._wake(error.copies, store)
            return False
        except HoldfastError as error:
            await context.abandon([made])
            if self._by_itself and isinstance(error, CorruptedError):
                self._by_itself, self._sends = False, True
                return await self._copy(segment, store, last=last)
            blamed(context, [store], error)
            self._report.troubles.append(f"store {store!r}: {error.message}")
            return False
        except BaseException:
            await context.abandon([made])
            raise
        failpoint("reconcile.after_adopt")
        accepted_by(context, [store])
        self._take_in(adopted)
        if self._report.gone or adopted.lost:
            await context.abandon([made])
            if adopted.lost:
                self._report.troubles.append("a copy took too long and was given up")
            return False
        self._wanted.discard((segment.id, store))
        self._report.copied += 1
        self._report.bytes += segment.size
        return True

    async def _sleeps(self, segment: Segment, target: str) -> bool:
        """Tell, before anything is announced, whether a segment sleeps wherever it is; then all is being woken."""
        copies = [copy for copy in self._located.replicas if copy.segment_id == segment.id]
        if not segment.size or not copies or not all(map(self._may_sleep, copies)):
            return False
        run = Run(self._context, self._health, self._ref, segment, Span(0, 1), copies)
        try:
            if await run.open() is not None or run.sleeping is None:
                return False
        finally:
            await run.close()
        await self._wake(run.asleep, target)
        return True

    def _may_sleep(self, copy: Replica) -> bool:
        held = self._context.stores.get(copy.store)
        return held is not None and sleeps(held.backend)

    async def _wake(self, asleep: Sequence[Replica], target: str) -> None:
        """Have all that is to go to `target` woken where this part of it sleeps: it comes when it is tried again."""
        context, version = self._context, self._located.version
        stores = {copy.store for copy in asleep}
        others = [
            copy
            for copy in self._located.replicas
            if copy.store in stores and (copy.segment_id, target) in self._wanted and copy not in asleep
        ]
        try:
            store = await wake(context, [*asleep, *others])
        except HoldfastError as error:
            self._report.troubles.append(f"store {error.store or asleep[0].store!r}: {error.message}")
            return
        trouble = (
            f"it sleeps in the archive class of store {store!r}, which was asked to wake it; it is copied when it is"
            " awake, some hours later"
        )
        owed = Owed(self._plan.rule, ASLEEP)
        await context.catalog.owe(version.id, owed, later=FIRST, trouble=trouble)
        self._report.waking = True
        self._report.troubles.append(trouble)

    async def _move(self, segment: Segment, made: Replica) -> Segment:
        """Read the segment from its copies, each chunk proved, and store it; return what was sent, durable then."""
        if not segment.size:
            return await self._store(segment, made, Body.of_bytes(b""))
        copies = [replica for replica in self._located.replicas if replica.segment_id == segment.id]
        # what was adopted and never read has no digest that would tell a bad copy from a good one
        provable = segment.size >= _WORTH and segment.digests.sha256 is not None
        if provable and not self._sends and await self._copied_there(segment, made, copies):
            return segment
        whole = Span(0, segment.size)
        if segment.size <= CHUNK:  # sent in one piece
            run = Run(self._context, self._health, self._ref, segment, whole, copies)
            return await self._store(segment, made, Body.of_bytes(await _read(run, copies)))
        runs: list[Run] = []

        async def chunks() -> AsyncIterator[bytes]:
            await _close(runs)  # a pass that broke off
            runs.append(Run(self._context, self._health, self._ref, segment, whole, copies))
            async for chunk in _readable(runs[0], copies):
                yield chunk

        try:
            body = Body(chunks, segment.size, True).expecting(size=segment.size)
            return await self._store(segment, made, body)
        finally:
            await _close(runs)

    async def _copied_there(self, segment: Segment, made: Replica, copies: Sequence[Replica]) -> bool:
        """Have the target copy it by itself from a sound copy that it can reach; False when it has to be sent there.

        Encrypted blobs are sent: each has a key of its own.
        """
        context = self._context
        there = context.store(made.store).for_blob(made.blob)
        if is_sealed(made.blob) or not isinstance(there, CopierFrom) or sleeps(there):
            return False  # what sleeps there cannot be read back
        for copy in copies:
            held = context.stores.get(copy.store)
            if held is None or copy.state is not ReplicaState.LIVE or is_sealed(copy.blob):
                continue
            if held.name == made.store or sleeps(held.backend) or not there.can_copy_from(held.backend):
                continue
            self._by_itself = True
            try:
                if isinstance(there, Describer):
                    await there.describe(made.blob, self._told(segment, made))
                async with context.leased([made]):
                    await there.copy_from(held.backend, copy.blob, made.blob)
            except _NOT_BEGUN:
                self._by_itself = False
                continue
            except CorruptedError:
                raise
            except HoldfastError as error:
                if error.store != held.name:
                    raise
                self._by_itself = False  # the store that it was to be copied from failed; another one may not
                continue
            return True
        return False

    def _told(self, segment: Segment, made: Replica) -> Origin:
        version = self._located.version
        return told_of(
            self._context,
            self._ref,
            made,
            part=self._places[segment.id] if version.parts else None,
            created=version.created,
            sha256=segment.digests.sha256,
            more=more_of(version, segment, len(self._located.segments)),
        )

    async def _store(self, segment: Segment, made: Replica, body: Body) -> Segment:
        """Store the segment and return what it is to be read back as."""
        version = self._located.version
        # chunk by chunk as it was read, and as a whole when it is read back
        proved = None if None in (segment.digests.sha256, segment.digests.crc64nvme) else segment
        known = Digests(sha256=segment.digests.sha256, crc64nvme=segment.digests.crc64nvme)
        part = self._places[segment.id] if version.parts else None
        written = await store_segment(
            self._context,
            self._ref,
            [made],
            body,
            known,
            version.content_type,
            md5=False,
            part=part,
            created=version.created,
            more=more_of(version, segment, len(self._located.segments)),
            proved=proved,
        )
        return written.segment

    async def _adopt(self, made: Sequence[str], *, last: bool) -> Adopted:
        context = self._context
        return await context.catalog.adopt(
            self._ref,
            self._located.version.id,
            made,
            wanted=self._plan.stores if last and not self._report.troubles else (),
            sealed=self._sealed,
            grace=context.grace,
            actor=self._actor,
        )

    def _take_in(self, adopted: Adopted) -> None:
        self._report.gone = self._report.gone or not adopted.there
        self._report.settled = self._report.settled or adopted.settled
        self._report.doomed += adopted.doomed


async def _close(runs: list[Run]) -> None:
    while runs:
        await runs.pop().close()


async def _read(run: Run, copies: Sequence[Replica]) -> bytes:
    """Return a small segment, and close the run. Raises what `_readable` does."""
    try:
        await run.open()
        return await run.whole()
    except HoldfastError as error:
        raise _unreadable(run, copies) from error
    finally:
        await run.close()


async def _readable(run: Run, copies: Sequence[Replica]) -> AsyncIterator[bytes]:
    """Yield a segment.

    Raises:
        SleepingError: it has to be woken before. UnreadableError: none of these stores gives it.
    """
    try:
        async for chunk in run.chunks():
            yield chunk
    except HoldfastError as error:
        raise _unreadable(run, copies) from error


def _unreadable(run: Run, copies: Sequence[Replica]) -> HoldfastError:
    if run.sleeping is not None:
        return SleepingError(run.asleep)
    stores = " or ".join(repr(name) for name in dict.fromkeys(copy.store for copy in copies))
    return UnreadableError(f"what is to go there cannot be read from {stores or 'any store'}: {run.trouble}")
