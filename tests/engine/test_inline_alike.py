"""Whether contents lie in the catalog or in a store, clients are answered the same: one script, run against both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import HoldfastError
from holdfast.core.names import INLINE
from holdfast.core.types import NO_DIGESTS, ByteRange, Digests, ObjectRef, Quota, Version
from holdfast.engine.describing import Change
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from tests.helpers import content, engine_on, memory_store, noise, run

pytestmark = pytest.mark.engine

KEYS, BUCKETS = ("a", "b"), ("plain", "kept")
#: A write that is refused for several reasons is told one of them, whichever is looked at first.
_REFUSED = ("quota_exceeded", "precondition_failed", "digest_mismatch", "conflict")


@dataclass(frozen=True)
class Deed:
    """One thing that a client does."""

    verb: str
    bucket: str = "plain"
    key: str = "a"
    size: int = 0
    seed: int = 0
    condition: str = ""
    request: str | None = None
    wrong: bool = False
    streamed: bool = False


DEEDS = st.one_of(
    st.builds(
        Deed,
        verb=st.sampled_from(["put", "put", "put", "copy", "copy over", "upload"]),
        bucket=st.sampled_from(BUCKETS),
        key=st.sampled_from(KEYS),
        size=st.sampled_from([0, 1, 100, 900, 4095, 4096, 70_000]),
        seed=st.integers(0, 2),
        condition=st.sampled_from(["", "", "", "new", "same", "other"]),
        request=st.sampled_from([None, None, None, "one"]),
        wrong=st.sampled_from([False, False, False, True]),
        streamed=st.booleans(),
    ),
    st.builds(
        Deed,
        verb=st.sampled_from(["delete", "delete oldest", "delete newest", "tag", "read", "sweep"]),
        bucket=st.sampled_from(BUCKETS),
        key=st.sampled_from(KEYS),
        condition=st.sampled_from(["", "", "same", "other"]),
    ),
)


class Client:
    """Does deeds on one engine and tells what it was answered, ids told apart but not by name."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[str, str] = {}

    async def does(self, deed: Deed) -> Any:
        try:
            return await self._do(deed)
        except HoldfastError as error:
            return "refused" if error.code in _REFUSED else error.code

    async def _do(self, deed: Deed) -> Any:
        session, bucket, key = self._session, deed.bucket, deed.key
        how = await self._condition(deed)
        if deed.verb == "put":
            about = ObjectInput(None, {"m": str(deed.seed)}, {"t": str(deed.seed)}, _digests(deed))
            made = await session.put(
                bucket, key, _body(deed), about, conditions=how, idempotency_key=deed.request
            )
            return self.told(made)
        if deed.verb in ("copy", "copy over"):
            target = (bucket, key if deed.verb == "copy over" else "copied")
            made = await session.copy(("plain", "b"), target, conditions=how, idempotency_key=deed.request)
            return self.told(made)
        if deed.verb == "upload":
            upload = await session.create_upload(bucket, key)
            part = await session.put_part(bucket, key, upload.id, 1, _body(replace(deed, streamed=False)))
            return self.told(await session.complete_upload(bucket, key, upload.id, [(1, part.etag)]))
        if deed.verb == "tag":
            return self.told(await session.update(bucket, key, Change(None, None, {"new": "1"}, merge=True)))
        if deed.verb == "read":
            wish = ByteRange(10, 80_000)
            return await content(session, bucket, key, range=wish, conditions=how)
        return await self._remove(deed, how)

    async def _remove(self, deed: Deed, how: Preconditions) -> Any:
        named = None
        if deed.verb in ("delete oldest", "delete newest"):
            versions = (await self._session.versions(deed.bucket, prefix=deed.key)).items
            named = versions[-1 if deed.verb == "delete oldest" else 0].id if versions else "none"
        gone = await self._session.delete(deed.bucket, deed.key, version_id=named, conditions=how)
        return self._name(gone.version_id or ""), gone.delete_marker

    async def _condition(self, deed: Deed) -> Preconditions:
        if deed.condition == "new":
            return Preconditions(if_none_match=("*",))
        if deed.condition == "same":
            try:
                return Preconditions(if_match=((await self._session.head(deed.bucket, deed.key))[0].etag,))
            except HoldfastError:
                return NO_CONDITIONS
        return Preconditions(if_match=("another",)) if deed.condition else NO_CONDITIONS

    def told(self, version: Version) -> Mapping[str, Any]:
        fields = {name: getattr(version, name) for name in Version.__slots__}
        return {**fields, "id": self._name(version.id), "metadata": dict(version.metadata)}

    def _name(self, id: str) -> str:
        return self._names.setdefault(id, f"id {len(self._names)}") if id else ""

    async def sees(self) -> Any:
        """Everything that can be seen and counted."""
        seen: list[Any] = []
        for bucket in BUCKETS:
            versions = (await self._session.versions(bucket)).items
            seen += [self.told(version) for version in versions]
            for version in versions:
                if not version.delete_marker:
                    seen.append(await content(self._session, bucket, version.ref.key, version_id=version.id))
            seen += [await self._session.usage(bucket), await self._session.quota(bucket)]
            seen.append([item.ref.key for item in (await self._session.list(bucket)).items])
        return seen


def _digests(deed: Deed) -> Digests:
    return Digests(sha256=b"w" * 32) if deed.wrong else NO_DIGESTS


def _body(deed: Deed) -> Body:
    data = noise(deed.size, deed.seed)
    return Body.of_stream([data]) if deed.streamed else Body.of_bytes(data)


async def played(inline: int, script: list[Deed], quota: Quota, folder: str) -> tuple[list[Any], list[str]]:
    """Return all answers and what was seen in the end, and the stores that hold something then."""
    world = Environment.seeded(5)
    clock = world.clock
    assert isinstance(clock, ManualClock)
    url = f"sqlite:///{Path(folder) / f'{inline}.db'}"
    store = memory_store("mem", world)
    async with engine_on(url, store, environment=world, inline=inline) as (engine, session):
        client, answers = Client(session), []
        await engine.catalog.set_quota("default", "plain", quota)
        for deed in script:
            clock.advance(1)
            if deed.verb == "sweep":
                clock.advance(86_500)
                await engine.sweep()
            else:
                answers.append(await client.does(deed))
        answers.append(await client.sees())
        catalog: Any = engine.catalog
        for bucket in BUCKETS:
            assert await session.usage(bucket) == await catalog.recount("default", bucket)
            row, must = await catalog.ledger("default", bucket)
            assert row in (None, must)
        clock.advance(8 * 86_500)
        await engine.sweep()
        clock.advance(86_500)
        await engine.sweep()
        rows = await catalog.replicas()
        blobs = {
            (name, info.name) for name in ("mem", INLINE) async for info in engine.stores[name].backend.list()
        }
        assert blobs == {(row.store, row.blob) for row in rows}
        return answers, sorted(row.store for row in rows)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    script=st.lists(DEEDS, min_size=4, max_size=14),
    quota=st.sampled_from([Quota(), Quota(max_bytes=5000), Quota(max_objects=2)]),
)
def test_clients_cannot_tell(script: list[Deed], quota: Quota) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outside, where = run(played(0, script, quota, folder))
        inside, _ = run(played(4096, script, quota, folder))
    assert inside == outside
    assert INLINE not in where


def test_the_script_reaches_the_catalog(tmp_path: Path) -> None:
    """The comparison above compares something: the same deeds put small contents into the catalog in one of the runs."""
    script = [Deed("put", size=100), Deed("put", bucket="kept", key="b", size=4096)]
    _, outside = run(played(0, script, Quota(), str(tmp_path)))
    _, inside = run(played(4096, script, Quota(), str(tmp_path)))
    assert (outside, inside) == (["mem", "mem"], [INLINE, "mem"])


def test_the_version_says_nothing_of_where_it_is(tmp_path: Path) -> None:
    async def story() -> None:
        world = Environment.seeded(5)
        url = f"sqlite:///{tmp_path / 'catalog.db'}"
        async with engine_on(url, memory_store("mem", world), environment=world, inline=4096) as (
            engine,
            session,
        ):
            await session.put("plain", "k", Body.of_bytes(b"small"))
            located = await engine.catalog.resolve(ObjectRef("default", "plain", "k"))
            assert located.data is None  # only who reads is given the bytes
            whole = await engine.catalog.resolve(ObjectRef("default", "plain", "k"), whole=True)
            assert (whole.data, whole.version) == (b"small", located.version)

    run(story())
