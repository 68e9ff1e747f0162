"""How a name gets its file: claimed by an id before anything is sent, committed by one swap of its note, or given up.

At every moment there is an answer to "what if we die here?": before the swap the name has what it had, and the id of
the unfinished file stands in the note; after it the name has the new file, and the note lists the old one as to go.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.backends.google_drive.errors import Where, failure
from holdfast.backends.google_drive.files import Files
from holdfast.backends.google_drive.index import ABANDONED, LATE, Index, Live, Loose, Record
from holdfast.core.clock import Clock
from holdfast.core.errors import AlreadyExistsError, ConflictError, HoldfastError


class Claims:
    """Changes what a name has."""

    def __init__(self, index: Index, files: Files, clock: Clock) -> None:
        self._index, self._files, self._clock = index, files, clock

    async def claim(self, where: Where, name: str, id: str) -> int:
        """Note that a file with that id is going to be written for the name; return its generation."""
        now = self._clock.now()

        def edit(record: Record) -> Record:
            old = [one for one in record.pending if one.at + ABANDONED < now]  # their writers are long gone
            pending = (*(one for one in record.pending if one not in old), Loose(id, now))
            dead = (*record.dead, *old)
            return Record(record.generation + 1, record.live, pending, dead, record.twins)

        return (await self._index.change(where, name, edit)).generation

    async def commit(self, where: Where, name: str, live: Live, *, if_absent: bool) -> None:
        """Make the claimed file the one of the name, and remove what it replaces.

        Raises:
            AlreadyExistsError: `if_absent`, and another one was first.
            ConflictError: the name was discarded meanwhile.
        """
        now = self._clock.now()

        def edit(record: Record) -> Record:
            if record.live is not None and record.live.id == live.id:
                return record
            if all(one.id != live.id for one in record.pending):
                raise failure(ConflictError, "the name was discarded while it was written", where)
            if if_absent and record.live is not None:
                raise failure(AlreadyExistsError, "a blob of that name is already there", where)
            pending = tuple(one for one in record.pending if one.id != live.id)
            dead = record.dead if record.live is None else (*record.dead, Loose(record.live.id, now))
            return Record(record.generation, live, pending, dead, record.twins)

        record = await self._index.change(where, name, edit)
        if record.dead:
            await self.tidy_quietly(where, name)

    async def give_up(self, where: Where, name: str, id: str, *, begun: bool) -> None:
        """Remove a file that was claimed and not committed; what cannot be reached stays noted. Raises nothing."""
        now = self._clock.now()

        def edit(record: Record) -> Record:
            pending = tuple(one for one in record.pending if one.id != id)
            if len(pending) == len(record.pending):
                return record
            dead = (*record.dead, Loose(id, now, unsure=True)) if begun else record.dead
            return Record(record.generation, record.live, pending, dead, record.twins)

        try:
            record = await self._index.change(where, name, edit)
            if any(one.id == id for one in record.dead):
                await self.tidy(where, name)
            elif begun and id not in record.known:  # discarded meanwhile: nobody else will remove it
                await self._files.remove(where, id)
        except HoldfastError:
            return

    async def release(self, where: Where, name: str, *, pending: bool) -> Record:
        """Take the name from its file, its twins, and with `pending` from those that are being written."""
        now = self._clock.now()

        def edit(record: Record) -> Record:
            gone = [Loose(id, now) for id in record.twins]
            if record.live is not None:
                gone.append(Loose(record.live.id, now))
            kept = record.pending
            if pending:
                gone += [Loose(one.id, one.at, unsure=True) for one in kept]
                kept = ()
            return Record(record.generation, None, kept, (*record.dead, *gone), ())

        return await self._index.change(where, name, edit)

    async def tidy(self, where: Where, name: str) -> None:
        """Remove the files of the name that are to go. One that may yet appear stays noted until it cannot any more."""
        record = await self._index.read(where, name)
        now, done = self._clock.now(), set()
        for one in record.dead:
            if await self._files.remove(where, one.id) or not one.unsure or one.at + LATE < now:
                done.add(one.id)
        if done:
            await self._index.change(where, name, lambda record: _without(record, done))

    async def forget(self, where: Where, name: str, ids: Sequence[str]) -> None:
        """Take away a live file that is not in Drive any more."""

        def edit(record: Record) -> Record:
            if record.live is None or record.live.id not in ids:
                return record
            return Record(record.generation, None, record.pending, record.dead, record.twins)

        await self._index.change(where, name, edit)

    async def tidy_quietly(self, where: Where, name: str) -> None:
        """Remove what is to go, as far as that works now."""
        try:
            await self.tidy(where, name)
        except HoldfastError:
            return  # what is to go is noted


def _without(record: Record, ids: set[str]) -> Record:
    dead = tuple(one for one in record.dead if one.id not in ids)
    generation = 0 if not (record.live or record.pending or dead or record.twins) else record.generation
    return Record(generation, record.live, record.pending, dead, record.twins)
