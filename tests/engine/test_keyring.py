"""Keys in the catalog, on both databases: made, found, rotated under load, destroyed, kept elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from holdfast.catalog import SqlCatalog, open_catalog
from holdfast.catalog.schema import tenant_keys
from holdfast.catalog.statements import Statement
from holdfast.catalog.transaction import Attempt, Steps
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import ConfigError, CorruptedError
from holdfast.core.keyring import LockedError, LostKeyError, ShreddedError
from holdfast.core.records import KeptKey, TenantKeyState
from holdfast.engine.key_command import seal_keys_of
from holdfast.engine.keyring import CatalogKeyRing
from tests.engine.encrypted import ACTOR, K1, K2, roots
from tests.helpers import run

pytestmark = pytest.mark.engine

SHOP = "shop/2026112108/{}.floe1"


@dataclass
class Desk:
    catalog: SqlCatalog
    environment: Environment

    def ring(self, seal_keys: str = "") -> CatalogKeyRing:
        return CatalogKeyRing(self.catalog, roots(self.environment, seal_keys), self.environment.clock)

    async def lose_tenant_keys(self) -> None:
        """Make the catalog one whose keys of tenants were lost."""

        def steps(_: Attempt) -> Steps[None]:
            yield Statement(tenant_keys.delete())()

        await self.catalog._runner.write(steps)

    def later(self) -> None:
        assert isinstance(self.environment.clock, ManualClock)
        self.environment.clock.advance(3)


@asynccontextmanager
async def desk(url: str, seed: int = 4) -> AsyncIterator[Desk]:
    environment = Environment.seeded(seed)
    catalog = await open_catalog(url, environment=environment, upgrade=True)
    try:
        yield Desk(catalog, environment)
    finally:
        await catalog.close()


def test_a_key_is_kept_before_it_is_used_and_opened_by_every_process(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            made = await at.ring().make("main", SHOP.format("a"))
            assert (len(made.secret), made.generation) == (64, 1)
            for ring in (at.ring(), at.ring()):
                found = await ring.find("main", SHOP.format("a"))
                assert found == made
                assert await ring.open("main", SHOP.format("a"), 1, made.wrapped) == made
                assert await ring.find("main", SHOP.format("b")) is None
                assert await ring.find("other", SHOP.format("a")) is None
            again = await at.ring().make("main", SHOP.format("a"))
            assert again.secret != made.secret
            assert await at.ring().find("main", SHOP.format("a")) == again
            ring = at.ring()
            await ring.forget("main", SHOP.format("a"))
            await ring.forget("main", SHOP.format("a"))
            assert await ring.find("main", SHOP.format("a")) is None

    run(story())


def test_two_processes_make_the_first_key_of_a_tenant_together(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            rings = [at.ring() for _ in range(8)]
            made = await asyncio.gather(
                *(ring.make("main", SHOP.format(number)) for number, ring in enumerate(rings))
            )
            assert {key.generation for key in made} == {1}
            (kept,) = await at.catalog.tenant_keys("shop")
            assert kept.state is TenantKeyState.ACTIVE
            for number, key in enumerate(made):
                assert await at.ring().find("main", SHOP.format(number)) == key

    run(story())


def test_a_key_opens_for_its_own_blob_alone(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            ring = at.ring()
            one = await ring.make("main", SHOP.format("a"))
            await ring.make("main", "other/x.floe1")
            assert (await ring.open("elsewhere", SHOP.format("a"), 1, one.wrapped)).secret == one.secret
            altered = one.wrapped[:20] + bytes([one.wrapped[20] ^ 1]) + one.wrapped[21:]
            for name, wrapped in (
                (SHOP.format("b"), one.wrapped),
                ("other/x.floe1", one.wrapped),
                (SHOP.format("a"), altered),
                (SHOP.format("a"), b""),
            ):
                with pytest.raises(CorruptedError):
                    await ring.open("main", name, 1, wrapped)
            kept = await at.catalog.blob_key("main", SHOP.format("a"))
            assert kept is not None
            assert await at.catalog.add_blob_key(replace(kept, wrapped=altered))
            assert await at.ring().find("main", SHOP.format("a")) is None, "the blob is asked instead"

    run(story())


def test_a_rotation_moves_keys_and_others_notice(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            mine, other = at.ring(), at.ring()
            made = {name: await other.make("main", name) for name in map(SHOP.format, range(7))}
            foreign = await other.make("main", "else/x.floe1")
            done = await mine.rotate("shop", actor=ACTOR)
            assert (done.generation, done.rewrapped, done.troubles) == (2, 7, ())
            fresh = await other.make("main", SHOP.format("late"))  # its process has not heard of it yet
            assert fresh.generation == 2
            for name, key in made.items():
                found = await at.ring().find("main", name)
                assert found is not None
                assert (found.secret, found.generation) == (key.secret, 2)
                assert (await mine.open("main", name, 1, key.wrapped)).secret == key.secret, "carried key"
            assert await at.ring().find("main", "else/x.floe1") == foreign
            states = [(key.generation, key.state.value) for key in await at.catalog.tenant_keys("shop")]
            assert states == [(1, "retired"), (2, "active")]
            assert await at.catalog.count_blob_keys() == {("shop", 2): 8, ("else", 1): 1}
            assert await mine.drop_retired("shop", actor=ACTOR) == 1
            with pytest.raises(ShreddedError, match="generation 1, was destroyed"):
                await mine.open("main", SHOP.format(0), 1, made[SHOP.format(0)].wrapped)
            assert (await at.ring().find("main", SHOP.format(0))) is not None
            entries = await at.catalog.audit("shop")
            assert [entry.action for entry in entries] == [
                "make-tenant-key",
                "make-tenant-key",
                "destroy-tenant-keys",
            ]

    run(story())


def test_a_rotation_that_was_broken_off_is_taken_up(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            ring = at.ring()
            for number in range(5):
                await ring.make("main", SHOP.format(number))
            await at.catalog.add_tenant_key(roots(at.environment).new("shop", 2), actor=ACTOR)
            assert await at.catalog.count_blob_keys() == {("shop", 1): 5}
            done = await ring.rotate("shop", actor=ACTOR)
            assert (done.generation, done.rewrapped) == (3, 5)

    run(story())


def test_no_key_is_wrapped_by_a_generation_that_is_over(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            ring, secret = at.ring(), b"w" * 92
            await ring.make("main", SHOP.format("a"))
            await ring.rotate("shop", actor=ACTOR)
            late = KeptKey("main", SHOP.format("b"), "shop", 1, 1, secret)
            assert not await at.catalog.add_blob_key(late)
            assert not await at.catalog.rewrap_blob_keys([(replace(late, generation=2), late)])
            assert not await at.catalog.add_blob_key(replace(late, generation=9))
            await ring.shred("shop", actor=ACTOR)
            assert not await at.catalog.add_blob_key(replace(late, generation=2))
            assert await at.catalog.blob_key("main", SHOP.format("b")) is None
            made = await ring.make("main", SHOP.format("new"))
            assert made.generation == 3, "numbers are never given again"

    run(story())


def test_rotations_under_load_fail_nobody(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            writers, made = [at.ring() for _ in range(4)], {}

            async def write(ring: CatalogKeyRing, number: int) -> None:
                for piece in range(12):
                    name = SHOP.format(f"{number}-{piece}")
                    made[name] = (await ring.make("main", name)).secret
                    found = await ring.find("main", name)
                    assert found is not None
                    assert found.secret == made[name]

            async def rotate() -> None:
                for _ in range(4):
                    assert (await at.ring().rotate("shop", actor=ACTOR)).troubles == ()

            await asyncio.gather(rotate(), *(write(ring, number) for number, ring in enumerate(writers)))
            await at.ring().rewrap("shop")
            reader = at.ring()
            for name, secret in made.items():
                found = await reader.find("main", name)
                assert found is not None
                assert found.secret == secret
            active = max(key.generation for key in await at.catalog.tenant_keys("shop"))
            assert await at.catalog.count_blob_keys() == {("shop", active): 48}

    run(story())


def test_root_keys_are_exchanged_one_after_the_other(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            made = await at.ring(K1).make("main", SHOP.format("a"))
            with pytest.raises(LockedError, match="'k1', which is not among seal_keys"):
                await at.ring(K2).find("main", SHOP.format("a"))
            with pytest.raises(LockedError):
                await at.ring(K2).rotate_root()
            both = at.ring(f"{K2} {K1}")
            assert (await both.rotate_root(actor=ACTOR)).rewrapped == 1
            assert (await both.rotate_root(actor=ACTOR)).rewrapped == 0
            said = {"generation": "1", "from": "k1", "root_key": "k2"}
            for tenant, detail in (("shop", said), ("", {**said, "tenant": "shop"})):
                lines = [
                    line for line in await at.catalog.audit(tenant) if line.action == "rewrap-tenant-key"
                ]
                assert [(line.principal, line.detail) for line in lines] == [("tester", detail)]
            found = await at.ring(K2).find("main", SHOP.format("a"))
            assert found is not None
            assert found.secret == made.secret
            with pytest.raises(LockedError):
                await at.ring(K1).find("main", SHOP.format("a"))
            (status,) = await both.status()
            assert (status.key.root_key_id, status.opens, status.blobs) == ("k2", True, 1)
            wrong = "k2:" + "33" * 32
            with pytest.raises(LostKeyError, match="is another one now"):
                await at.ring(wrong).open("main", SHOP.format("a"), 1, made.wrapped)

    run(story())


def test_shredding_leaves_nothing_that_opens(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            mine, other = at.ring(), at.ring()
            made = await other.make("main", SHOP.format("a"))
            kept = await mine.make("main", "else/x.floe1")
            await mine.rotate("shop", actor=ACTOR)
            assert await other.find("main", SHOP.format("a")) is not None
            assert await mine.shred("shop", actor=ACTOR) == 2
            for key in await at.catalog.tenant_keys("shop"):
                assert (key.wrapped, key.root_key_id, key.state) == (b"", "", TenantKeyState.DESTROYED)
            assert await at.catalog.count_blob_keys() == {("else", 1): 1}
            assert await mine.find("main", SHOP.format("a")) is None
            with pytest.raises(ShreddedError):
                await mine.open("main", SHOP.format("a"), 1, made.wrapped)
            at.later()
            assert await other.find("main", SHOP.format("a")) is None, "others notice within seconds"
            with pytest.raises(ShreddedError):
                await other.open("main", SHOP.format("a"), 1, made.wrapped)
            assert await other.find("main", "else/x.floe1") == kept
            assert await mine.shred("shop", actor=ACTOR) == 0

    run(story())


def test_exported_keys_bring_an_empty_catalog_back(catalog_url: str, sqlite_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            ring = at.ring(K1)
            made = await ring.make("main", SHOP.format("a"))
            await ring.rotate("shop", actor=ACTOR)
            kept = list(await ring.export())
            assert made.secret not in b"".join(key.wrapped for key in kept)
        async with desk(sqlite_url + ".new") as at:
            with pytest.raises(LockedError):
                await at.ring(K2).restore(kept, actor=ACTOR)
            ring = at.ring(K1)
            with pytest.raises(LostKeyError, match="it was altered"):
                await ring.restore([replace(kept[0], tenant="else")], actor=ACTOR)
            assert await ring.restore(kept, actor=ACTOR) == 2
            assert await ring.restore(kept, actor=ACTOR) == 0
            assert (await ring.open("main", SHOP.format("a"), 1, made.wrapped)).secret == made.secret
            assert (await ring.make("main", SHOP.format("b"))).generation == 2

    run(story())


def test_no_first_key_is_made_while_that_of_older_blobs_is_missing(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            made = await at.ring().make("main", SHOP.format("a"))
            kept = await at.ring().export()
            await at.lose_tenant_keys()
            ring = at.ring()
            for asked in (
                ring.make("main", SHOP.format("b")),
                ring.rotate("shop", actor=ACTOR),
                ring.find("main", SHOP.format("a")),
                ring.open("main", SHOP.format("a"), 1, made.wrapped),
            ):
                with pytest.raises(LostKeyError, match="holdfast encryption restore"):
                    await asked
            assert (await ring.make("main", "else/x.floe1")).generation == 1, "others are not held up"
            assert await at.catalog.tenant_keys("shop") == []
            assert await ring.restore(kept, actor=ACTOR) == 1
            assert await ring.find("main", SHOP.format("a")) == made
            assert (await ring.make("main", SHOP.format("b"))).generation == 1

    run(story())


def test_a_key_whose_number_is_taken_is_restored_under_another(catalog_url: str, sqlite_url: str) -> None:
    async def story() -> None:
        name, late = SHOP.format("a"), SHOP.format("b")
        async with desk(sqlite_url + ".old") as at:
            ring = at.ring(K1)
            made = await ring.make("main", name)
            await ring.rotate("shop", actor=ACTOR)
            kept = await ring.export()
        async with desk(catalog_url, seed=5) as at:
            at.later()
            ring, other = at.ring(K1), at.ring(K1)
            fresh = await ring.make("main", late)
            assert await at.catalog.add_blob_key(KeptKey("main", name, "shop", 1, 1, made.wrapped))
            with pytest.raises(CorruptedError):
                await other.open("main", name, 1, made.wrapped)
            assert await ring.restore(kept, actor=ACTOR) == 2
            assert await ring.restore(kept, actor=ACTOR) == 0, "they are known again by what they are"
            held = [(key.generation, key.state.value) for key in await at.catalog.tenant_keys("shop")]
            assert held == [(1, "active"), (2, "retired"), (3, "retired")]
            at.later()
            for each in (ring, other):
                assert (await each.open("main", name, 1, made.wrapped)).secret == made.secret
                assert await each.find("main", late) == fresh
            assert await ring.drop_retired("shop", actor=ACTOR) == 0, "it may be for what number 1 names"
            done = await ring.rotate("shop", actor=ACTOR)
            assert (done.generation, done.rewrapped, done.troubles) == (4, 2, ())
            assert await ring.drop_retired("shop", actor=ACTOR) == 3
            found = await at.ring(K1).find("main", name)
            assert found is not None
            assert found.secret == made.secret
            assert await ring.restore(kept, actor=ACTOR) == 0, "what was destroyed stays so"

    run(story())


def test_numbers_that_are_taken_meanwhile_are_given_anew(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk(sqlite_url + ".old") as at:
            await at.ring(K1).make("main", SHOP.format("a"))
            kept = await at.ring(K1).export()
        async with desk(sqlite_url, seed=5) as at:
            at.later()
            ring = at.ring(K1)

            async def taken() -> None:
                await at.ring(K1).make("main", SHOP.format("b"))

            ring._catalog = _Meanwhile(at.catalog, "tenant_keys", taken)  # type: ignore[assignment]
            assert await ring.restore(kept, actor=ACTOR) == 1
            held = [(key.generation, key.state.value) for key in await at.catalog.tenant_keys("shop")]
            assert held == [(1, "active"), (2, "retired")]

    run(story())


class _Meanwhile:
    """A catalog: after its first answer to `method`, before it arrives, something happens."""

    def __init__(self, catalog: SqlCatalog, method: str, then: Callable[[], Awaitable[None]]) -> None:
        self._catalog, self._method, self._then = catalog, method, then
        self._done = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._catalog, name)
        if name != self._method or self._done:
            return found

        async def ask(*given: Any, **named: Any) -> Any:
            self._done = True
            answer = await found(*given, **named)
            await self._then()
            return answer

        return ask


def test_others_read_on_while_a_key_is_rotated(catalog_url: str) -> None:
    async def story() -> None:
        async with desk(catalog_url) as at:
            mine, other = at.ring(), at.ring()
            made = [await mine.make("main", SHOP.format(number)) for number in range(3)]
            assert await other.find("main", SHOP.format(0)) == made[0]
            await mine.rotate("shop", actor=ACTOR)
            found = await other.find("main", SHOP.format(1))  # it has not heard of generation 2
            assert found is not None
            assert (found.secret, found.generation) == (made[1].secret, 2)

            async def turn() -> None:
                await mine.rotate("shop", actor=ACTOR)
                await mine.drop_retired("shop", actor=ACTOR)

            late = at.ring()
            late._catalog = _Meanwhile(at.catalog, "blob_key", turn)  # type: ignore[assignment]
            found = await late.find("main", SHOP.format(2))  # what it read of the blob is over
            assert found is not None
            assert (found.secret, found.generation) == (made[2].secret, 3)

    run(story())


def test_keys_that_do_not_open_are_told(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk(sqlite_url) as at:
            await at.ring(K1).make("main", SHOP.format("a"))
            await at.ring(K1).make("main", "else/x.floe1")
            await at.ring(K1).shred("else", actor=ACTOR)
            assert await at.ring(K1).locked() == []
            for ring, said in (
                (at.ring("k1:" + "33" * 32), "'k1' is another one now"),
                (at.ring(K2), "'k1', which is not among seal_keys"),
            ):
                (trouble,) = await ring.locked()
                assert said in trouble
                assert [one.opens for one in await ring.status()] == [False, False]
                assert (await at.ring(K1).status())[1].opens

    run(story())


def test_root_keys_may_come_from_a_command() -> None:
    async def story() -> None:
        assert await seal_keys_of(K1, "", 5) == K1
        assert await seal_keys_of("", f"printf '%s\\n' {K1}", 5) == K1
        for configured, command, said in (
            (K1, "printf x", "both set"),
            ("", "false", "failed with status 1"),
            ("", "true", "printed no keys"),
            ("", "/no/such/command --x", "cannot be run"),
            ("", "'unclosed", "no command line"),
            ("", "head -c 100000 /dev/zero", "printed more than"),
        ):
            with pytest.raises(ConfigError, match=said) as refused:
                await seal_keys_of(configured, command, 5)
            assert K1 not in str(refused.value)
        with pytest.raises(ConfigError, match="did not end within"):
            await seal_keys_of("", "sleep 60", 0.05)

    run(story())
