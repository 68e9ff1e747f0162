"""Quotas: never passed, whoever writes at once and however it ends; the rows are what is used and what is reserved."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from holdfast.catalog.contract import Reserve
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import HoldfastError, InvalidRequestError, NotFoundError, QuotaExceededError
from holdfast.core.types import BucketSettings, Quota, QuotaUse, Replica
from tests.engine.catalog.support import GRACE, MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine


async def announce(desk: Desk, key: str, size: int, bucket: str = "plain") -> list[Replica]:
    """T1 of a write that announces its size."""
    version_id = desk.world.new_id()
    copies = [desk.replica(version_id, version_id, size=size)]
    until = await desk.catalog.now() + MINUTE
    await desk.catalog.begin(desk.ref(key, bucket), copies, lease_until=until, reserve=Reserve(size))
    return copies


async def commit(desk: Desk, key: str, copies: Sequence[Replica], bucket: str = "plain") -> str:
    made = await desk.catalog.commit_put(
        desk.content(desk.ref(key, bucket), copies), [copy.id for copy in copies], grace=GRACE
    )
    return made.id


async def write(desk: Desk, key: str, size: int, bucket: str = "plain") -> str:
    return await commit(desk, key, await announce(desk, key, size, bucket), bucket)


async def check_ledger(desk: Desk, *buckets: str) -> None:
    """The rows of the buckets are what their counters and reservations say; the tenant's row is their sum."""
    total = [0, 0, 0, 0]
    names = buckets or ("plain", "kept")
    for name in names:
        row, must = await desk.catalog.ledger(desk.tenant, name)
        assert row == must
        for place, field in enumerate(("bytes", "objects", "reserved_bytes", "reserved_objects")):
            total[place] += getattr(must, field)
    use = await desk.catalog.quota(desk.tenant)
    assert [use.bytes, use.objects, use.reserved_bytes, use.reserved_objects] == total
    await desk.check_counters(*names)


def test_who_has_no_quota_is_not_metered(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await write(desk, "k", 7)
            assert not (await desk.catalog.bucket("t", "plain")).metered
            assert await desk.catalog.ledger("t", "plain") == (None, QuotaUse(Quota(), 7, 1))
            assert await desk.catalog.quota("t", "plain") == QuotaUse(Quota(), 7, 1)
            assert await desk.catalog.quota("t") == QuotaUse(Quota(), 7, 1)
            assert await desk.catalog.room(desk.ref("k")) is None
            with pytest.raises(NotFoundError):
                await desk.catalog.quota("t", "nowhere")

    run(story())


def test_metering_starts_from_what_is_there(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await write(desk, "a", 10)
            await write(desk, "b", 5, "kept")
            await write(desk, "b", 6, "kept")
            upload = await desk.upload("u")
            await desk.part(upload, 1, size=20)
            use = await desk.catalog.set_quota("t", "plain", Quota(100, 10))
            assert use == QuotaUse(Quota(100, 10), 30, 1)
            assert await desk.catalog.quota("t", "kept") == QuotaUse(Quota(), 11, 2)
            assert await desk.catalog.quota("t") == QuotaUse(Quota(), 41, 3)
            await desk.catalog.create_bucket("t", "later", settings=BucketSettings(quota=Quota(3)))
            assert (await desk.catalog.bucket("t", "later")).metered
            assert await desk.catalog.quota("t", "later") == QuotaUse(Quota(3))
            assert (await desk.catalog.bucket("t", "plain")).settings.quota == Quota(100, 10)
            await check_ledger(desk, "plain", "kept", "later")

    run(story())


def test_a_write_past_the_limit_is_refused_when_it_announces_itself(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=100, max_objects=3))
            await write(desk, "a", 60)
            pending = await announce(desk, "b", 30)
            with pytest.raises(
                QuotaExceededError, match="bucket plain is 100 bytes: 90 are used or reserved, 11"
            ):
                await announce(desk, "c", 11)
            await announce(desk, "c", 10)
            with pytest.raises(QuotaExceededError, match="3 objects"):
                await announce(desk, "d", 0)
            assert len(await desk.catalog.replicas()) == 3, "what was refused left a copy behind"
            use = await desk.catalog.quota("t", "plain")
            assert use == QuotaUse(Quota(100, 3), 60, 1, 40, 2)
            await commit(desk, "b", pending)
            assert await desk.catalog.quota("t", "plain") == QuotaUse(Quota(100, 3), 90, 2, 10, 1)
            await check_ledger(desk)

    run(story())


def test_a_tenants_limit_holds_over_its_buckets(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", None, Quota(max_bytes=50))
            await write(desk, "a", 30)
            with pytest.raises(QuotaExceededError, match="tenant t is 50 bytes"):
                await write(desk, "a", 21, "kept")
            await write(desk, "a", 20, "kept")
            await check_ledger(desk)
            assert (await desk.catalog.tenant("t")).settings.quota == Quota(max_bytes=50)
            await desk.catalog.create_tenant("other")
            other = Desk(desk.catalog, desk.world, tenant="other")
            await desk.catalog.create_bucket("other", "plain")
            await write(other, "a", 1000)

    run(story())


def test_a_commit_that_announced_nothing_is_checked(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=10))
            copies = await desk.intend(desk.ref("k"), size=11)
            with pytest.raises(QuotaExceededError):
                await commit(desk, "k", copies)
            assert (await desk.states())[copies[0].id] == "pending"
            await desk.catalog.abandon([copy.id for copy in copies])
            assert (await desk.catalog.quota("t", "plain")).bytes == 0
            await check_ledger(desk)

    run(story())


def test_replacing_counts_what_it_adds(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=100, max_objects=1))
            await write(desk, "k", 90)
            assert await desk.catalog.room(desk.ref("k")) == 100
            assert await desk.catalog.room(desk.ref("other")) == 10
            await write(desk, "k", 100)
            await write(desk, "k", 20)
            assert await desk.catalog.quota("t", "plain") == QuotaUse(Quota(100, 1), 20, 1)
            first, second = await announce(desk, "k", 100), await announce(desk, "k", 20)
            await desk.delete("k")
            assert (await desk.catalog.quota("t", "plain")).reserved_bytes == 80
            await commit(desk, "k", first)
            await commit(desk, "k", second)
            assert await desk.catalog.quota("t", "plain") == QuotaUse(Quota(100, 1), 20, 1)
            await check_ledger(desk)

    run(story())


def test_a_reservation_that_replaced_what_is_gone_is_checked_again(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=100))
            await write(desk, "k", 80)
            larger = await announce(desk, "k", 90)  # reserves the ten that it adds
            await desk.delete("k")
            await write(desk, "other", 85)
            with pytest.raises(QuotaExceededError):
                await commit(desk, "k", larger)
            await desk.catalog.abandon([copy.id for copy in larger])
            await check_ledger(desk)

    run(story())


def test_versions_are_all_counted_until_they_are_removed(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "kept", Quota(max_bytes=30, max_objects=3))
            first = await write(desk, "k", 10, "kept")
            await write(desk, "k", 10, "kept")
            await desk.delete("k", "kept")
            await write(desk, "k", 10, "kept")
            with pytest.raises(QuotaExceededError):
                await write(desk, "k", 1, "kept")
            await desk.delete("k", "kept", version_id=first)
            assert await desk.catalog.quota("t", "kept") == QuotaUse(Quota(30, 3), 20, 2)
            await desk.catalog.update_bucket("t", "kept", versioning=False)
            await write(desk, "k", 15, "kept")  # in place of the newest
            assert await desk.catalog.quota("t", "kept") == QuotaUse(Quota(30, 3), 25, 2)
            await desk.delete("k", "kept")
            assert await desk.catalog.quota("t", "kept") == QuotaUse(Quota(30, 3), 10, 1)
            await check_ledger(desk)

    run(story())


def test_what_is_given_up_is_free_again(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=10))
            given_up, forgotten = await announce(desk, "a", 5), await announce(desk, "b", 5)
            await desk.catalog.abandon([copy.id for copy in given_up])
            await desk.catalog.abandon([copy.id for copy in given_up])
            assert (await desk.catalog.quota("t", "plain")).reserved_bytes == 5
            desk.advance(61)
            assert await desk.catalog.expire() == 1
            assert (await desk.states())[forgotten[0].id] == "doomed"
            assert await desk.catalog.quota("t", "plain") == QuotaUse(Quota(max_bytes=10))
            await check_ledger(desk)

    run(story())


def test_a_bucket_takes_its_reservations_along(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", None, Quota(max_bytes=10))
            pending = await announce(desk, "a", 6)
            await desk.catalog.delete_bucket("t", "plain")
            assert await desk.catalog.quota("t") == QuotaUse(Quota(max_bytes=10))
            with pytest.raises(NotFoundError):
                await commit(desk, "a", pending)
            await desk.catalog.abandon([copy.id for copy in pending])
            await desk.catalog.create_bucket("t", "plain")
            assert (await desk.catalog.bucket("t", "plain")).metered
            await check_ledger(desk)

    run(story())


def test_a_lower_limit_stops_what_adds_and_nothing_else(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=100))
            await write(desk, "a", 50)
            granted = await announce(desk, "b", 40)
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=10))
            await commit(desk, "b", granted)  # was promised its room
            with pytest.raises(QuotaExceededError):
                await write(desk, "c", 1)
            await write(desk, "a", 0)
            await desk.delete("b")
            await desk.catalog.set_quota("t", "plain", Quota())
            await write(desk, "c", 10_000)
            assert (await desk.catalog.bucket("t", "plain")).metered, "a tenant that was metered stays so"
            await check_ledger(desk)
            for wrong in (Quota(-1), Quota(None, 1 << 63)):
                with pytest.raises(InvalidRequestError):
                    await desk.catalog.set_quota("t", "plain", wrong)
            with pytest.raises(NotFoundError):
                await desk.catalog.set_quota("nobody", None, Quota(1))

    run(story())


def test_many_writers_at_once_pass_no_limit(catalog_url: str) -> None:
    """Thirty-two writers on eight keys of two buckets; announced or not, committed, given up or left behind."""

    async def story() -> None:
        async with desk_at(catalog_url, Environment(SystemClock())) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(max_bytes=400, max_objects=6))
            await desk.catalog.set_quota("t", None, Quota(max_bytes=600))
            over: list[QuotaUse] = []

            async def watch() -> None:
                while True:
                    for bucket in ("plain", None):
                        use = await desk.catalog.quota("t", bucket)
                        if use.bytes + use.reserved_bytes > (use.quota.max_bytes or 0):
                            over.append(use)
                    await asyncio.sleep(0.002)

            async def writer(number: int) -> int:
                chance, refused = random.Random(number), 0
                for _ in range(12):
                    bucket = chance.choice(["plain", "kept"])
                    key, size = f"k{chance.randrange(8)}", chance.randrange(1, 90)
                    try:
                        if chance.random() < 0.2:
                            await desk.delete(key, bucket)
                            continue
                        copies = (
                            await announce(desk, key, size, bucket)
                            if chance.random() < 0.8
                            else await desk.intend(desk.ref(key, bucket), size=size)
                        )
                        if chance.random() < 0.2:
                            await desk.catalog.abandon([copy.id for copy in copies])
                        elif chance.random() < 0.9:
                            await commit(desk, key, copies, bucket)
                    except QuotaExceededError:
                        refused += 1
                return refused

            watcher = asyncio.ensure_future(watch())
            refused = sum(await asyncio.gather(*(writer(number) for number in range(32))))
            watcher.cancel()
            assert refused > 0
            assert not over
            await check_ledger(desk)
            now = await desk.catalog.now()
            for copy in await desk.catalog.replicas():
                await desk.catalog.renew([copy.id], lease_until=now - 1)
            while await desk.catalog.expire():
                pass
            for bucket in ("plain", "kept", None):
                use = await desk.catalog.quota("t", bucket)
                assert (use.reserved_bytes, use.reserved_objects) == (0, 0)
            await check_ledger(desk)

    run(story())


def test_metering_starts_while_others_write(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment(SystemClock())) as desk:

            async def writer(number: int) -> None:
                for turn in range(10):
                    bucket = f"b{turn % 3}"
                    try:
                        await desk.catalog.create_bucket("t", bucket)
                    except HoldfastError:
                        pass
                    await write(desk, f"k{number % 4}", turn, bucket)
                    if turn % 4 == 0:
                        await desk.delete(f"k{number % 4}", bucket)

            async def meter() -> None:
                await asyncio.sleep(0.02)
                await asyncio.gather(
                    desk.catalog.set_quota("t", None, Quota(max_bytes=1 << 30)),
                    desk.catalog.set_quota("t", "plain", Quota(max_bytes=1 << 30)),
                )

            await asyncio.gather(meter(), *(writer(number) for number in range(8)))
            await check_ledger(desk, "plain", "kept", "b0", "b1", "b2")

    run(story())
