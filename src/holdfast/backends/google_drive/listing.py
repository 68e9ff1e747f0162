"""What is really there: Drive's listing and the index, laid side by side; where they differ, the file itself is asked.

Drive lists in no order that we need and may show a moment ago. So all files of the folders are gathered, sorted (on
disk when there are many), and merged with the notes:

* in both: it is there;
* noted and not listed: `files.get` decides, for a listing may not show yet what was just written;
* listed and not noted: gone a moment ago, or somebody's; `files.get` decides, and what is there gets its note;
* being written, or to go: not shown.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from itertools import groupby
from typing import Final

import msgspec

from holdfast.backends.google_drive.errors import Where
from holdfast.backends.google_drive.files import File, Files, quoted
from holdfast.backends.google_drive.home import Home
from holdfast.backends.google_drive.index import NOTHING, Index, Live, Record
from holdfast.backends.google_drive.properties import digest
from holdfast.backends.google_drive.spool import Seen, Spool
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.names import check_blob_name
from holdfast.core.types import BlobInfo

_PARENTS: Final = 40  #: folders that one query names
Group = tuple[str, list[Seen]]


class Listing:
    """Lists a store, and finds again what an index does not know."""

    def __init__(
        self, home: Home, files: Files, index: Index, tidy: Callable[[Where, str], Awaitable[None]]
    ) -> None:
        self._home, self._files, self._index, self._tidy = home, files, index, tidy

    async def items(self, where: Where, prefix: str, after: str) -> AsyncGenerator[BlobInfo, None]:
        """Yield blobs in byte order of names."""
        complete = await self._home.complete(where)
        with Spool() as spool:
            async for file in self._scan(where):
                seen = _seen(file, (await self._home.root(where)).id)
                if seen is not None and seen.name.startswith(prefix) and seen.name > after:
                    await spool.add(seen)
            noted = self._index.items(where, prefix, after)
            async for name, found, record in _side_by_side(_groups(spool.sorted()), noted):
                live = await self._judged(where, name, found, record, complete)
                if live is not None:
                    yield live.info(name)
        if not prefix and not after and not complete:
            await self._home.completed()

    async def find(self, where: Where, name: str) -> Live | None:
        """Return the file of a name that has no note, and note it; None when Drive has none."""
        root = await self._home.root(where)
        query = f"appProperties has {{ key='h' and value={quoted(digest(name))} }} and trashed = false"
        found = [seen async for file in self._home.search(where, query) if (seen := _seen(file, root.id))]
        found = sorted(seen for seen in found if seen.name == name)
        found = [seen for seen in found if await self._there(where, seen.id)]
        return await self._adopted(where, name, found) if found else None

    async def duplicates(self, where: Where) -> list[tuple[str, str]]:
        """Return (name, id) of every file that carries the name of another one which counts."""
        root = await self._home.root(where)
        found: list[tuple[str, str]] = []
        with Spool() as spool:
            async for file in self._scan(where):
                if (seen := _seen(file, root.id)) is not None:
                    await spool.add(seen)
            for name, group in _groups(spool.sorted()):
                record = await self._index.read(where, name)
                chosen = record.live.id if record.live else group[0].id
                loose = {one.id for one in (*record.pending, *record.dead)}
                found += [(name, seen.id) for seen in group if seen.id != chosen and seen.id not in loose]
        return found

    async def _scan(self, where: Where) -> AsyncIterator[File]:
        folders = await self._home.folders(where)
        for start in range(0, len(folders), _PARENTS):
            parents = " or ".join(f"{quoted(one)} in parents" for one in folders[start : start + _PARENTS])
            async for file in self._home.search(where, f"({parents}) and trashed = false"):
                yield file

    async def _judged(
        self, where: Where, name: str, found: list[Seen], record: Record, complete: bool
    ) -> Live | None:
        going = {one.id for one in record.dead}
        if any(seen.id in going for seen in found):  # it appeared after it was given up
            await self._tidy(where, name)
        strange = [seen for seen in found if seen.id not in record.known]
        if complete or record.live is not None:
            strange = [seen for seen in strange if await self._there(where, seen.id)]
        if record.live is not None:
            if strange:
                await self._note_twins(where, name, strange)
            if any(seen.id == record.live.id for seen in found) or await self._there(where, record.live.id):
                return record.live
            return None
        return await self._adopted(where, name, strange) if strange else None

    async def _adopted(self, where: Where, name: str, found: list[Seen]) -> Live | None:
        """Note the first of `found` as the file of the name, the others as its twins; a note that is there wins."""
        first, *others = found
        metadata = msgspec.json.decode(first.metadata, type=dict[str, str])
        live = Live(first.id, first.size, first.md5, first.modified, metadata)

        def edit(record: Record) -> Record:
            if record.live is not None or first.id in record.known:
                return record
            twins = {*record.twins, *(seen.id for seen in others)} - record.known
            return Record(-first.older, live, record.pending, record.dead, tuple(sorted(twins)))

        return (await self._index.change(where, name, edit)).live

    async def _note_twins(self, where: Where, name: str, strange: list[Seen]) -> None:
        def edit(record: Record) -> Record:
            if record.live is None:
                return record
            twins = tuple(
                sorted({*record.twins, *(seen.id for seen in strange if seen.id not in record.known)})
            )
            return Record(record.generation, record.live, record.pending, record.dead, twins)

        await self._index.change(where, name, edit)

    async def _there(self, where: Where, id: str) -> bool:
        try:
            await self._files.get(where, id)
        except NotFoundError:
            return False
        return True


def _seen(file: File, root: str) -> Seen | None:
    """Return a file of a listing as one of ours; None when it belongs to nobody or to another store."""
    label = file.label
    if label is None or label.root != root:
        return None
    try:
        name = check_blob_name(label.name)
    except InvalidRequestError:
        return None
    metadata = msgspec.json.encode(dict(label.metadata)).decode()
    facts = (file.created, file.id, file.bytes, file.md5_checksum, file.modified, metadata)
    return Seen(name, -label.generation, *facts)


def _groups(seen: Iterator[Seen]) -> Iterator[Group]:
    for name, group in groupby(seen, key=lambda one: one.name):
        yield name, list({one.id: one for one in group}.values())


async def _side_by_side(
    listed: Iterator[Group], noted: AsyncIterator[tuple[str, Record]]
) -> AsyncGenerator[tuple[str, list[Seen], Record], None]:
    """Yield every name of either side once, in byte order, with what each side says."""
    left, right = next(listed, None), await anext(noted, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None
            yield left[0], left[1], NOTHING
            left = next(listed, None)
        elif left is None or right[0] < left[0]:
            yield right[0], [], right[1]
            right = await anext(noted, None)
        else:
            yield left[0], left[1], right[1]
            left, right = next(listed, None), await anext(noted, None)
