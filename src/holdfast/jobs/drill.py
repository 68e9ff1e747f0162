"""Drill: a set restored into a scratch catalog and a scratch store, and compared with the set, row by row and byte by byte.

What came of it is written beside the set, and into the audit. The scratch is a folder of this machine that goes again;
contents in it are encrypted with a key that nobody keeps.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from holdfast.backends.local import LocalSettings, open_local
from holdfast.catalog import dumping, open_catalog
from holdfast.core.backend import Store
from holdfast.core.clock import Environment, iso
from holdfast.core.errors import ConfigError, HoldfastError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import check_store
from holdfast.engine.backups import sets
from holdfast.engine.backups.reading import Segments, Wanted
from holdfast.engine.backups.rows import VERSIONS, Row, encode, ref_of, segments_of
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.secrets import RootSecret
from holdfast.engine.wrapping import root_keys
from holdfast.jobs import looking
from holdfast.jobs import spec as members
from holdfast.jobs.backup_rows import Beat, version_pages
from holdfast.jobs.backup_set import passes
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.jobs.pace import StoppedError
from holdfast.jobs.restore import Restore, Source, actor_of
from holdfast.layers import stack
from holdfast.layers.encryption import Encryption
from holdfast.policy.placement import Placement

_STORE: Final = "scratch"
_TOLD: Final = 100  #: differences that are told one by one
_TABLES: Final = (*(name for name in dumping.KEPT if name != "rules"), VERSIONS)


@dataclass(slots=True)
class _Found:
    """What was compared, and what is not as it was."""

    rows: int = 0
    versions: int = 0
    bytes: int = 0
    different: int = 0
    failures: list[ItemFailure] = field(default_factory=list)
    rows_digest: Any = field(default_factory=hashlib.sha256)
    contents_digest: Any = field(default_factory=hashlib.sha256)

    def differ(self, row: Row | None, what: str, code: str = "corrupted") -> None:
        """Note one difference."""
        self.different += 1
        if len(self.failures) < _TOLD:
            told = row or {}
            self.failures.append(
                ItemFailure(
                    str(told.get("bucket", "")),
                    str(told.get("key") or told.get("name") or ""),
                    str(told.get("id", "")),
                    code,
                    what,
                    tenant=str(told.get("tenant", "")),
                )
            )


class Drill:
    """Proves that a set can be restored."""

    name = "drill"
    verb = "operate"

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec in its usual form."""
        members.known(spec, "store", "set", "identity", "folder")
        store = members.text(spec, "store")
        return {
            "store": check_store(store) if store else "",
            "set": members.text(spec, "set", "latest"),
            "identity": members.file(spec, "identity"),
            "folder": members.text(spec, "folder"),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.backup_store(engine, said["store"])

    async def forecast(self, work: Work) -> Forecast:
        """Return how much would be restored."""
        work = _restoring(work)
        told = await Restore().forecast(work)
        return replace(
            told, notes=[*told.notes, "everything is read twice, and as much room is needed in the folder"]
        )

    async def split(self, work: Work) -> Sequence[Range]:
        """Return one part; a set that cannot be opened is refused here."""
        return await Restore().split(_restoring(work))

    async def step(self, work: Work, part: Part) -> Step:
        """Restore, compare, and write down what came of it: all in one, since the scratch does not outlive it."""
        clock = work.engine.context.environment.clock
        began, found, beat = clock.now(), _Found(), Beat(work)
        work = _restoring(work)
        source = await Source.of(work)
        async with scratch(work) as engine:
            found.failures += await _restore(replace(work, engine=engine), work, beat)
            found.different = len(found.failures)
            await _compare_rows(source, engine, found, beat)
            await _compare_contents(source, engine, found, beat, work)
        document = _evidence(work, source, found, began)
        await sets.write_json(
            source.store.backend, f"{sets.prefix_of(source.manifest.id)}drill-{work.job.id}.json", document
        )
        await work.engine.catalog.note_change(
            "",
            "backup-drill",
            {name: str(document[name]) for name in ("set", "result", "rows", "versions", "different")},
            actor=actor_of(work),
        )
        counts = Counts(
            found.versions,
            found.versions - min(found.different, found.versions),
            failed=found.different,
            bytes=found.bytes,
            notes={"rows": found.rows},
        )
        return Step("", done=True, counts=counts, failures=found.failures[:_TOLD])

    async def finish(self, work: Work) -> Finish:
        """Return the evidence."""
        source = await Source.of(_restoring(work))
        name = f"{sets.prefix_of(source.manifest.id)}drill-{work.job.id}.json"
        told = await sets.read_json(source.store.backend, name, name)
        times = {one: iso(told[one]) for one in ("moment", "began")}
        return Finish({**told, **times, "file": name})


def _restoring(work: Work) -> Work:
    """Return the work of restoring all of the set."""
    spec = {name: work.spec[name] for name in ("store", "set", "identity")}
    checked = {**Restore().check(spec), "folder": work.spec["folder"]}
    return replace(work, job=replace(work.job, spec=checked))


@asynccontextmanager
async def scratch(work: Work) -> AsyncIterator[Engine]:
    """Give an empty engine in a folder that goes when it is left.

    Raises:
        ConfigError: the folder cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="holdfast-drill-", dir=work.spec["folder"] or None))
    except OSError as error:
        raise ConfigError(f"no scratch folder can be made: {error.strerror}; name another one") from None
    world = Environment()
    try:
        (folder / "objects").mkdir()
        catalog = await open_catalog(f"sqlite:///{folder / 'catalog.db'}", environment=world, upgrade=True)
        try:
            secret = RootSecret.fresh(world)
            ring = CatalogKeyRing(catalog, root_keys("", secret, world), world.clock)
            driver = open_local(
                _STORE, LocalSettings(path=folder / "objects", fsync=False), environment=world
            )
            made = stack.faces(
                driver,
                environment=world,
                encrypt=lambda inner: Encryption(inner, ring, environment=world),
            )
            store = Store(_STORE, made.backend, sealed=made.sealed, encrypt=True)
            place = Placement.everything([_STORE], 1)
            engine = Engine(catalog, {_STORE: store}, place, environment=world, secret=secret, keys=ring)
        except BaseException:
            await catalog.close()
            raise
        try:
            yield engine
        finally:
            await engine.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _restore(inside: Work, work: Work, beat: Beat) -> list[ItemFailure]:
    """Restore into the scratch; return what could not be."""
    kind, part, failures = Restore(), Part(work.job.id, 0), list[ItemFailure]()
    source = await Source.of(work)
    while not part.done:
        step = await kind.put(inside, source, part)
        failures += step.failures
        part = replace(part, cursor=step.cursor, done=step.done)
        await beat()
        if work.stopping():
            raise StoppedError  # the scratch goes; the next try begins with an empty one
    return failures


async def _compare_rows(source: Source, engine: Engine, found: _Found, beat: Beat) -> None:
    """Compare every row of the set with the one that came back, in the same order."""
    async with engine.catalog.at_one_moment() as moment, aclosing(_scratch_rows(moment)) as back:
        async with aclosing(source.rows(set(_TABLES))) as rows:
            async for table, row in rows:
                line = encode([_plain(table, row)])
                found.rows += 1
                found.rows_digest.update(line)
                other = await anext(back, None)
                while other is not None and _before(other, (table, row)):
                    found.differ(other[1], f"a row of {other[0]} came back that is not in the backup")
                    other = await anext(back, None)
                if other is None or other[0] != table or encode([_plain(*other)]) != line:
                    found.differ(row, f"a row of {table} did not come back as it was")
                    if other is not None and _key(other) != _key((table, row)):
                        back = _pushed(other, back)
                await beat()
        async for table, row in back:
            found.differ(row, f"a row of {table} came back that is not in the backup")


async def _pushed(first: tuple[str, Row], rest: AsyncIterator[tuple[str, Row]]) -> Any:
    yield first
    async for one in rest:
        yield one


def _key(one: tuple[str, Row]) -> tuple[Any, ...]:
    """Return where a row stands among all rows, in the order in which they are read."""
    table, row = one
    names = ["id"] if table == VERSIONS else dumping.key(table)
    return (_TABLES.index(table), *(str(row[name]) for name in names))


def _before(one: tuple[str, Row], other: tuple[str, Row]) -> bool:
    return _key(one) < _key(other)


def _plain(table: str, row: Row) -> Row:
    """Return a row without what a restore changes on purpose: schedules are off, tiers of unknown stores forgotten."""
    if table == "schedules":
        return {**row, "enabled": False}
    return {**row, "tier": None} if table == VERSIONS else row


async def _scratch_rows(moment: Any) -> Any:
    for table in _TABLES:
        if table == VERSIONS:
            async for page in version_pages(moment, "", ""):
                for row in page:
                    yield table, row
            continue
        after: Row | None = None
        while page := await moment.rows(table, after=after):
            after = page[-1]
            for row in page:
                yield table, row


async def _compare_contents(source: Source, engine: Engine, found: _Found, beat: Beat, work: Work) -> None:
    """Compare the bytes of every version in the set with those that the scratch gives out."""
    index, contents, segments = source.index(), source.contents(), Segments(engine.context)
    try:
        async with aclosing(source.rows({VERSIONS})) as rows:
            async for _, row in rows:
                found.versions += 1
                each = segments_of(row)
                stretches = await index.of(row["id"]) if each else []
                for number, segment in enumerate(each):
                    kept, back = hashlib.sha256(), hashlib.sha256()
                    try:
                        async for payload in contents.segment(stretches, each, number):
                            kept.update(payload)
                            await work.gauge.bytes(len(payload))
                        wanted = Wanted(ref_of(row), row["id"], number, segment)
                        async with aclosing(segments.parts([wanted])) as parts:
                            async for _one, _offset, part in parts:
                                if isinstance(part, HoldfastError):
                                    raise part
                                back.update(part)
                                await beat()
                    except HoldfastError as error:
                        if passes(error):
                            raise
                        found.differ(row, error.message, error.code)
                        continue
                    if kept.digest() != back.digest():
                        found.differ(row, "its bytes are not those of the backup")
                    found.bytes += segment.size
                    found.contents_digest.update(f"{row['id']} {number} {kept.hexdigest()}\n".encode())
                await beat()
    finally:
        await contents.close()


def _evidence(work: Work, source: Source, found: _Found, began: int) -> dict[str, Any]:
    now = work.engine.context.environment.clock.now()
    return {
        "kind": "holdfast-backup-drill",
        "set": source.manifest.id,
        "moment": source.manifest.moment,
        "result": "different" if found.different else "equal",
        "by": work.job.principal,
        "job": work.job.id,
        "began": began,
        "seconds": round((now - began) / 1e6, 3),
        "rows": found.rows,
        "rows_sha256": found.rows_digest.hexdigest(),
        "versions": found.versions,
        "bytes": found.bytes,
        "contents_sha256": found.contents_digest.hexdigest(),
        "different": found.different,
        "differences": [
            {
                "tenant": one.tenant,
                "bucket": one.bucket,
                "key": one.key,
                "version": one.version_id,
                "what": one.message,
            }
            for one in found.failures[:_TOLD]
        ],
        "software": version("holdfast"),
    }
