"""`verify-upstream`: what a bucket has, compared with what its upstream lists; with `cutover` the upstream is left when
nothing differs.

Each difference is an item that failed, with what it is. Contents are compared by sizes and ETags, and for a share of them
byte by byte: read there once more, and compared with the digests of what is here; also what was written here and then there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from holdfast.core.adopted import (
    Found,
    HeldKey,
    Phase,
    Stranded,
    Upstream,
    Verdict,
    foreign_name,
    key_of,
    parse_foreign,
)
from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import check_bucket, is_minted
from holdfast.core.types import BlobInfo, ObjectRef
from holdfast.engine import adopting, following
from holdfast.engine.engine import Engine
from holdfast.engine.facts import asking
from holdfast.jobs import looking, spec
from holdfast.jobs.adopt import LAST, pages, tenant
from holdfast.jobs.follow import BATCH, upstream_of
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.following import judge

_STEP: Final = 10_000
_SAMPLE: Final = 0.01
_MOST_STRANDED: Final = 1000
_STRANDED: Final = "its bytes lie only in the store that is to be left; see: holdfast reconcile"


class VerifyUpstream:
    """Compares a bucket with its upstream."""

    name = "verify-upstream"
    verb = "operate"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`. `sample`: the share of contents that is read."""
        spec.known(given, "tenant", "bucket", "sample", "cutover")
        sample = given.get("sample", _SAMPLE)
        if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 <= sample <= 1:
            raise InvalidRequestError("sample is a number from 0 to 1")
        return {
            "tenant": tenant(given),
            "bucket": check_bucket(spec.text(given, "bucket", None)),
            "sample": float(sample),
            "cutover": spec.flag(given, "cutover"),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.upstream(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        upstream = await _followed(work)
        usage = await work.engine.catalog.usage(upstream.tenant, upstream.bucket)
        sample = work.spec["sample"]
        calls = {upstream.store: {"list": -(-usage.objects // 1000), "get": int(usage.objects * sample)}}
        notes = ["counted from what is here; the listing may have more"]
        if work.spec["cutover"]:
            notes.append("the upstream is left when nothing differs")
        return Forecast(usage.objects, int(usage.bytes * sample), calls, notes=notes)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        upstream = await _followed(work)
        if not upstream.reads:
            raise InvalidRequestError("the bucket was cut over already", name=upstream.bucket)
        return [Range()]

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        upstream = await _followed(work)
        await work.engine.context.stores.refresh()
        store = adopting.foreign_store(work.engine.context, upstream.store)
        counts, failures, cursor, seen = Counts(), list[ItemFailure](), part.cursor, 0
        gate = _Gate(work, upstream, store.backend)
        async with aclosing(pages(store, upstream.prefix, after=cursor, size=BATCH)) as listing:
            async for page in listing:
                if not await work.room(len(page)):
                    return Step(cursor, counts=_told(counts, failures, gate), failures=failures)
                last = key_of(page[-1].name)
                failures += await gate.shown(page)
                failures += await gate.not_shown(page, above=cursor, upto=last)
                counts += Counts(len(page))
                cursor, seen = last, seen + len(page)
                await work.beat()
                if seen >= _STEP or work.stopping():
                    return Step(cursor, counts=_told(counts, failures, gate), failures=failures)
        failures += await gate.not_shown((), above=cursor, upto="")
        failures += await gate.stranded()
        return Step(cursor, done=True, counts=_told(counts, failures, gate), failures=failures)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        upstream, catalog = await _followed(work), work.engine.catalog
        away = len(await catalog.debts(tenant=upstream.tenant, bucket=upstream.bucket, limit=1000))
        owing = (await catalog.owing_out(upstream)).count if upstream.writes else 0
        differences = work.job.counts.failed + away + owing
        place = (upstream.tenant, upstream.bucket)
        upstream = await catalog.change_upstream(*place, differences=differences)
        result: dict[str, Any] = {
            "differences": differences,
            "still to be copied": away,
            "still to be written out": owing,
        }
        if work.spec["cutover"]:
            if not differences:
                upstream = await catalog.change_upstream(*place, phase=Phase.CUTOVER, unowed=True)
                work.engine.context.following.forget()
            result["phase"] = upstream.phase.value
        return Finish(result)


def _both_have(found: Found, held: HeldKey) -> bool:
    """Tell whether what is there is what is here: it was taken over from there, or was written here and then there."""
    if held.divergence is None:
        return held.pin == found.pin
    return not held.divergence.deleted and not held.divergence.owed and held.divergence.pin == found.pin


async def _followed(work: Work) -> Upstream:
    upstream = await upstream_of(work)
    if upstream is None:
        raise NotFoundError("the bucket follows no store; attach one first", name=work.spec["bucket"])
    return upstream


def _told(counts: Counts, failures: Sequence[ItemFailure], gate: _Gate) -> Counts:
    return counts + Counts(
        done=counts.examined - len(failures) if counts.examined > len(failures) else 0,
        failed=len(failures),
        bytes=gate.read,
        notes={"contents compared": gate.compared},
    )


class _Gate:
    """Compares stretches of a listing with what is here."""

    def __init__(self, work: Work, upstream: Upstream, backend: Backend) -> None:
        self._work, self._upstream, self._backend = work, upstream, backend
        self._catalog = work.engine.catalog
        self.read = 0
        self.compared = 0

    async def shown(self, page: Sequence[BlobInfo]) -> list[ItemFailure]:
        """Return what of a page is not here as it is there."""
        upstream, context = self._upstream, self._work.engine.context
        found = [adopting.found_in(info, upstream.key(key_of(info.name))) for info in page]
        bucket = await context.rules.bucket(upstream.tenant, upstream.bucket)
        refused = {one.key: why for one in found if (why := adopting.refusal(context, bucket, one))}
        held = await self._catalog.held_keys(
            upstream.tenant, upstream.bucket, [one.key for one in found if one.key not in refused]
        )
        failures = []
        for one in found:
            known = held.get(one.key, HeldKey(one.key))
            if not known.version_id and is_minted(one.name.rpartition("/")[2].removesuffix(" ")):
                continue  # a blob of our own
            why = refused.get(one.key) or self._differs(one, known)
            if not why and _both_have(one, known):
                why = await self._content_differs(one, known)
            if why:
                failures.append(self._failure(one.key, known.version_id, why))
        return failures

    def _differs(self, found: Found, held: HeldKey) -> str:
        verdict = judge(found, held, following.way_of(self._upstream))
        if verdict in (Verdict.TAKE, Verdict.LOOK):
            return "it was not taken over yet" if not held.version_id else "it has changed there"
        if held.owed:
            return "its content is not where it belongs yet"
        divergence = held.divergence
        if divergence is not None and divergence.owed and self._upstream.writes:
            return "it was changed here, and that is not written out yet"
        return ""

    async def _content_differs(self, found: Found, held: HeldKey) -> str:
        """Compare a content, if its turn has come: the same ones in each run over the same objects."""
        spread = int.from_bytes(hashlib.sha256(found.key.encode()).digest()[:4], "big") / 2**32
        if spread >= self._work.spec["sample"]:
            return ""
        ref = ObjectRef(self._upstream.tenant, self._upstream.bucket, found.key)
        hasher, size = hashlib.sha256(), 0
        try:
            located = await self._catalog.resolve(ref, version_id=held.version_id)
            async with self._backend.get(foreign_name(found.name, found.pin)) as reader:
                async for chunk in reader:
                    hasher.update(chunk)
                    size += len(chunk)
        except HoldfastError as error:
            return f"its content could not be compared: {error.message}"
        self.read, self.compared = self.read + size, self.compared + 1
        await self._work.gauge.bytes(size)
        known = located.version.digests.sha256
        return "" if known in (None, hasher.digest()) else "its content differs"

    async def not_shown(self, page: Sequence[BlobInfo], *, above: str, upto: str) -> list[ItemFailure]:
        """Return what is here as it was taken over, and not in that stretch of the listing."""
        upstream = self._upstream
        shown = {upstream.key(key_of(info.name)) for info in page}
        place, end = (upstream.key(above) if above else ""), (upstream.key(upto) if upto else LAST)
        failures = []
        while known := await self._catalog.pinned_keys(upstream, above=place, upto=end, limit=BATCH):
            for one in known:
                if one.key not in shown:
                    failures.append(self._failure(one.key, one.version_id, "it is gone there"))
            place = known[-1].key
        return failures

    async def stranded(self) -> list[ItemFailure]:
        """Return versions, of any bucket, that would be lost with the store: the first thousand of them."""
        failures: list[ItemFailure] = []
        upstream, after = self._upstream, ("", "")
        while page := await self._catalog.stranded(upstream, after=after):
            for one in page:
                ref = ObjectRef(one.tenant, one.bucket, one.key)
                if parse_foreign(one.blob).key.startswith(upstream.prefix) and await self._leaves(ref, one):
                    failures.append(self._failure(one.key, one.version_id, _STRANDED, ref=ref))
            if len(failures) >= _MOST_STRANDED:
                break
            after = (page[-1].blob, page[-1].replica_id)
            await self._work.beat()
        return failures

    async def _leaves(self, ref: ObjectRef, one: Stranded) -> bool:
        """Tell whether a version is still there, and belongs in other stores."""
        context = self._work.engine.context
        try:
            located = await self._catalog.resolve(ref, version_id=one.version_id)
            bucket = await context.rules.bucket(ref.tenant, ref.bucket)
        except NotFoundError:
            return False
        plan = (await asking(context, bucket)).of_version(located.version, parts=len(located.segments))
        return self._upstream.store not in plan.stores

    def _failure(self, key: str, version_id: str, why: str, *, ref: ObjectRef | None = None) -> ItemFailure:
        name = key.encode("utf-8", "replace").decode()[:1024]
        tenant, bucket = (
            (self._upstream.tenant, self._upstream.bucket) if ref is None else (ref.tenant, ref.bucket)
        )
        return ItemFailure(bucket, name, version_id, "differs", why, tenant=tenant)
