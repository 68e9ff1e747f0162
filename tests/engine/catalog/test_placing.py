"""Placement rules in the catalog, and versions as placement sees them, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from holdfast.catalog import placing
from holdfast.catalog.contract import Actor
from holdfast.catalog.transaction import Attempt
from holdfast.core.errors import ConflictError
from holdfast.core.records import Fragment, HeldVersion, KeptRules
from tests.engine.catalog.support import Desk, desk_at, run

pytestmark = pytest.mark.engine

A, B, C = ("a", '{"name": "a"}'), ("b", '{"name": "b"}'), ("c", '{"name": "c"}')


def to(*rules: tuple[str, str]) -> Callable[[KeptRules], Sequence[tuple[str, str]]]:
    return lambda held: rules


def test_rules_keep_their_order_and_every_change_is_counted_and_audited(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog, actor = desk.catalog, Actor("boss", "r-1")
            assert await catalog.rules() == KeptRules()
            assert await catalog.change_rules(to(B, A), actor=actor) == KeptRules((B, A), 1)
            assert await catalog.change_rules(to(B, A), actor=actor) == KeptRules((B, A), 1)
            changed = ("a", '{"name": "a", "stores": ["x"]}')
            made = await catalog.change_rules(to(C, changed), expected=1, actor=actor)
            assert made == await catalog.rules() == KeptRules((C, changed), 2)
            assert await catalog.generation("rules") == 2
            with pytest.raises(ConflictError, match="generation 2, not 1"):
                await catalog.change_rules(to(), expected=1, actor=actor)
            assert await catalog.change_rules(to(), expected=2, actor=actor) == KeptRules((), 3)
            told = [entry for entry in await catalog.audit("") if entry.action == "set-rules"]
            assert [(entry.principal, dict(entry.detail)) for entry in told] == [
                ("boss", {"generation": "1", "added": "b, a", "now": f"[{B[1]}, {A[1]}]"}),
                (
                    "boss",
                    {
                        "generation": "2",
                        "added": "c",
                        "changed": "a",
                        "removed": "b",
                        "now": f"[{C[1]}, {changed[1]}]",
                    },
                ),
                ("boss", {"generation": "3", "removed": "c, a", "order": ""}),
            ]

    run(story())


def test_a_change_whose_end_was_not_heard_of_is_made_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:

            def added(held: KeptRules) -> Sequence[tuple[str, str]]:
                assert A not in held.rules  # as somebody who refuses a second rule of that name
                return (*held.rules, A)

            change = placing.change_rules(added, expected=0, actor=Actor(), now=desk.catalog._runner.stamp())
            attempt = Attempt()
            first = await desk.catalog._runner.write(lambda _: change(attempt))
            attempt.again = True
            assert await desk.catalog._runner.write(lambda _: change(attempt)) == first == KeptRules((A,), 1)
            assert len([e for e in await desk.catalog.audit("") if e.action == "set-rules"]) == 1

    run(story())


async def every(desk: Desk, limit: int) -> list[HeldVersion]:
    """All versions, page by page."""
    found: list[HeldVersion] = []
    after: Any = (-1, "", 0)
    while after is not None:
        page = await desk.catalog.held_versions(after=after, limit=limit)
        assert len(page.versions) <= limit
        found += page.versions
        after = page.after
    return found


def test_versions_are_paged_with_the_stores_that_hold_them(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            plain = await desk.put("é", tags={"a": "b"}, storage_class="COLD")
            desk.stores = ("one", "two")
            old = await desk.put("k", "kept")
            new = await desk.put("k", "kept", size=7)
            await desk.put("gone", "kept")
            await desk.delete("gone", "kept")  # leaves a marker over it
            upload = await desk.upload("big")
            parts = [(await desk.part(upload, number))[0] for number in (1, 2)]
            joint = desk.assembled(upload, parts)
            await catalog.complete_upload(upload.id, joint, grace=0)
            bad = next(copy for copy in await catalog.replicas() if copy.version_id == new.id)
            await catalog.suspect(bad.id)
            await catalog.update_tenant("t", change=lambda held: replace(held, inline=9))
            await catalog.update_bucket(
                "t", "kept", change=lambda held: replace(held, inline=3, encryption="store")
            )
            found = {one.version_id: one for one in await every(desk, 2)}
            assert {one.version_id for one in await every(desk, 1000)} == set(found)
            assert len(found) == 5
            first = found[plain.id]
            assert (first.ref, first.size, first.storage_class, first.tags) == (
                plain.ref,
                5,
                "COLD",
                {"a": "b"},
            )
            assert (first.stores, first.broken, first.inline, first.encrypted, first.parts) == (
                *(("one",), (), 9, False),
                1,
            )
            assert (found[old.id].stores, found[old.id].inline, found[old.id].encrypted) == (
                ("one", "two"),
                3,
                True,
            )
            assert (found[new.id].stores, found[new.id].broken) == (
                tuple({"one", "two"} - {bad.store}),
                (Fragment(bad.store, 1, 7, 0, 0),),
            )
            whole = found[joint.id]
            assert (whole.parts, whole.stores, whole.size) == (2, ("one",), 20)
            assert (await catalog.version(plain.ref, plain.id)).storage_class == "COLD"
            assert (await catalog.resolve(plain.ref)).version.storage_class == "COLD"
            listed = await catalog.list_objects("t", "plain")
            assert [one.storage_class for one in listed.items] == ["", "COLD"]

    run(story())
