"""A run: a span of one segment, read from its copies until it is whole and proved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Backend, Forgetter, Store, StoreState
from holdfast.core.body import FileSlice, Reader
from holdfast.core.circuit import Circuit, unanswered
from holdfast.core.errors import (
    CorruptedError,
    HoldfastError,
    InvalidRangeError,
    NotFoundError,
    UnavailableError,
)
from holdfast.core.fetching import fetched, other_size
from holdfast.core.keyring import LockedError, ShreddedError
from holdfast.core.types import BlobInfo, ByteRange, ObjectRef, Replica, ReplicaState, Segment, Span
from holdfast.engine.checksums import Proof
from holdfast.engine.context import Context
from holdfast.engine.patience import AGAIN, AT_ONCE, flow_within, gave_up
from holdfast.policy.placement import Copy, reading_order

_WORTH: Final = 1 << 20  #: bytes that may always be fetched to prove a smaller span
_SMALL: Final = 256 << 10  #: bytes that a driver may read while it opens
_PENALTY: Final = 30.0  #: seconds that a store which failed is passed over while another copy exists


class Health:
    """Which stores failed lately, as this process saw it."""

    def __init__(self, context: Context) -> None:
        self._clock = context.environment.clock
        self._stores = context.stores
        self._until: dict[str, float] = {}

    def failed(self, store: str) -> None:
        """Pass `store` over for a while."""
        self._until[store] = self._clock.monotonic() + _PENALTY

    def well(self, store: str) -> None:
        """Forget that `store` failed: it is back."""
        self._until.pop(store, None)

    def failing(self, store: str) -> bool:
        """Tell whether `store` failed lately, or is left alone by its breaker."""
        if self._until and self._until.get(store, 0.0) > self._clock.monotonic():
            return True
        found = self._stores.get(store)
        return found is not None and found.circuit is not None and found.circuit.refuses


class Run:
    """A span of one segment, read from its copies until it is whole."""

    def __init__(
        self,
        context: Context,
        health: Health,
        ref: ObjectRef,
        segment: Segment,
        span: Span,
        copies: Sequence[Replica],
    ) -> None:
        self._context = context
        self._health = health
        self._ref = ref
        self._segment = segment
        self._copies = copies
        self.span = span
        self.aligned = _align(segment, span)
        self._left: list[Replica] | None = None
        self._entered: AbstractAsyncContextManager[Reader] | None = None
        self._reader: Reader | None = None
        self._replica: Replica | None = None
        self._errors: list[HoldfastError] = []
        self.asleep: list[Replica] = []  #: copies that have to be woken before they can be read
        self._unreached = False  #: whether another copy is perhaps sound and awake, only cannot be had now
        # a slow copy is left for another once for each other one: when all are slow, slow has to do
        self._hurries = len(copies) - 1 if context.patience else 0
        self._resorted = False
        self._broke: list[Replica] = []  #: copies whose store was gone at once, as after a restart
        self._hope = False  #: whether one of them is asked again: none, when all are known to be down
        # where there is but one, it is for the layers of its store to be patient
        self._pauses = iter(AGAIN if len(copies) > 1 else (0.0,))

    @property
    def file(self) -> FileSlice | None:
        """The span as an open file, if the copy that is open offers one."""
        file = None if self._reader is None else self._reader.file
        return file and FileSlice(
            file.fd, file.offset + self.span.offset - self.aligned.offset, self.span.length
        )

    @property
    def best(self) -> Replica | None:
        """The copy that is tried first, None when there is none."""
        return next(iter(self._candidates()), None)

    @property
    def trouble(self) -> str:
        """What was wrong with the copy that was tried last."""
        return self._errors[-1].message if self._errors else "there is none"

    @property
    def locked(self) -> HoldfastError | None:
        """Why a copy cannot be decrypted, if that is so: its key is not among ours, or was destroyed."""
        return next((one for one in self._errors if isinstance(one, LockedError | ShreddedError)), None)

    @property
    def sleeping(self) -> AsleepError | None:
        """Why it cannot be read, if that is because all that is left of it sleeps."""
        if not self.asleep or self._unreached:
            return None
        return AsleepError(
            f"{self._ref} sleeps in the archive class of store {self.asleep[0].store!r}, and has to be woken to be read",
            operation="get",
        )

    async def whole(self) -> bytes:
        """Return the span at once: for small ones."""
        data = None if self._reader is None else self._reader.data
        if data is not None and len(data) == self.aligned.length:
            try:
                if _provable(self._segment, self.aligned):
                    Proof(self._segment, self.aligned.offset).update(data)
                return self._trim(data, self.aligned.offset)
            except CorruptedError as error:
                await self._failed(error)
                await self.close()
        return b"".join([chunk async for chunk in self.chunks()])

    async def open(self, offset: int | None = None) -> Reader | None:
        """Open the next copy that can be opened, from `offset` within the segment; None when none is left."""
        start = self.aligned.offset if offset is None else offset
        whole = start == 0 and self.aligned.end == self._segment.size
        wish = None if whole else ByteRange(start, self.aligned.end - 1)
        if self._left is None:
            self._left = self._candidates()
        while self._left or await self._again() or await self._last_resort():
            self._replica = self._left.pop(0)
            began, known = self._context.environment.clock.monotonic(), self._refused
            try:
                # perhaps another process made it just now
                if self._replica.store not in self._context.stores:
                    await self._context.stores.refresh(at_once=True)
                store = self._context.store(self._replica.store)
                backend, size = store.for_blob(self._replica.blob), self._segment.size
                if whole and 0 < size <= self._context.settings.small_read:
                    entered: AbstractAsyncContextManager[Reader] = _Fetched(backend, self._replica.blob, size)
                else:
                    entered = backend.get(self._replica.blob, range=wish)
                self._reader = await self._enter(entered, store)
                self._entered = entered
                if self._reader.info.size != size:
                    raise other_size(store.name, self._replica.blob, self._reader.info.size, size)
                return self._reader
            except HoldfastError as error:  # whatever is wrong with one copy, another may be sound
                took = self._context.environment.clock.monotonic() - began
                if isinstance(error, UnavailableError) and took < AT_ONCE:
                    self._broke.append(self._replica)
                    self._hope = self._hope or not known
                await self._failed(error)
                await self.close()
        return None

    async def _enter(self, opening: AbstractAsyncContextManager[Reader], store: Store) -> Reader:
        """Open a copy; not for longer than there is patience, while another one is left to be tried."""
        if not self._left or not self._hurried(self._left):
            return await opening.__aenter__()
        try:
            async with asyncio.timeout(self._context.patience.of(self._at_once)):
                return await opening.__aenter__()
        except TimeoutError as error:
            self._hurries -= 1
            if self._replica is not None:
                self._left.append(self._replica)  # slow is better than nothing
            raise gave_up(store, self._name, "get", "gave", self._context.patience) from error

    def _hurried(self, others: Sequence[Replica]) -> bool:
        """Tell whether a slow copy is left for one of `others`: not for those whose store does not answer."""
        mine = None if self._replica is None else self._replica.id
        return self._hurries > 0 and any(
            copy.id != mine and copy.state is ReplicaState.LIVE and not self._facts(copy).failing
            for copy in others
        )

    @property
    def _name(self) -> str:
        return "" if self._replica is None else self._replica.blob

    @property
    def _at_once(self) -> int:
        """How many bytes may be read while a copy is opened."""
        return min(self.aligned.length, _SMALL)

    async def _again(self) -> bool:
        """When no copy is left, ask those again that were gone at once, later each time."""
        pause = next(self._pauses, None) if self._hope else None
        if pause is None:
            return False
        await self._context.environment.clock.sleep(pause)
        self._left, self._broke, self._hope = self._broke, [], False
        return True

    async def _last_resort(self) -> bool:
        """Look once, when no copy is left, for others: made meanwhile, or given up but not deleted yet, and as good."""
        if self._resorted:
            return False
        self._resorted = True
        try:
            found = await self._context.catalog.copies_of_segment(self._version_id, self._segment.id)
        except UnavailableError:
            return False
        tried = {copy.id for copy in self._copies}
        provable = _provable(self._segment, self.aligned)
        self._left = [
            copy
            for copy in sorted(found, key=lambda copy: copy.state is ReplicaState.DOOMED)
            if copy.id not in tried and (provable or copy.state is not ReplicaState.DOOMED)
        ]
        self._copies = [*self._copies, *self._left]
        return bool(self._left)

    @property
    def _version_id(self) -> str:
        return self._copies[0].version_id if self._copies else self._segment.id

    async def _flow(self, reader: Reader) -> AsyncIterator[bytes]:
        """Yield what is open, as it comes; a copy that drips is left for another, while there is one."""
        if self._replica is None or not self._hurried(self._copies):
            async for piece in reader:
                yield piece
        else:
            try:
                async for piece in flow_within(reader.chunks, reader.span.length, self._context.patience):
                    yield piece
            except TimeoutError as error:
                self._hurries -= 1
                store = self._context.store(self._replica.store)
                raise gave_up(store, self._name, "get", "gave", self._context.patience) from error

    async def close(self) -> None:
        """Close the copy that is open."""
        entered, self._entered, self._reader = self._entered, None, None
        if entered is not None:
            await entered.__aexit__(None, None, None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the span, each byte proved before, moving on to other copies where one breaks."""
        offset, stuck = self.aligned.offset, 0
        while offset < self.aligned.end:
            start, before = self._chunk_start(offset), offset
            try:
                if self._reader is None and await self.open(start) is None:
                    raise self._exhausted()
                async for piece in self._proved(start):
                    end = start + len(piece)
                    if wanted := self._trim(piece, start, offset):
                        yield wanted
                    start, offset = end, max(offset, end)
                if offset < self.aligned.end:
                    raise UnavailableError(f"the copy ended {self.aligned.end - offset} bytes early")
                self._flowed()
            except AsleepError:
                raise
            except HoldfastError as error:
                stuck = 0 if offset > before else stuck + 1
                await self._failed(error)
                await self.close()
                if stuck < self._context.settings.read_attempts * max(1, len(self._copies)):
                    self._left = self._candidates(after=self._replica)
                elif await self._last_resort():
                    stuck = 0
                else:
                    raise self._exhausted() from error

    def _candidates(self, after: Replica | None = None) -> list[Replica]:
        """Return the copies to try, best first, but `after` last."""
        ordered = list(self._copies)
        if len(ordered) > 1:
            ordered = [ordered[index] for index in reading_order([self._facts(copy) for copy in ordered])]
        if after is not None:
            ordered.sort(key=lambda replica: replica.id == after.id)
        return ordered

    def _facts(self, replica: Replica) -> Copy:
        store = self._context.stores.get(replica.store)
        down = store is None or store.state is StoreState.DOWN
        external = store is not None and "external" in store.labels
        suspect = replica.state is ReplicaState.SUSPECT
        return Copy(
            replica.store,
            suspect,
            external,
            down or self._health.failing(replica.store),
            replica.copy_number,
            replica.store in self._context.placement.behind,
        )

    async def _failed(self, error: HoldfastError) -> None:
        """Remember the failure: in the catalog when the copy itself is bad, in this process when its store is."""
        self._errors.append(error)
        replica = self._replica
        if replica is None or isinstance(error, LockedError | ShreddedError):
            return  # neither the copy nor its store is bad
        if isinstance(error, AsleepError):
            if replica.state is not ReplicaState.DOOMED and replica not in self.asleep:
                self.asleep.append(replica)
            return
        if not isinstance(error, NotFoundError | CorruptedError | InvalidRangeError):
            self._unreached = True
            self._health.failed(replica.store)
            circuit = self._circuit
            if circuit is not None and self._reader is not None and unanswered(error, replica.store):
                circuit.broke(error)
            return
        await self._forget(replica)
        if (
            isinstance(error, CorruptedError)
            and not self._context.outages.bad_again(replica.id)
            and self._left
        ):
            return  # once may be damage in transit; the next read of it decides
        await self.condemn()

    @property
    def _refused(self) -> bool:
        """Whether the store of the copy is known not to answer."""
        circuit = self._circuit
        return circuit is not None and circuit.refuses

    @property
    def _circuit(self) -> Circuit | None:
        store = None if self._replica is None else self._context.stores.get(self._replica.store)
        return None if store is None else store.circuit

    def _flowed(self) -> None:
        circuit = self._circuit
        if circuit is not None:
            circuit.flowed()

    async def _forget(self, replica: Replica) -> None:
        """Have the store itself asked next time, whatever a cache before it holds."""
        store = self._context.stores.get(replica.store)
        if store is not None and isinstance(store.backend, Forgetter):
            await store.backend.forget(replica.blob)

    async def condemn(self) -> None:
        """Mark the copy that is open: what it offered could not be read. Another is made where a sound one is left."""
        if self._replica is not None:
            with suppress(UnavailableError):
                await self._context.catalog.condemn(self._replica.id)

    def _exhausted(self) -> HoldfastError:
        last = self._errors[-1] if self._errors else None
        if (why := self.locked or self.sleeping) is not None:
            return why
        kind = CorruptedError if isinstance(last, CorruptedError) else UnavailableError
        error = kind(f"every copy of {self._ref} failed while it was read", operation="get")
        error.__cause__ = last
        return error

    def _chunk_start(self, offset: int) -> int:
        """Return where reading has to begin so that the byte at `offset` can be proved."""
        step = self._segment.chunk_size
        return offset // step * step if step and _provable(self._segment, self.aligned) else offset

    async def _proved(self, offset: int) -> AsyncIterator[bytes]:
        """Yield the open copy, which begins at `offset`, in pieces; each once all chunks that it touches are proved."""
        assert self._reader is not None
        if not _provable(self._segment, self.aligned):
            async for piece in self._flow(self._reader):
                yield piece
            return
        proof = Proof(self._segment, offset)
        waiting: list[bytes] = []
        async for piece in self._flow(self._reader):
            proof.update(piece)
            waiting.append(piece)
            while waiting and offset + len(waiting[0]) <= proof.done:
                offset += len(waiting[0])
                yield waiting.pop(0)
        if waiting:
            raise UnavailableError("the copy ended inside a chunk")

    def _trim(self, piece: bytes, start: int, seen: int = 0) -> bytes:
        """Return the part of `piece`, which begins at `start`, that lies in the wanted span and at or behind `seen`."""
        first = max(self.span.offset, seen) - start
        last = self.span.end - start
        return piece if first <= 0 and last >= len(piece) else piece[max(first, 0) : max(last, 0)]


class _Fetched(AbstractAsyncContextManager[Reader]):
    """A small copy that is read as a whole when it is opened."""

    __slots__ = ("_backend", "_name", "_size")

    def __init__(self, backend: Backend, name: str, size: int) -> None:
        self._backend, self._name, self._size = backend, name, size

    async def __aenter__(self) -> Reader:
        data = await fetched(self._backend, self._name, self._size)
        return Reader.of_bytes(BlobInfo(self._name, self._size, 0), Span(0, self._size), data)

    async def __aexit__(self, *_: object) -> None:
        return


def _align(segment: Segment, span: Span) -> Span:
    """Return the span to fetch: grown to whole chunks so that it can be proved, unless that is out of proportion."""
    step = segment.chunk_size or segment.size
    start = span.offset // step * step
    end = min(-(-span.end // step) * step, segment.size)
    return Span(start, end - start) if end - start <= max(_WORTH, 8 * span.length) else span


def _provable(segment: Segment, span: Span) -> bool:
    """Tell whether `span` is made of whole chunks with known checksums."""
    if not segment.chunk_size and segment.digests.crc64nvme is None:
        return False
    step = segment.chunk_size or segment.size
    return span.offset % step == 0 and (span.end % step == 0 or span.end == segment.size)
