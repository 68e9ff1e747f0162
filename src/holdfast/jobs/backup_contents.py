"""A step of a backup after its rows: one file of contents, and the index of what it has and of what lies in others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from holdfast.core.backend import Store
from holdfast.core.errors import HoldfastError
from holdfast.core.jobs import Counts, ItemFailure
from holdfast.core.types import Segment
from holdfast.engine.backups.packing import Packing
from holdfast.engine.backups.reading import Segments, Wanted
from holdfast.engine.backups.rows import (
    NOWHERE,
    OWN,
    VERSIONS,
    Index,
    Row,
    Stretch,
    covers,
    ref_of,
    segments_of,
)
from holdfast.engine.backups.sets import prefix_of, write_json
from holdfast.jobs.backup_rows import Beat
from holdfast.jobs.backup_spec import Cursor, Done, Plan
from holdfast.jobs.kinds import Work

_BATCH: Final = 64  #: versions that are looked at together
_LINES: Final = 50_000  #: of the index of one step
_TRIES: Final = 3  #: at a segment whose store does not answer
_PAUSE: Final = 2.0  #: seconds before the next one


@dataclass(slots=True)
class _Tally:
    examined: int = 0
    done: int = 0
    skipped: int = 0
    bytes: int = 0
    missing: int = 0
    failures: list[ItemFailure] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)

    @property
    def counts(self) -> Counts:
        return Counts(self.examined, self.done, self.skipped, len(self.failures), self.bytes)


class ContentStep:
    """Writes one file of contents. `cursor` is where it stands at any time; call `run` once.

    Args:
        rows: the versions from the cursor on, by id. parent: the index of the set that this one goes on from.
    """

    def __init__(
        self,
        work: Work,
        store: Store,
        set_id: str,
        plan: Plan,
        cursor: Cursor,
        rows: AsyncIterator[tuple[str, Row]],
        parent: Index | None,
    ) -> None:
        self._work, self._store, self._set_id, self._plan = work, store, set_id, plan
        self._context = work.engine.context
        self._rows, self._parent = rows, parent
        self.cursor = cursor
        self.tally = _Tally()
        self._nonce = self._context.environment.new_id()[-12:]
        self._number = cursor.steps + 1
        self._data_name = f"data-{self._number:06d}-{self._nonce}"
        self._packing = Packing(plan.compression, self._context.executor)
        self._lines: list[Stretch] = []
        self._beat = Beat(work)

    async def run(self) -> None:
        """Write until the file is large enough, the job is to stop, or nothing is left (then the cursor is `over`)."""
        try:
            while not self._full():
                batch = await self._batch()
                if not batch:
                    self.cursor = replace(self.cursor, over=True)
                    break
                await self._write_batch(batch)
            await self._put()
        finally:
            self._packing.close()

    def _full(self) -> bool:
        if self._packing.size >= self._plan.file_size or len(self._lines) >= _LINES:
            return True
        return self._work.stopping()

    async def _batch(self) -> list[tuple[Row, list[Segment], list[Stretch]]]:
        """Return the next versions, their segments, and where the parent has these; not where it has them not all."""
        batch: list[tuple[Row, list[Segment], list[Stretch]]] = []
        async for name, row in self._rows:
            assert name == VERSIONS
            segments = segments_of(row)
            held = await self._parent.of(row["id"]) if self._parent is not None and segments else []
            batch.append((row, segments, held if held and covers(held, segments) else []))
            if len(batch) >= _BATCH:
                break
        return batch

    async def _write_batch(self, batch: Sequence[tuple[Row, list[Segment], list[Stretch]]]) -> None:
        """Write versions as far as they fit. The rows read for the rest are read again by the next step."""
        wanted = []
        position, offset = self.cursor.position, self.cursor.offset
        for row, segments, held in batch:
            if not held:
                for place, segment in enumerate(segments[position:], position):
                    wanted.append(Wanted(ref_of(row), row["id"], place, segment, offset))
                    offset = 0
            position = offset = 0
        async with aclosing(Segments(self._context).parts(wanted)) as parts:
            for row, segments, held in batch:
                if held or not segments:
                    self._inherit(row, held)
                elif not await self._write(row, segments, parts):
                    return
                self.tally.examined += 1
                self.cursor = replace(self.cursor, after=row["id"], position=0, offset=0)
                await self._beat()
                if self._full():
                    return

    def _inherit(self, row: Row, held: Sequence[Stretch]) -> None:
        self._lines += held
        self.tally.needs |= {one.set_id for one in held}
        self.tally.skipped += 1

    async def _write(self, row: Row, segments: Sequence[Segment], parts: Any) -> bool:
        """Write a version; False when the file was full before its end."""
        if not await self._work.room():
            return False
        whole = True
        while self.cursor.position < len(segments):
            size = segments[self.cursor.position].size
            one, offset, found = await anext(parts)
            if isinstance(found, HoldfastError):
                found = await self._again(replace(one, offset=self.cursor.offset), found)
                whole = whole and found is None
                self._step(size, size)
                continue
            await self._add(one, offset, found)
            self._step(offset + len(found), size)
            if self.cursor.position < len(segments) and self._full():
                return False
        self.tally.done += int(whole)
        return True

    def _step(self, reached: int, size: int) -> None:
        """Note how far the version is: `reached` bytes of the segment."""
        place = self.cursor.position
        done = reached >= size
        self.cursor = replace(self.cursor, position=place + done, offset=0 if done else reached)

    async def _again(self, one: Wanted, why: HoldfastError) -> HoldfastError | None:
        """Try a segment anew that could not be read; what it failed with in the end, None when it is written."""
        for number in range(1, _TRIES):
            if not why.retryable or self._work.stopping():
                break
            await self._context.environment.clock.sleep(_PAUSE * number)
            failed = None
            async with aclosing(Segments(self._context).parts([one])) as parts:
                async for _, offset, found in parts:
                    if isinstance(found, HoldfastError):
                        failed = found
                        break
                    await self._add(one, offset, found)
                    one = replace(one, offset=offset + len(found))
            if failed is None:
                return None
            why = failed
        self._miss(one, why)
        return why

    async def _add(self, one: Wanted, offset: int, payload: bytes) -> None:
        if not payload:
            return
        await self._packing.add({"v": one.version_id, "p": one.position, "o": offset}, payload)
        await self._work.room(0, len(payload))
        self.tally.bytes += len(payload)
        last = self._lines[-1] if self._lines else None
        if (
            last is not None
            and (last.version, last.position, last.set_id) == (one.version_id, one.position, OWN)
            and last.offset + last.length == offset
        ):
            self._lines[-1] = replace(last, length=last.length + len(payload))
        else:
            self._lines.append(
                Stretch(one.version_id, one.position, offset, len(payload), OWN, self._data_name)
            )
        await self._beat()

    def _miss(self, one: Wanted, why: HoldfastError) -> None:
        left = one.segment.size - one.offset
        self._lines.append(Stretch(one.version_id, one.position, one.offset, left, OWN, NOWHERE))
        self.tally.missing += 1
        ref = one.ref
        self.tally.failures.append(
            ItemFailure(ref.bucket, ref.key, one.version_id, why.code, why.message, tenant=ref.tenant)
        )

    async def _put(self) -> None:
        """Put the file, then its index, then the note that both are whole; only then does the cursor count them."""
        if not self._lines:
            return
        prefix, data = prefix_of(self._set_id), None
        if not self._packing.empty:
            data = await self._packing.put(
                self._store.backend, prefix + self._data_name, recipients=self._plan.recipients
            )
        await self._beat()
        index = Packing(self._plan.compression, self._context.executor)
        try:
            for start in range(0, len(self._lines), 1000):
                lines = "".join(one.line for one in self._lines[start : start + 1000])
                await index.add({"index": True}, lines.encode())
            name = f"{prefix}index-{self._number:06d}-{self._nonce}"
            piece = replace(await index.put(self._store.backend, name), last=self._lines[-1].version)
        finally:
            index.close()
        tally = self.tally
        counts = {"bytes": tally.bytes, "missing": tally.missing, "written": tally.done}
        done = Done(self._number, self._nonce, self.cursor.nonce, piece, data, counts, sorted(tally.needs))
        await write_json(
            self._store.backend, step_name(self._set_id, self._number, self._nonce), document(done)
        )
        self.cursor = replace(self.cursor, steps=self._number, nonce=self._nonce)


def step_name(set_id: str, number: int, nonce: str) -> str:
    """Return the name of the note that a step is whole."""
    return f"{prefix_of(set_id)}step-{number:06d}-{nonce}.json"


def document(done: Done) -> dict[str, Any]:
    """Return the note of a step as a document."""
    import msgspec

    made: dict[str, Any] = msgspec.to_builtins(done)
    return made
