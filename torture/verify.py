"""Looking at what is left after a death, as a client and as an operator would, and naming every broken promise."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.backends.local.paths import path_of
from holdfast.core.body import Body
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.names import ABOUT, INLINE
from holdfast.core.types import Replica, ReplicaState, Version
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from torture.model import Content, Key, Model
from torture.service import DAY, engine_on, read
from torture.workload import BUCKETS, KEYS, Seen, content_of

#: The kinds of violations, worst first.
KINDS = ("lost", "torn", "wrong", "missing", "orphan", "usage", "listing", "broken")
DAMAGE = ("lost", "torn", "wrong", "missing")  #: those that a client feels
TIDIED = "#tidied"  #: the note of a local store that it was tidied
_READABLE = (ReplicaState.LIVE, ReplicaState.SUSPECT)


@dataclass
class Verdict:
    """What was found: violations by kind, the content of every key, and how long the restart took."""

    violations: list[tuple[str, str]] = field(default_factory=list)
    found: dict[Key, Content] = field(default_factory=dict)
    restart: float = 0.0

    def wrong(self, kind: str, text: str) -> None:
        """Note a broken promise."""
        self.violations.append((kind, text[:800]))

    def by_kind(self) -> Counter[str]:
        """Return how many of each kind."""
        return Counter(kind for kind, _ in self.violations)


async def verify(data: Path, model: Model, *, final: bool = True) -> Verdict:
    """Open what is left in `data`, compare it with `model`, and with `final` sweep and count the files.

    Without `final` the data goes on being used, so nothing that is under lease or grace is swept.
    """
    verdict = Verdict()
    for text in (*model.complaints, *model.wrong_reads()):
        verdict.wrong(
            "torn" if "torn" in text else "wrong" if "read" in text else "broken", f"during the load: {text}"
        )
    model.complaints.clear()
    try:
        await _look(data, model, verdict)
        if final:
            await _empty(data, model, verdict)
    except HoldfastError as error:
        verdict.wrong("broken", f"after the restart: {type(error).__name__}: {error}")
    return verdict


async def _look(data: Path, model: Model, verdict: Verdict) -> None:
    started = time.monotonic()
    async with engine_on(data) as (engine, session):
        verdict.restart = time.monotonic() - started
        for bucket in BUCKETS:
            for key in KEYS:
                verdict.found[bucket, key] = await _key(session, model, verdict, (bucket, key))
        await _kept(session, model, verdict)
        await _listings(session, verdict)
        await _counters(engine, session, verdict)
        await _blobs(engine, session, data, verdict)
        await _works(session, verdict)


async def _key(session: Session, model: Model, verdict: Verdict, key: Key) -> Content:
    seen = await _read(session, verdict, key)
    content = None if seen is None else content_of(seen.data)
    if content is not None and content not in model.sizes:
        verdict.wrong("wrong", f"{key} holds bytes that nobody wrote ({_blame(seen)})")
    elif content not in model.allowed(key):
        wanted = sorted(model.sizes.get(one or "", -1) for one in model.allowed(key))
        verdict.wrong("lost", f"{key} holds {_name(content, model)}; allowed are sizes {wanted}")
    return content


async def _read(session: Session, verdict: Verdict, key: Key, version_id: str | None = None) -> Seen | None:
    try:
        seen = await read(session, *key, version_id)
    except NotFoundError:
        return None
    except HoldfastError as error:
        verdict.wrong("missing", f"{key} cannot be read: {type(error).__name__}: {error}")
        return None
    if seen.sha256 is not None and seen.sha256 != content_of(seen.data):
        verdict.wrong("torn", f"{key}: the bytes are not those of the catalog ({_blame(seen)})")
    return seen


async def _kept(session: Session, model: Model, verdict: Verdict) -> None:
    """Every answered version of a versioned bucket is still there."""
    for version_id, (key, content) in model.kept.items():
        seen = await _read(session, verdict, key, version_id)
        if seen is None:
            verdict.wrong("lost", f"version {version_id} of {key} was answered and is gone")
        elif content_of(seen.data) != content:
            verdict.wrong("wrong", f"version {version_id} of {key} has other bytes ({_blame(seen)})")


async def _listings(session: Session, verdict: Verdict) -> None:
    for bucket in BUCKETS:
        listed = {item.ref.key for item in (await session.list(bucket)).items}
        held = {
            key for (place, key), content in verdict.found.items() if place == bucket and content is not None
        }
        if listed - {"works"} != held:
            verdict.wrong("listing", f"{bucket} lists {sorted(listed)} and holds {sorted(held)}")


async def _counters(engine: Engine, session: Session, verdict: Verdict) -> None:
    for bucket in BUCKETS:
        counted = await session.usage(bucket)
        real = await engine.catalog.recount(session.principal.tenant, bucket)
        if counted != real:
            verdict.wrong("usage", f"{bucket}: {counted} counted, {real} there")


async def _blobs(engine: Engine, session: Session, data: Path, verdict: Verdict) -> None:
    """Every live replica has its file (or its row of bytes), of its size, and belongs to a version that can be reached."""
    sizes = await _segment_sizes(engine, session)
    rows, contents = await _rows(engine), await _contents(engine)
    for row in rows:
        if row.state not in _READABLE:
            continue
        path = data / "objects" / path_of(row.blob)
        size = path.stat().st_size if path.exists() else contents.get(row.blob, -1)
        if row.segment_id not in sizes:
            verdict.wrong("orphan", f"live replica {row.blob} belongs to no version")
        elif size != sizes[row.segment_id]:
            verdict.wrong(
                "missing", f"live replica {row.blob} of {sizes[row.segment_id]} bytes: the file has {size}"
            )


async def _segment_sizes(engine: Engine, session: Session) -> dict[str, int]:
    return {
        segment.id: segment.size
        for bucket in BUCKETS
        for version in await _versions(session, bucket)
        if not version.delete_marker
        for segment in (await engine.catalog.resolve(version.ref, version_id=version.id)).segments
    }


async def _works(session: Session, verdict: Verdict) -> None:
    """Life goes on: a write is taken and read back."""
    for bucket in BUCKETS:
        await session.put(bucket, "works", Body.of_bytes(b"it works"))
        seen = await _read(session, verdict, (bucket, "works"))
        if seen is None or seen.data != b"it works":
            verdict.wrong("broken", f"a write after the restart was not read back from {bucket}")


async def _empty(data: Path, model: Model, verdict: Verdict) -> None:
    """Past all leases, graces and lifetimes one sweep leaves exactly what is live, unchanged."""
    async with engine_on(data, ahead=30 * DAY) as (engine, session):
        report = await engine.sweep()
        if report.failed:
            verdict.wrong("orphan", f"the sweep failed: {report.reasons}")
        for row in await _rows(engine):
            if row.state not in _READABLE:
                verdict.wrong("orphan", f"row left after the sweep: {row}")
        async for _ in engine.stores["local"].backend.list():
            pass  # a listing removes what dead writers left in temporary files
        rows = await _rows(engine)
        _compare_files(data, {row.blob for row in rows if row.store != INLINE}, verdict)
        _compare_contents(
            set(await _contents(engine)), {row.blob for row in rows if row.store == INLINE}, verdict
        )
        for key, content in verdict.found.items():
            seen = await _read(session, verdict, key)
            if (None if seen is None else content_of(seen.data)) != content:
                verdict.wrong("lost", f"{key} changed by a sweep")
        await _kept(session, model, verdict)
        await _counters(engine, session, verdict)


def _compare_files(data: Path, blobs: set[str], verdict: Verdict) -> None:
    """Compare files with rows; each blob may have a record beside it that says what it is."""
    root = data / "objects"
    wanted = {path_of(name) for name in blobs}
    records = {path_of(name + ABOUT) for name in blobs}
    there = {
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, names in os.walk(root)
        for name in names
    }
    for path in sorted(there - wanted - records - {TIDIED}):
        verdict.wrong("orphan", f"file {path} belongs to no row after the sweep")
    for path in sorted(wanted - there):
        verdict.wrong("missing", f"file {path} is gone after the sweep")


async def _contents(engine: Engine) -> dict[str, int]:
    """Return the sizes of the contents that lie in the catalog."""
    return {info.name: info.size async for info in engine.stores[INLINE].backend.list()}


def _compare_contents(there: set[str], wanted: set[str], verdict: Verdict) -> None:
    for name in sorted(there - wanted):
        verdict.wrong("orphan", f"content {name} belongs to no row after the sweep")
    for name in sorted(wanted - there):
        verdict.wrong("missing", f"content {name} is gone after the sweep")


async def _rows(engine: Engine) -> list[Replica]:
    rows: list[Replica] = []
    while page := await engine.catalog.replicas(after=rows[-1].id if rows else ""):
        rows += page
    return rows


async def _versions(session: Session, bucket: str) -> list[Version]:
    found: list[Version] = []
    key, version = "", ""
    while True:
        page = await session.versions(bucket, key_marker=key, version_marker=version)
        found += page.items
        if not page.truncated:
            return found
        key, version = page.next_key, page.next_version


def _name(content: Content, model: Model) -> str:
    return "nothing" if content is None else f"{content[:12]} of {model.sizes.get(content, -1)} bytes"


def _blame(seen: Seen | None) -> str:
    """Return whose bytes these are, by the stamps in them."""
    if seen is None:
        return "nothing"
    stamps = Counter(
        int.from_bytes(seen.data[start : start + 8], "little") for start in range(0, len(seen.data), 512)
    )
    return f"{len(seen.data)} bytes, of operations {dict(stamps.most_common(4))}"
