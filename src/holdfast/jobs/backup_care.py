"""Looking after backups: their files proved, and those that are no longer wanted removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from holdfast.core.backend import Store
from holdfast.core.errors import CorruptedError, HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import ENDED, Counts, ItemFailure, Part
from holdfast.core.names import check_store
from holdfast.engine.backups import ages, sets
from holdfast.engine.backups.opening import Opener
from holdfast.engine.backups.packing import Piece
from holdfast.engine.engine import Engine
from holdfast.jobs import looking
from holdfast.jobs import spec as members
from holdfast.jobs.backup_rows import Beat
from holdfast.jobs.backup_set import passes, set_of
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.backups import Keep, keeping

_SECONDS: Final = 120.0
_DAY: Final = 86_400_000_000


async def _store(work: Work, *, write: bool = False) -> Store:
    context = work.engine.context
    return await sets.store_of(context, work.spec["store"] or context.settings.backup.store, write=write)


class BackupVerify:
    """Reads every file of a set, and those of other sets that it rests on; with an identity also what is in them."""

    name = "backup-verify"
    verb = "operate"

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec in its usual form."""
        members.known(spec, "store", "set", "identity")
        store = members.text(spec, "store")
        return {
            "store": check_store(store) if store else "",
            "set": members.text(spec, "set", "latest"),
            "identity": members.file(spec, "identity"),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.backup_store(engine, said["store"])

    async def forecast(self, work: Work) -> Forecast:
        """Return how many files there are."""
        store = await _store(work)
        pieces = await self._pieces(work, store)
        size = sum(piece.size for _, piece in pieces)
        return Forecast(len(pieces), size, {store.name: {"get": len(pieces)}})

    async def split(self, work: Work) -> Sequence[Range]:
        """Return one part."""
        store = await _store(work)
        manifest = await set_of(work, store)
        pieces = await self._pieces(work, store, manifest)
        await _try_identity(pieces)
        return [Range(manifest.id, items=len(pieces), bytes=sum(piece.size for _, piece in pieces))]

    async def step(self, work: Work, part: Part) -> Step:
        """Read files for a while; each that is missing or damaged is a failure that names it."""
        clock, beat = work.engine.context.environment.clock, Beat(work)
        until = clock.monotonic() + _SECONDS
        pieces = await self._pieces(work, await _store(work))
        place, counts, failures = int(part.cursor or 0), Counts(), list[ItemFailure]()
        while place < len(pieces):
            opener, piece = pieces[place]
            if not await work.room(size=piece.size):
                break
            try:
                await _prove(opener, piece, beat)
                counts += Counts(examined=1, done=1, bytes=piece.size)
            except InvalidRequestError:
                raise  # the wrong key: no file would open
            except HoldfastError as error:
                if passes(error):  # the store did not answer: what was read before is told
                    if counts.examined:
                        break
                    raise
                counts += Counts(examined=1, failed=1)
                told = opener.told(piece)
                failures.append(ItemFailure("", told, code=error.code, message=error.message))
            place += 1
            await beat()
            if work.stopping() or clock.monotonic() > until:
                break
        return Step(str(place), done=place >= len(pieces), counts=counts, failures=failures)

    async def finish(self, work: Work) -> Finish:
        """Return what was read."""
        manifest = await set_of(work, await _store(work))
        counts = work.job.counts
        return Finish({"set": manifest.id, "files": counts.examined, "damaged": counts.failed})

    async def _pieces(
        self, work: Work, store: Store, manifest: sets.Manifest | None = None
    ) -> list[tuple[Opener, Piece]]:
        """Return the files of the set, and the contents in the sets that it rests on."""
        context = work.engine.context
        manifest = manifest or await set_of(work, store)
        identities: ages.Identities = ()
        if work.spec["identity"]:
            identities = ages.read_identities(work.spec["identity"])
        found: list[tuple[Opener, Piece]] = []
        for one in (await sets.check_needed(store, manifest)).values():
            opener = sets.opener(context, store, one, identities)
            own = one.id == manifest.id
            found += [(opener, piece) for piece in (one.rows if own else ())]
            found += [(replace(opener, sealed=False), piece) for piece in (one.index if own else ())]
            found += [(opener, piece) for piece in one.data]
        return found


async def _try_identity(pieces: Sequence[tuple[Opener, Piece]]) -> None:
    """Open the first file that is encrypted: `InvalidRequestError` when the identity does not. Damage is told later."""
    for opener, piece in pieces:
        if opener.sealed and opener.identities:
            with suppress(CorruptedError, NotFoundError):
                async with opener.open(piece):
                    pass
            return


async def _prove(opener: Opener, piece: Piece, beat: Beat) -> None:
    """Read a file whole: what it is by its manifest, and where it can be opened every frame in it."""
    if opener.sealed and not opener.identities:
        await opener.fetch(piece)
        return
    async with opener.open(piece) as found:
        async for _ in found:
            await beat()


class BackupPrune:
    """Removes sets that are not kept, and what backups that never ended left behind."""

    name = "backup-prune"
    verb = "operate"

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec in its usual form."""
        members.known(spec, "store", "last", "daily", "weekly", "monthly")
        store = members.text(spec, "store")
        made: dict[str, Any] = {"store": check_store(store) if store else ""}
        for name in ("last", "daily", "weekly", "monthly"):
            value = spec.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidRequestError(f"{name} is a whole number from 0 on")
            made[name] = value
        keeping((), _keep(made))
        return made

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.backup_store(engine, said["store"])

    async def forecast(self, work: Work) -> Forecast:
        """Return what would be removed; the notes name the sets."""
        store = await _store(work)
        going, stale = await self._going(work, store)
        size = sum(piece.size for one in going for piece in one.pieces)
        files = sum(len(one.pieces) + 1 for one in going)
        notes = [f"would remove set-{one.id}" for one in going]
        notes += [f"would remove what set-{set_id} left, which never ended" for set_id in stale]
        return Forecast(len(going), size, {store.name: {"delete": files}}, notes=notes)

    async def split(self, work: Work) -> Sequence[Range]:
        """Return one part."""
        return [Range()]

    async def step(self, work: Work, part: Part) -> Step:
        """Remove one set, the newest of them first: whatever rests on another goes before it."""
        store, beat = await _store(work, write=True), Beat(work)
        going, stale = await self._going(work, store)
        going = sorted(going, key=lambda one: one.moment, reverse=True)
        ids = [one.id for one in going] + stale
        if ids:
            await work.gauge.objects()
            files = await sets.remove(store, ids[0], beat)
            counts = Counts(examined=1, done=1, notes={"files": files, "removed": 1})
            return Step(ids[0], counts=counts)
        count = 0
        for manifest in await sets.listing(store):
            for name in [name async for name in sets.leftovers(store, manifest)]:
                await store.backend.delete(name)
                count += 1
                await beat()
        return Step("", done=True, counts=Counts(notes={"files": count} if count else {}))

    async def finish(self, work: Work) -> Finish:
        """Return what was removed and what is kept."""
        kept = await sets.listing(await _store(work))
        return Finish({"kept": [one.id for one in kept], **work.job.counts.notes})

    async def _going(self, work: Work, store: Store) -> tuple[list[sets.Manifest], list[str]]:
        """Return the sets that are not kept, and the ids of what never ended and has no job that works at it."""
        found = list(await sets.listing(store))
        kept = keeping([one.kept for one in found], _keep(work.spec))
        needs = {one.id: one.kept.needs for one in found}
        stale = []
        for set_id in await sets.unfinished(store):
            if await _is_stale(work, set_id):
                stale.append(set_id)
                continue
            for parent in await sets.parents_of_unfinished(store, set_id):
                kept |= {parent, *needs.get(parent, ())}
        return [one for one in found if one.id not in kept], stale


async def _is_stale(work: Work, set_id: str) -> bool:
    """Tell whether nobody works at a set any more: its job ended, or is unknown and began more than a day ago."""
    try:
        return (await work.engine.catalog.job(set_id)).state in ENDED
    except NotFoundError:
        try:
            began = int(set_id.replace("-", "")[:12], 16) * 1000  # ids begin with the time, in milliseconds
        except ValueError:
            return False
        return work.engine.context.environment.clock.now() - began > _DAY


def _keep(spec: Mapping[str, Any]) -> Keep:
    return Keep(spec["last"], spec["daily"], spec["weekly"], spec["monthly"])
