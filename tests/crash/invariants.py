"""The invariants, checked from outside: only the engine's verbs, the catalog's pages and the stores' listings.

(a) a reader sees a whole version; (b) live replicas equal blobs present; (c) after a sweep nothing but live remains;
(d) every live replica belongs to a reachable version; (e) usage equals the sum of what it counts; (f) no version came
to be without a row in the audit; (g) a search finds what the tags and metadata say, and nothing else; (h) the ledger of
the quotas is what is counted and reserved, and after a sweep nothing is reserved but by open uploads. Where blobs describe
themselves: (i) each says what it is, and after a sweep no description is left without its blob. (j) No encrypted blob is
without its key in the catalog, and after a sweep no key without its blob.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from holdfast.core.names import is_sealed
from holdfast.core.search import Search
from holdfast.core.types import ChecksumType, Part, QuotaUse, Replica, ReplicaState, Upload, Version
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.layers.encryption.envelope import ENVELOPE
from holdfast.layers.encryption.floe import SHAPE
from holdfast.layers.origins import lonely, origins
from tests.crash.worlds import BUCKETS

Picture = dict[str, Any]  #: everything that a client can see, without ids and times
READABLE = (ReplicaState.LIVE, ReplicaState.SUSPECT)


async def picture(session: Session) -> Picture:
    """Return what a client sees, having read every byte of it (a)."""
    seen: Picture = {}
    for bucket in BUCKETS:
        versions = await _versions(session, bucket)
        seen[bucket] = [await _seen(session, bucket, version) for version in versions]
        listed = [item.ref.key for item in (await session.list(bucket)).items]
        current = [version.ref.key for version in versions if version.current and not version.delete_marker]
        assert listed == current, f"the listing of {bucket} shows {listed}, the versions say {current}"
        uploads = await _uploads(session, bucket)
        seen[f"{bucket} uploads"] = [
            (upload.ref.key, [(part.number, part.size, part.etag) for part in parts])
            for upload, parts in uploads
        ]
    return seen


async def check_now(engine: Engine, session: Session) -> None:
    """Check what must hold at every moment."""
    rows = await all_rows(engine)
    blobs = await all_blobs(engine)
    sizes = await _segment_sizes(engine, session)
    for row in rows:
        if row.state in READABLE:
            assert row.segment_id in sizes, f"(d) a live replica of an unreachable version: {row}"
            assert blobs.get((row.store, row.blob)) == sizes[row.segment_id], (
                f"(b) live replica without its blob: {row}"
            )
    keyless = {place for place in blobs if is_sealed(place[1])} - await _all_keys(engine)
    assert not keyless, f"(j) encrypted blobs without a key: {keyless}"
    unknown = set(blobs) - {(row.store, row.blob) for row in rows}
    assert not unknown, f"(b) blobs that no row knows: {unknown}"
    await _check_reachable(session, rows)
    await _check_parts(session, rows, blobs)
    await _check_audit(engine, session)
    await _check_search(session)
    await _check_ledger(engine, session)
    for bucket in BUCKETS:
        usage = await session.usage(bucket)
        recount = await engine.catalog.recount(session.principal.tenant, bucket)
        assert usage == recount, f"(e) {bucket}: counters {usage}, recount {recount}"


async def _check_audit(engine: Engine, session: Session) -> None:
    """What can be seen has its row."""
    told = {entry.version_id for entry in await engine.catalog.audit(session.principal.tenant, limit=100_000)}
    for bucket in BUCKETS:
        untold = {version.id for version in await _versions(session, bucket)} - told
        assert not untold, f"(f) versions of {bucket} without a row in the audit: {untold}"


async def _check_ledger(engine: Engine, session: Session) -> None:
    """The rows of the quotas are sums of what is there; without a quota there are none."""
    total, metered = [0, 0, 0, 0], False
    for bucket in [bucket.name for bucket, _ in await session.buckets()]:
        row, must = await _ledger(engine, bucket)
        metered = metered or row is not None
        assert row in (None, must), f"(h) {bucket}: the row says {row}, the sums {must}"
        for place, number in enumerate(
            (must.bytes, must.objects, must.reserved_bytes, must.reserved_objects)
        ):
            total[place] += number
    use = await session.quota()
    found = [use.bytes, use.objects, use.reserved_bytes, use.reserved_objects]
    assert not metered or found == total, f"(h) the tenant's row says {found}, its buckets {total}"


async def _ledger(engine: Engine, bucket: str) -> tuple[QuotaUse | None, QuotaUse]:
    catalog: Any = engine.catalog
    found: tuple[QuotaUse | None, QuotaUse] = await catalog.ledger("default", bucket)
    return found


async def _check_search(session: Session) -> None:
    """The index says the same as the versions."""
    for bucket in BUCKETS:
        current = [version for version in await _versions(session, bucket) if version.current]
        pairs = {pair for version in current for pair in version.tags.items()} | {
            ("tag", "old"),
            ("tag", "new"),
        }
        for name, value in pairs:
            wish = Search(tags={name: value})
            found = [item.ref.key for item in (await session.search(wish, bucket=bucket)).items]
            wanted = [version.ref.key for version in current if version.tags.get(name) == value]
            assert found == wanted, f"(g) {bucket}: {name}={value} finds {found}, not {wanted}"


async def check_swept(engine: Engine, session: Session) -> None:
    """Check that nothing remains but what is live, and the parts of uploads that are open."""
    await check_now(engine, session)
    rows = await all_rows(engine)
    parts = {
        part.segment_id for bucket in BUCKETS for _, held in await _uploads(session, bucket) for part in held
    }
    left = [row for row in rows if row.state not in READABLE and row.segment_id not in parts]
    assert not left, f"(c) rows left after a sweep: {left}"
    for bucket in BUCKETS:
        use = (await _ledger(engine, bucket))[1]
        uploads = await _uploads(session, bucket)
        assert uploads or (use.reserved_bytes, use.reserved_objects) == (0, 0), (
            f"(h) reserved for good: {use}"
        )
    blobs = await all_blobs(engine)
    assert set(blobs) == {(row.store, row.blob) for row in rows}, f"(c) orphans: {set(blobs)}"
    keys = await _all_keys(engine)
    assert keys == {place for place in blobs if is_sealed(place[1])}, f"(j) keys without a blob: {keys}"


async def check_described(engine: Engine, *, swept: bool) -> None:
    """Check that every blob says what it is, and, after a sweep, that no record is left without its blob."""
    rows = {(row.store, row.blob): row for row in await all_rows(engine)}
    for store in engine.stores.values():
        async for name, origin in origins(store):
            row = rows[store.name, name]
            assert origin is not None, f"(i) a blob that does not say what it is: {row}"
            assert (origin.version, origin.segment) == (row.version_id, row.segment_id), (
                f"(i) {origin}: {row}"
            )
        left = [name async for name in lonely(store)]
        assert not swept or not left, f"(i) records without blobs: {left}"


async def all_rows(engine: Engine) -> list[Replica]:
    rows: list[Replica] = []
    while page := await engine.catalog.replicas(after=rows[-1].id if rows else "", limit=100):
        rows += page
    return rows


async def all_blobs(engine: Engine) -> dict[tuple[str, str], int]:
    return {
        (name, info.name): SHAPE.opened(info.size - ENVELOPE) if is_sealed(info.name) else info.size
        for name, store in engine.stores.items()
        async for info in store.backend.list()
    }


async def _all_keys(engine: Engine) -> set[tuple[str, str]]:
    return {(key.store, key.blob) for key in await engine.catalog.blob_keys("default", below=1 << 62)}


async def _segment_sizes(engine: Engine, session: Session) -> dict[str, int]:
    """Return the size of every segment of every version that can be reached."""
    return {
        segment.id: segment.size
        for bucket in BUCKETS
        for version in await _versions(session, bucket)
        if not version.delete_marker
        for segment in (await engine.catalog.resolve(version.ref, version_id=version.id)).segments
    }


async def _check_reachable(session: Session, rows: Sequence[Replica]) -> None:
    reachable = {
        version.id
        for bucket in BUCKETS
        for version in await _versions(session, bucket)
        if not version.delete_marker
    }
    live = {row.version_id for row in rows if row.state in READABLE}
    assert live <= reachable, f"(d) live replicas of unreachable versions: {live - reachable}"
    assert reachable <= live, f"(a) versions without a live replica: {reachable - live}"


async def _check_parts(session: Session, rows: Sequence[Replica], blobs: dict[tuple[str, str], int]) -> None:
    """An acknowledged part is as durable as an object: it has a row that nobody has given up, and its bytes."""
    held = {
        row.segment_id
        for row in rows
        if row.state is not ReplicaState.DOOMED and (row.store, row.blob) in blobs
    }
    for bucket in BUCKETS:
        for upload, parts in await _uploads(session, bucket):
            lost = [part.number for part in parts if part.segment_id not in held]
            assert not lost, (
                f"(a) acknowledged parts {lost} of the upload to {upload.ref} have lost their bytes"
            )


async def _versions(session: Session, bucket: str) -> list[Version]:
    page = await session.versions(bucket)
    assert not page.truncated
    return list(page.items)


async def _uploads(session: Session, bucket: str) -> list[tuple[Upload, Sequence[Part]]]:
    uploads, more = await session.list_uploads(bucket)
    assert not more
    return [(upload, await session.list_parts(bucket, upload.ref.key, upload.id)) for upload in uploads]


async def _seen(session: Session, bucket: str, version: Version) -> tuple[Any, ...]:
    key = version.ref.key
    if version.delete_marker:
        return key, "marker", version.current
    async with session.get(bucket, key, version_id=version.id) as reader:
        data = await reader.read()
    assert len(data) == version.size, f"(a) {key}: {len(data)} bytes of {version.size}"
    digest = hashlib.sha256(data).digest()
    if version.checksum_type is ChecksumType.FULL_OBJECT:
        assert digest == version.digests.sha256, f"(a) {key}: torn"
    return key, version.current, version.size, version.etag, digest, version.parts, version.content_type
