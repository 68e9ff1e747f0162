"""Writers and deleters at once, in one process and in several: numbers, pointers and counters agree afterwards."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.types import Version
from tests.engine.catalog.support import Desk, desk_at, run

pytestmark = pytest.mark.engine


async def check_key(desk: Desk, key: str, bucket: str) -> None:
    """The pointer is at the newest version, numbers do not repeat, and copies follow their versions."""
    page = await desk.catalog.list_versions("t", bucket, prefix=key)
    numbers = [version.seq for version in page.items]
    assert numbers == sorted(set(numbers), reverse=True)
    listed = {item.ref.key: item for item in (await desk.catalog.list_objects("t", bucket, prefix=key)).items}
    newest = page.items[0] if page.items else None
    if newest is None or newest.delete_marker:
        assert key not in listed
        with pytest.raises(NotFoundError):
            await desk.catalog.resolve(desk.ref(key, bucket))
    else:
        assert listed[key].id == newest.id == (await desk.catalog.resolve(desk.ref(key, bucket))).version.id


@pytest.mark.parametrize("bucket", ["plain", "kept"])
def test_two_writers_and_a_deleter_on_one_key(catalog_url: str, bucket: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            made: list[Version] = []

            async def write() -> None:
                for _ in range(15):
                    made.append(await desk.put("k", bucket))

            async def remove() -> None:
                for _ in range(15):
                    await desk.delete("k", bucket)
                    await asyncio.sleep(0)

            async def read() -> None:
                for _ in range(60):
                    try:
                        found = await desk.catalog.resolve(desk.ref("k", bucket))
                    except NotFoundError:
                        continue
                    finally:
                        await asyncio.sleep(0)
                    assert found.replicas, "a version that is seen can be read"

            await asyncio.gather(write(), write(), remove(), read())
            assert len({version.id for version in made}) == 30
            await check_key(desk, "k", bucket)
            await desk.check_counters()
            await desk.catalog.fold_usage()
            await desk.check_counters()
            versions = (await desk.catalog.list_versions("t", bucket)).items
            live = [copy.version_id for copy in await desk.catalog.replicas() if copy.state.value == "live"]
            assert sorted(live) == sorted(version.id for version in versions if not version.delete_marker)

    run(story())


def test_a_bucket_is_not_pulled_away_under_writers(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            for number in range(8):
                name = f"brief-{number}"
                await desk.catalog.create_bucket("t", name)
                done = await asyncio.gather(
                    *[desk.put(f"k{key}", name) for key in range(4)],
                    desk.catalog.delete_bucket("t", name),
                    return_exceptions=True,
                )
                unexpected = [
                    one
                    for one in done
                    if isinstance(one, BaseException) and not isinstance(one, (ConflictError, NotFoundError))
                ]
                assert not unexpected
                written = [one for one in done if isinstance(one, Version)]
                if done[-1] is None:
                    assert not written, "a bucket that was removed had something in it"
                else:
                    for version in written:
                        await desk.catalog.resolve(version.ref)

    run(story())


def test_counters_are_exact_while_they_are_folded(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            writers = asyncio.gather(*[desk.put(f"k{number % 9}", size=number) for number in range(60)])
            seen = []
            while not writers.done():
                await desk.catalog.fold_usage(limit=7)
                seen.append((await desk.catalog.usage("t", "plain")).objects)
                await asyncio.sleep(0)
            await writers
            assert seen == sorted(seen), "objects only came, none went"
            await desk.check_counters()
            while await desk.catalog.fold_usage():
                pass
            await desk.check_counters()

    run(story())


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from holdfast.catalog import open_catalog
from holdfast.core.clock import Environment
from tests.engine.catalog.support import Desk

async def main():
    world = Environment()
    desk = Desk(await open_catalog(sys.argv[1], environment=world), world)
    for number in range(30):
        made = await desk.put("shared", size=number)
        await desk.put(f"own-{sys.argv[2]}-{number}")
        print(made.id, flush=True)
    await desk.catalog.close()

asyncio.run(main())
"""


def test_several_processes_share_a_catalog(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            root = str(Path(__file__).parents[3])
            started = [
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    WRITER,
                    catalog_url,
                    str(number),
                    root,
                    stdout=asyncio.subprocess.PIPE,
                )
                for number in range(3)
            ]
            ours = [await desk.put("shared") for _ in range(30)]
            outputs = [await process.communicate() for process in started]
            assert [process.returncode for process in started] == [0, 0, 0]
            acknowledged = {line for out, _ in outputs for line in out.decode().split()} | {
                one.id for one in ours
            }
            assert len(acknowledged) == 120
            current = (await desk.catalog.resolve(desk.ref("shared"))).version
            assert current.id in acknowledged
            assert current.seq == 120, "each write was numbered once"
            page = await desk.catalog.list_objects("t", "plain", prefix="own-")
            assert len(page.items) == 90
            await desk.check_counters()

    run(story())


def test_a_mix_of_everything_keeps_the_books(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment.seeded(3)) as desk:
            chance = desk.world.random

            async def client(number: int) -> None:
                for _ in range(25):
                    key, bucket = f"k{chance.randrange(5)}", chance.choice(["plain", "kept"])
                    deed = chance.randrange(6)
                    try:
                        if deed <= 2:
                            await desk.put(key, bucket, size=chance.randrange(100))
                        elif deed == 3:
                            await desk.delete(key, bucket)
                        elif deed == 4:
                            page = await desk.catalog.list_versions("t", bucket, prefix=key)
                            if page.items:
                                await desk.delete(key, bucket, chance.choice(page.items).id)
                        else:
                            upload = await desk.upload(key, bucket)
                            part, _ = await desk.part(upload, 1, size=chance.randrange(100))
                            if chance.random() < 0.5:
                                await desk.catalog.complete_upload(
                                    upload.id, desk.assembled(upload, [part]), grace=0
                                )
                    except (ConflictError, NotFoundError):
                        pass

            await asyncio.gather(*[client(number) for number in range(6)])
            for bucket in ("plain", "kept"):
                for number in range(5):
                    await check_key(desk, f"k{number}", bucket)
            await desk.check_counters()

    run(story())
