"""Contents that lie in the catalog: with their version in one transaction, and gone with their replica."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.catalog import contents, sqlite
from holdfast.catalog.contract import Actor
from holdfast.catalog.transaction import Attempt
from holdfast.core.conditions import NO_CONDITIONS
from holdfast.core.errors import AlreadyExistsError, NotFoundError, UnavailableError
from holdfast.core.names import INLINE
from tests.engine.catalog.support import GRACE, desk_at
from tests.helpers import run

pytestmark = pytest.mark.engine


def test_the_bytes_come_with_the_version_when_they_are_asked_for(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            first = await desk.put_inline("k", "kept", size=7)
            second = await desk.put_inline("k", "kept", size=0)
            ref = desk.ref("k", "kept")
            assert (await desk.catalog.resolve(ref)).data is None
            found = await desk.catalog.resolve(ref, whole=True)
            assert (found.version.id, found.data) == (second.id, b"")
            older = await desk.catalog.resolve(ref, version_id=first.id, whole=True)
            assert (older.version.id, older.data) == (first.id, b"c" * 7)
            await desk.put("outside", "kept")
            assert (await desk.catalog.resolve(desk.ref("outside", "kept"), whole=True)).data is None
            await desk.check_counters()

    run(story())


def test_a_copy_that_is_suspect_is_not_brought_along(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put_inline("k")
            found = await desk.catalog.resolve(desk.ref("k"), whole=True)
            await desk.catalog.suspect(found.replicas[0].id)
            found = await desk.catalog.resolve(desk.ref("k"), whole=True)
            assert (found.data, [copy.store for copy in found.replicas]) == (None, [INLINE])

    run(story())


def test_what_is_replaced_waits_for_its_grace_but_not_long(catalog_url: str) -> None:
    async def story() -> None:
        day = 86_400_000_000
        async with desk_at(catalog_url) as desk:
            await desk.put_inline("k", grace=day)
            await desk.put_inline("k", grace=day)
            await desk.put("outside", grace=day)
            await desk.put("outside", grace=day)
            desk.advance(899)
            assert await desk.catalog.doomed() == []
            desk.advance(2)
            (doomed,) = await desk.catalog.doomed()
            assert (doomed.store, doomed.committed) == (INLINE, True)
            await desk.catalog.forget([doomed.id])
            assert [found.blob for found in await desk.catalog.content_list()] != [doomed.blob]
            assert len(await desk.catalog.content_list()) == 1
            assert sorted((await desk.states()).values()) == ["doomed", "live", "live"]

    run(story())


def test_only_what_is_doomed_is_forgotten(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put_inline("k")
            (copy,) = await desk.catalog.replicas()
            await desk.catalog.forget([copy.id])
            assert (await desk.catalog.resolve(desk.ref("k"), whole=True)).data == b"ccccc"

    run(story())


def test_the_verbs_of_a_store(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            created = await catalog.content_put("t/b", b"two")
            await catalog.content_put("t/a", b"one", if_absent=True)
            with pytest.raises(AlreadyExistsError):
                await catalog.content_put("t/a", b"other", if_absent=True)
            assert await catalog.content_get("t/b") == contents.Content("t/b", 3, created, b"two")
            assert await catalog.content_info("t/b") == contents.Content("t/b", 3, created)
            assert [found.blob for found in await catalog.content_list("t/")] == ["t/a", "t/b"]
            assert [found.blob for found in await catalog.content_list("t/", after="t/a")] == ["t/b"]
            await catalog.content_delete("t/b")
            await catalog.content_delete("t/b")
            for look in (catalog.content_get, catalog.content_info):
                with pytest.raises(NotFoundError):
                    await look("t/b")

    run(story())


def test_a_commit_asked_for_again_is_known_by_its_replica(catalog_url: str) -> None:
    """Also when somebody replaced the version since."""

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref, version_id = desk.ref("k"), desk.world.new_id()
            copy = desk.replica(version_id, version_id, INLINE, 5)
            version = desk.content(ref, [copy])
            made = await desk.catalog.commit_inline(version, copy, b"first", grace=GRACE)
            newer = await desk.put_inline("k")
            again = await desk.catalog.commit_inline(version, copy, b"first", grace=GRACE)
            assert (again.id, again.current) == (made.id, False)
            assert (await desk.catalog.resolve(ref)).version.id == newer.id
            await desk.check_counters()

    run(story())


def test_with_too_short_a_grace_the_outcome_is_not_guessed(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            copy = desk.replica(desk.world.new_id(), "s", INLINE, 5)
            lost = contents.commit(
                desk.content(desk.ref("k"), [copy]),
                copy,
                b"first",
                conditions=NO_CONDITIONS,
                request=None,
                grace=0,
                actor=Actor(),
                now=await desk.catalog.now(),
            )
            with pytest.raises(UnavailableError, match="not known"):
                await desk.catalog._runner.write(lambda attempt: lost(Attempt(again=True)))

    run(story())


def test_a_reader_remembers_no_more_bytes_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_REMEMBERED_BYTES", 5000)
    monkeypatch.setattr(sqlite, "_REMEMBERED_LARGEST", 2000)

    async def story() -> None:
        async with desk_at(f"sqlite:///{tmp_path / 'catalog.db'}") as desk:
            for number in range(12):
                await desk.put_inline(f"k{number}", size=900)
            await desk.put_inline("large", size=2001)
            for key in (*(f"k{number}" for number in range(12)), "large", "k0"):
                found = await desk.catalog.resolve(desk.ref(key), whole=True)
                assert found.data == b"c" * found.version.size
                reader = desk.catalog._runner._readers.reader  # type: ignore[attr-defined]
                remembered = [len(answer.data) for answer in reader._answers.values()]
                assert sum(remembered) <= 5000
                assert 2001 not in remembered
            assert remembered

    run(story())
