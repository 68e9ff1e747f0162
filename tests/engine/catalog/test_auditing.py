"""The sealed audit: nothing is lost between row and segment, and whoever comes second finds nothing left to do."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import asyncpg
import pytest

from holdfast.catalog import open_catalog
from holdfast.catalog.auditing import BEGUN, append
from holdfast.catalog.chain import AuditHead, Chain, Line, extended, pack, unpack
from holdfast.catalog.contract import Actor
from holdfast.catalog.transaction import Attempt
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, CorruptedError
from holdfast.engine.audit import Auditor
from holdfast.engine.secrets import RootSecret
from tests.engine.catalog.support import Desk, desk_at, run

pytestmark = pytest.mark.engine

SECRET = RootSecret(b"an audit's secret that tests share")


def chain(tenant: str = "t") -> Chain:
    return Auditor(None, SECRET).chain(tenant)  # type: ignore[arg-type]


def auditor(desk: Desk) -> Auditor:
    return Auditor(desk.catalog, SECRET)


async def told(desk: Desk, tenant: str = "t") -> list[tuple[str, str]]:
    return [(entry.action, entry.key) for entry in await desk.catalog.audit(tenant)]


def test_what_is_sealed_reads_as_it_did_when_it_was_open(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for name in ("a", "b", "c"):
                await desk.put(name, size=7)
            await desk.delete("b")
            before = await desk.catalog.audit("t")
            count = len(before)
            assert [entry.number for entry in before] == list(range(1, count + 1))
            assert [entry.action for entry in before[-4:]] == ["put", "put", "put", "delete"]
            assert (await auditor(desk).seal()).sealed == count
            assert await desk.catalog.audit("t") == before
            assert await desk.catalog.audit_open("t", limit=10) == ([], [])
            await desk.put("d")
            assert await told(desk) == [*[(entry.action, entry.key) for entry in before], ("put", "d")]
            for after in range(count + 2):
                rest = await desk.catalog.audit("t", after=after, limit=2)
                assert [entry.number for entry in rest] == [
                    number for number in (after + 1, after + 2) if number <= count + 1
                ]
            assert (await auditor(desk).verify("t")).whole

    run(story())


def test_times_choose_records(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            times = []
            for name in ("a", "b", "c", "d"):
                desk.advance(60)
                times.append(await desk.catalog.now())
                await desk.put(name)
                if name in "ac":
                    await auditor(desk).seal()
            found = await desk.catalog.audit("t", since=times[1], until=times[3])
            assert [entry.key for entry in found] == ["b", "c"]
            assert [entry.key for entry in await desk.catalog.audit("t", since=times[3])] == ["d"]

    run(story())


def test_the_service_notes_which_audits_began(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for _ in range(3):
                await desk.put("k")
                await auditor(desk).seal()
            assert [entry.detail for entry in await desk.catalog.audit("") if entry.action == BEGUN] == [
                {"of": "t"}
            ]

    run(story())


def test_an_audit_cannot_vanish_unnoticed_also_after_the_services_own_was_pruned(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for _ in range(2):
                await auditor(desk).seal()
            assert all(verdict.whole for verdict in await auditor(desk).verify_all())
            desk.advance(60)
            pruned = await auditor(desk).prune("", before=await desk.catalog.now(), actor=Actor("op"))
            assert pruned.records >= 1
            await auditor(desk).seal()
            assert [verdict.problem for verdict in await auditor(desk).verify_all()] == ["", ""]
            await _wipe(catalog_url, desk, "t")
            assert [verdict.problem for verdict in await auditor(desk).verify_all()] == ["", "missing"]
            await desk.put("k")
            for _ in range(2):
                await auditor(desk).seal()
            assert (await auditor(desk).verify("t")).problem == "missing"
            assert [verdict.problem for verdict in await auditor(desk).verify_all()] == ["", "missing"]
            await auditor(desk).restart("t", actor=Actor("op"))
            assert "t" not in (await auditor(desk).seal()).failed
            assert [verdict.problem for verdict in await auditor(desk).verify_all()] == ["", ""]

    run(story())


@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("gone", [("",), ("t",), ("", "u"), ("", "t", "u")])
def test_no_audit_can_be_deleted_unnoticed(catalog_url: str, gone: tuple[str, ...], marks: bool) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.create_tenant("u")
            for _ in range(2):
                await auditor(desk).seal()
            assert [verdict.problem for verdict in await auditor(desk).verify_all()] == ["", "", ""]
            for tenant in gone:
                await _wipe(catalog_url, desk, tenant, marks=marks)
            found = {verdict.tenant for verdict in await auditor(desk).verify_all() if not verdict.whole}
            if not marks or gone != ("", "t", "u"):
                assert found >= set(gone)
            assert found >= set(gone) - {""}

    run(story())


def test_the_services_audit_cannot_begin_anew_unnoticed(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for _ in range(2):
                await auditor(desk).seal()
            await _wipe(catalog_url, desk, "", marks=True)
            stranger = auditor(desk)
            stranger.recorder.add(lambda raw: ("", Line(1, action="get")), ())
            assert (await stranger.seal()).failed == {}
            assert (await auditor(desk).verify("")).whole
            assert [verdict.problem for verdict in await auditor(desk).verify_all()] == ["missing", ""]

    run(story())


async def _wipe(url: str, desk: Desk, tenant: str, *, marks: bool = False) -> None:
    """Remove all that is sealed of a tenant, behind the catalog's back, perhaps with the mark that it was there."""
    statements = [
        f"DELETE FROM {table} WHERE tenant = '{tenant}'" for table in ("audit_segments", "audit_heads")
    ]
    if marks:
        statements.append(f"DELETE FROM secrets WHERE name = 'audit-begun:{tenant}'")
    for sql in statements:
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
                database.execute(sql)
                database.commit()
        else:
            connection = await asyncpg.connect(url)
            await connection.execute(sql)
            await connection.close()


def test_many_sealers_at_once_seal_each_row_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            others = [await open_catalog(catalog_url) for _ in range(2)]
            try:
                auditors = [Auditor(catalog, SECRET) for catalog in (desk.catalog, *others)]

                async def write(name: str) -> None:
                    for number in range(15):
                        await desk.put(f"{name}{number:02}")

                async def seal(one: Auditor) -> None:
                    for _ in range(12):
                        report = await one.seal()
                        assert all(isinstance(error, ConflictError) for error in report.failed.values())
                        await asyncio.sleep(0.005)

                await asyncio.gather(*(write(name) for name in "abc"), *(seal(one) for one in auditors))
                await auditors[0].seal()
            finally:
                for catalog in others:
                    await catalog.close()
            keys = [key for action, key in await told(desk) if action == "put"]
            assert sorted(keys) == sorted(f"{name}{number:02}" for name in "abc" for number in range(15))
            verdict = await auditor(desk).verify("t")
            assert verdict.whole, verdict
            assert (verdict.records, verdict.open) == (len(await desk.catalog.audit("t")), 0)

    run(story())


def test_rows_that_somebody_else_took_are_refused_and_stay_as_they_are(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put("a")
            ids, lines = await desk.catalog.audit_open("t", limit=10)
            await desk.put("b")
            await auditor(desk).seal()
            before = await desk.catalog.audit_head("t")
            with pytest.raises(ConflictError):
                await desk.catalog.seal_audit("t", chain(), pack(lines), taken=ids)
            assert await desk.catalog.audit_head("t") == before
            await desk.put("c")
            ids, lines = await desk.catalog.audit_open("t", limit=10)
            with pytest.raises(ConflictError):  # a row lies in between that these records do not hold
                await desk.catalog.seal_audit("t", chain(), pack(lines), taken=[ids[0] - 1, *ids])
            assert await desk.catalog.audit_open("t", limit=10) == (ids, lines)

    run(story())


def test_a_chain_that_was_touched_is_not_added_to(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await auditor(desk).seal()
            await desk.put("a")
            stranger = Auditor(desk.catalog, RootSecret(b"another secret, also long enough to use"))
            report = await stranger.seal()
            assert isinstance(report.failed["t"], CorruptedError)
            assert len((await desk.catalog.audit_open("t", limit=10))[0]) == 1
            assert (await stranger.verify("t")).problem == "head"
            with pytest.raises(CorruptedError):
                await stranger.prune("t", before=1 << 60, actor=Actor("op"))

    run(story())


def test_pruned_records_are_gone_and_the_rest_still_verifies(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await auditor(desk).seal()
            count = len(await desk.catalog.audit("t"))
            for name in ("a", "b", "c"):
                desk.advance(60)
                await desk.put(name)
                await auditor(desk).seal()
            middle = await desk.catalog.now()
            pruned = await auditor(desk).prune("t", before=middle, actor=Actor("op"))
            assert (pruned.segments, pruned.records) == (3, count + 2)
            left = await desk.catalog.audit("t")
            assert [(entry.number, entry.action, entry.key) for entry in left] == [
                (count + 3, "put", "c"),
                (count + 4, "prune-audit", ""),
            ]
            assert left[1].principal == "op"
            verdict = await auditor(desk).verify("t")
            assert verdict.whole
            assert (verdict.segments, verdict.records, verdict.pruned) == (1, 1, count + 2)
            desk.advance(60)
            assert (
                await auditor(desk).prune("t", before=await desk.catalog.now(), actor=Actor())
            ).segments == 1
            assert (await auditor(desk).verify("t")).whole
            await auditor(desk).seal()
            assert (await auditor(desk).verify("t")).whole
            assert [entry.number for entry in await desk.catalog.audit("t")] == [
                count + 4,
                count + 5,
            ]

    run(story())


def test_an_audit_that_is_given_up_goes_on_with_its_numbers(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await auditor(desk).seal()
            count = len(await desk.catalog.audit("t"))
            other = Auditor(desk.catalog, RootSecret(b"another secret, also long enough to use"))
            await other.restart("t", actor=Actor("op"))
            await other.seal()
            assert (await other.verify("t")).whole
            assert [(entry.number, entry.action) for entry in await desk.catalog.audit("t")] == [
                (count + 1, "restart-audit")
            ]

    run(story())


def test_heads_seen_earlier_are_still_held(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            heads = []
            for name in ("a", "b", "c"):
                await desk.put(name)
                await auditor(desk).seal()
                heads.append((await auditor(desk).verify("t")).head)
            for head in heads:
                assert (await auditor(desk).verify("t", expected=head)).whole
            number, _, mac = heads[1].partition(":")
            other = f"{number}:{'00' * 32}"
            assert (await auditor(desk).verify("t", expected=other)).problem == "rolled-back"
            assert (await auditor(desk).verify("t", expected=f"9:{mac}")).problem == "rolled-back"

    run(story())


def test_sealing_again_after_a_lost_answer_changes_nothing() -> None:
    """The transaction, driven by hand as after a commit that was not heard of."""
    lines = [Line(1, action="get"), Line(2, action="put")]
    attempt, packed = Attempt(), pack(lines)
    steps = append("t", chain(), packed, [], None)(attempt)
    rows: Sequence[Sequence[object]] = ()
    try:
        for _ in range(20):
            call = steps.send(None if not attempt.seen and not rows else rows)  # type: ignore[arg-type]
            rows = [(0,)] if "max(" in call.statement.sqlite[0] or "now" in call.params else []  # type: ignore[union-attr]
    except StopIteration as stop:
        made = stop.value
    attempt.again = True
    again = append("t", chain(), packed, [], None)(attempt)
    asked = next(again)
    assert asked.params == {"tenant": "t", "of_number": 1}  # type: ignore[union-attr]
    with pytest.raises(StopIteration) as stopped:
        again.send([(made.mac,)])
    assert stopped.value.value == made


def test_packs_hold_what_was_put_in_and_links_depend_on_all_of_it() -> None:
    lines = [Line(at, "p", "get", "b", f"k\U0001f600{at}", detail={"a": "b"}, bytes=at) for at in range(2500)]
    segments, head = extended(chain(), AuditHead(), pack(lines))
    assert [segment.count for segment in segments] == [1000, 1000, 500]
    assert [line for segment in segments for line in unpack(segment)] == lines
    first = segments[0]
    link = chain().link(AuditHead().mac, first)
    assert link == first.mac
    for changed in (
        replace(first, number=2),
        replace(first, first=2),
        replace(first, count=999),
        replace(first, from_at=1),
        replace(first, to_at=1),
        replace(first, records=first.records + b"x"),
    ):
        assert chain().link(AuditHead().mac, changed) != link
    assert chain("u").link(AuditHead().mac, first) != link
    assert chain().link(segments[1].mac, first) != link
    assert chain().holds(head)
    for name in ("segments", "records", "pruned_segments", "pruned_records"):
        assert not chain().holds(replace(head, **{name: getattr(head, name) + 1}))
    with pytest.raises(CorruptedError):
        unpack(replace(first, records=first.records[:-5]))
