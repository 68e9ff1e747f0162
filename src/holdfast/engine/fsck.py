"""A stretch of a store's listing beside the rows of the same stretch: what is there of which no row knows, and the reverse.

Both move while they are read. So whatever looks wrong is looked at again, by its name, in the store and in the rows,
before it is told; and nothing is changed here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.core.adopted import Hold, foreign_name, is_foreign
from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Store
from holdfast.core.errors import CorruptedError, NotFoundError
from holdfast.core.findings import Finding, FindingKind, FindingState, Provable
from holdfast.core.keyring import LockedError, ShreddedError
from holdfast.core.names import ABOUT, is_sealed
from holdfast.core.types import BlobInfo, Origin, Replica, ReplicaState
from holdfast.engine.context import Context
from holdfast.layers.base import closed_after
from holdfast.layers.encryption import opened_size
from holdfast.layers.origins import everything, read_origin
from holdfast.policy.proving import Look, minted_at, tenant_of

PAGE: Final = 1000
_AT_ONCE: Final = 8
_MANY: Final = 200
_SAMPLE: Final = 20
_LAST_ID: Final = "~"  #: behind every id of a row
_READABLE: Final = (ReplicaState.LIVE, ReplicaState.SUSPECT)


@dataclass(slots=True)
class Stretch:
    """What was seen of a stretch: `end` is the name behind which the next begins, None: this was the last."""

    end: str | None = None
    look: Look = field(default_factory=Look)
    found: list[Finding] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)  #: blobs that are there, as large as they should be
    notes: Counter[str] = field(default_factory=Counter)
    names: int = 0


@dataclass(slots=True)
class _Pair:
    """A stretch of the listing and the rows of the same stretch."""

    infos: Sequence[BlobInfo]
    rows: Mapping[str, Sequence[Replica]]
    end: str | None


class Inspection:
    """Looks at one store, stretch by stretch. `young` is how many microseconds old a blob must be to be called dark."""

    def __init__(self, context: Context, store: Store, *, young: int, limit: int = PAGE) -> None:
        self._context, self._store = context, store
        self._young, self._limit = young, limit
        self._tenants: dict[str, bool] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def look(self, after: str) -> Stretch:
        """Return what is to be said of the names behind `after`.

        Raises:
            HoldfastError: the store did not list them, or the catalog did not answer.
        """
        pair = await self._pair(after)
        seen = Stretch(pair.end, names=len(pair.infos))
        listed: set[str] = set()
        dark: list[BlobInfo] = []
        odd: list[Replica] = []
        for info in pair.infos:
            base = info.name.removesuffix(ABOUT)
            if base != info.name:
                if base not in pair.rows:
                    dark.append(info)
                continue
            rows = pair.rows.get(info.name)
            if rows is None:
                dark.append(info)
                continue
            listed.add(info.name)
            odd += self._sizes(info, rows, seen)
        missing = [
            row
            for blob, rows in pair.rows.items()
            if blob not in listed and (row := _readable(rows)) is not None
        ]
        readable = sum(1 for rows in pair.rows.values() if _readable(rows) is not None)
        ours = len(listed)
        seen.look = replace(seen.look, rows=readable, listed=ours)
        await self._missing(missing, seen)
        await self._dark(dark, seen)
        await self._sized(odd, seen)
        return seen

    async def _pair(self, after: str) -> _Pair:
        """Return names and rows behind `after`, up to the same end."""
        infos = await self._names(after)
        rows, row_end = await self._rows(after)
        list_end = infos[-1].name if len(infos) >= self._limit else None
        ends = [end for end in (list_end, row_end) if end is not None]
        end = min(ends) if ends else None
        by_name: dict[str, list[Replica]] = {}
        for row in rows:
            if end is None or row.blob <= end:
                by_name.setdefault(row.blob, []).append(row)
        return _Pair([info for info in infos if end is None or info.name <= end], by_name, end)

    async def _names(self, after: str) -> list[BlobInfo]:
        found: list[BlobInfo] = []
        last = after
        async with closed_after(everything(self._store.backend, after=after)) as items:
            async for info in items:
                if info.name <= last:
                    raise CorruptedError(
                        "the listing is not in order, so it cannot be compared", store=self._store.name
                    )
                last = info.name
                found.append(info)
                if len(found) >= self._limit:
                    break
        return found

    async def _rows(self, after: str) -> tuple[Sequence[Replica], str | None]:
        """Return rows behind `after`, all of each blob, and where they end."""
        limit = self._limit
        while True:
            rows = await self._context.catalog.copies_in_order(
                self._store.name, after=(after, _LAST_ID), limit=limit
            )
            if len(rows) < limit:
                return rows, None
            whole = [row for row in rows if row.blob < rows[-1].blob]
            if whole:
                return whole, whole[-1].blob
            limit *= 2

    def _sizes(self, info: BlobInfo, rows: Sequence[Replica], seen: Stretch) -> list[Replica]:
        """Return the row whose size is not that of the blob, if it is readable."""
        row = _readable(rows)
        if row is None:
            return []
        size = opened_size(info.size) if is_sealed(info.name) else info.size
        if size == row.size:
            seen.sound.append(info.name)
            return []
        return [row]

    # -- a second look ------------------------------------------------------------------------------------------------
    async def _missing(self, rows: Sequence[Replica], seen: Stretch) -> None:
        """Ask for each blob that was not listed by its name, if a row still says that it is there."""
        adopted = [row for row in rows if is_foreign(row.blob)]
        rest = [row for row in rows if not is_foreign(row.blob)]
        if adopted:
            seen.look = replace(seen.look, adopted=True)
        still = {row.blob for row in await self._known([row.blob for row in rows]) if row.state in _READABLE}
        rest = [row for row in rest if row.blob in still]
        seen.look = replace(seen.look, missing=len(rest))

        async def ask(row: Replica) -> None:
            async with self._gate:
                gone = await self._absent(row.blob)
            if not gone:
                seen.notes["adopted" if is_foreign(row.blob) else "left_out_of_the_listing"] += 1
                seen.sound.append(row.blob)
                return
            again = await self._known([row.blob])
            if not any(one.id == row.id and one.state in _READABLE for one in again):
                return
            seen.found.append(
                _finding(row, FindingKind.LOST, "its row is live, and the store has no such blob")
            )
            if not is_foreign(row.blob):
                seen.look = replace(seen.look, lost=seen.look.lost + 1)

        if await self._lies(rest):
            seen.notes["left_out_of_the_listing"] += len(rest)
            rest = []
        await asyncio.gather(*(ask(row) for row in [*rest, *(one for one in adopted if one.blob in still)]))

    async def _lies(self, rows: Sequence[Replica]) -> bool:
        """Tell whether a listing left out many blobs that are there, so that not each has to be asked for."""
        if len(rows) < _MANY:
            return False
        some = rows[:: len(rows) // _SAMPLE]
        return not any(await asyncio.gather(*(self._absent(row.blob) for row in some)))

    async def _dark(self, infos: Sequence[BlobInfo], seen: Stretch) -> None:
        """Tell those apart that are none of ours, or too young, or have a row by now."""
        mine = []
        for info in infos:
            tenant = tenant_of(info.name)
            if tenant is None or not await self._is_tenant(tenant):
                seen.notes["foreign"] += 1
                seen.look = replace(seen.look, foreign=seen.look.foreign + 1)
            else:
                mine.append(info)
        now = await self._context.catalog.now() if mine else 0
        old = [info for info in mine if max(info.modified, minted_at(info.name)) <= now - self._young]
        seen.notes["young"] += len(mine) - len(old)
        names = {alias: info.name for info in old for alias in _aliases(info)}
        known = {names[row.blob] for row in await self._known(names) if row.blob in names}

        async def ask(info: BlobInfo) -> None:
            async with self._gate:
                if await self._absent(info.name):
                    return
            detail = "a record without its blob" if info.name.endswith(ABOUT) else "no row knows it"
            seen.found.append(
                Finding(
                    self._store.name, info.name, FindingKind.DARK, info.size, FindingState.NOTED, "", detail
                )
            )

        await asyncio.gather(*(ask(info) for info in old if info.name not in known))
        dark = sum(1 for one in seen.found if one.kind is FindingKind.DARK)
        seen.look = replace(seen.look, dark=dark, listed=seen.look.listed + len(mine))

    async def _sized(self, rows: Sequence[Replica], seen: Stretch) -> None:
        for row in rows:
            face = self._store.for_blob(row.blob)
            try:
                size = (await face.head(row.blob)).size
            except NotFoundError:
                continue  # it went meanwhile; if it should not have, the next look tells
            except CorruptedError:
                size = -1  # no encrypted blob has this many bytes
            if size == row.size:
                seen.sound.append(row.blob)
                continue
            again = await self._known([row.blob])
            if any(one.id == row.id and one.state in _READABLE for one in again):
                told = (
                    f"{size} bytes instead of {row.size}" if size >= 0 else "no encrypted blob has its size"
                )
                seen.found.append(_finding(row, FindingKind.WRONG_SIZE, told))

    async def _absent(self, name: str) -> bool:
        try:
            await self._store.backend.head(name)
        except NotFoundError:
            return True
        return False

    async def _known(self, names: Iterable[str]) -> Sequence[Replica]:
        """Return the rows, as they are now, of these names."""
        wanted = list(dict.fromkeys(names))
        found: list[Replica] = []
        for start in range(0, len(wanted), PAGE):
            some = wanted[start : start + PAGE]
            found += await self._context.catalog.copies_of_blobs(self._store.name, some)
        return found

    async def _is_tenant(self, name: str) -> bool:
        """Tell whether there is such a tenant here, or was one."""
        if name not in self._tenants:
            catalog = self._context.catalog
            try:
                await catalog.tenant(name)
                self._tenants[name] = True
            except NotFoundError:
                self._tenants[name] = await catalog.tenant_was_removed(name)
        return self._tenants[name]


async def misdescribed(store: Store, copies: Sequence[Provable]) -> tuple[str, str]:
    """Return what a blob says of itself that none of its rows says, and "silent" where it says nothing; "" when it is right.

    `copies` are the rows of one blob. Encrypted ones whose key cannot be had say nothing either; of what sleeps in an
    archive class the second is "asleep".
    """
    blob = copies[0].replica.blob
    try:
        told = await read_origin(store.for_blob(blob), blob)
    except (LockedError, ShreddedError):
        return "", "silent"
    except AsleepError:
        return "", "asleep"
    except NotFoundError:
        return "", ""
    except CorruptedError as error:
        return error.message, ""
    if told is None:
        return "", "silent"
    wrong = [
        _differs(told, copy) if told.version != copy.cloned_from else _other(told, copy) for copy in copies
    ]
    return ("", "") if "" in wrong else (wrong[0], "")


def _differs(told: Origin, copy: Provable) -> str:
    replica, ref = copy.replica, copy.ref
    sha256 = copy.digests.sha256
    pairs = (
        ("tenant", told.tenant, ref.tenant),
        ("bucket", told.bucket, ref.bucket),
        ("key", told.key, ref.key),
        ("version", told.version, replica.version_id),
        ("segment", told.segment, replica.segment_id),
        ("sha256", told.sha256 or "", "" if sha256 is None or told.sha256 is None else sha256.hex()),
    )
    return "; ".join(
        f"it says {name} {says!r:.200}, its row {is_!r:.200}" for name, says, is_ in pairs if says != is_
    )


def _other(told: Origin, copy: Provable) -> str:
    """What differs where a clone has the blob of another version, which the blob may go on telling of."""
    sha256 = copy.digests.sha256
    if told.tenant == copy.ref.tenant and (told.sha256 or "") in ("", "" if sha256 is None else sha256.hex()):
        return ""
    return _differs(told, copy)


def _aliases(info: BlobInfo) -> tuple[str, ...]:
    """Return under which names rows may know a blob: as it is called, or as one that others wrote."""
    base = info.name.removesuffix(ABOUT)
    pin = info.etag or ""
    adopted = (foreign_name(info.name, pin, hold) for hold in (Hold.KEEP, Hold.OWN)) if pin else ()
    return (base, *adopted)


def _readable(rows: Sequence[Replica]) -> Replica | None:
    return next((row for row in rows if row.state in _READABLE), None)


def _finding(row: Replica, kind: FindingKind, detail: str) -> Finding:
    return Finding(row.store, row.blob, kind, row.size, FindingState.NOTED, row.version_id, detail)
