"""How much room stores say they have: through every layer, asked once a minute, and never in the way of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from holdfast.api import rooms
from holdfast.api.disks import Disk, Disks
from holdfast.api.rooms import Rooms
from holdfast.backends.memory import MemoryBackend
from holdfast.config import StoreSettings
from holdfast.config.settings import load
from holdfast.core.backend import Room, Roomy, Store, StoreState
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import UnavailableError
from holdfast.drivers import open_store
from holdfast.engine.stores import Stores
from holdfast.layers.base import Layer
from holdfast.layers.metrics import StoreMetrics
from holdfast.testing.fakes.google_drive import fake_drive
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk
from holdfast.testing.keyring import MemoryKeyRing

pytestmark = pytest.mark.engine
GIB = 1 << 30


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(cast(Any, story()), 20))


def room_of(store: Store) -> Awaitable[Room | None]:
    assert isinstance(store.backend, Roomy)
    return store.backend.room()


class Told(MemoryBackend):
    """A store that says what it is told to, and counts how often it is asked."""

    def __init__(self, answer: Room | Exception | None) -> None:
        super().__init__("told")
        self.answer, self.asked, self.free = answer, 0, asyncio.Event()
        self.free.set()

    async def room(self) -> Room | None:
        self.asked += 1
        await self.free.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def looking(clock: ManualClock, **backends: Told | MemoryBackend) -> Rooms:
    own = {name: Store(name, backend) for name, backend in backends.items()}
    return Rooms(Stores(own, cast(Any, None), clock), clock, besides=("besides",))


async def ended(found: Rooms) -> None:
    """Wait for what goes on behind the answers."""
    assert found._asking is not None
    await found._asking


def test_a_disk_of_yandex_says_it_through_all_layers(tmp_path: Path) -> None:
    with FakeYandexDisk() as fake:
        fake.disk.rules.total_space = 1000
        values = {
            "driver": "yandex_disk",
            **fake.settings(),
            "cache": tmp_path,
            "describe": "always",
            "state": "read-only",
        }

        async def story() -> None:
            environment = Environment()
            store = open_store(
                "disk",
                StoreSettings.model_validate(values),
                environment,
                metrics=StoreMetrics(CollectorRegistry()),
                keys=MemoryKeyRing(environment),
            )
            try:
                for face in (store.backend, store.sealed):
                    assert isinstance(face, Roomy)
                    found = await face.room()
                    assert found is not None
                    assert (found.total, found.free) == (1000, 1000)
            finally:
                await store.backend.close()

        run(story)


def test_a_drive_of_google_says_it_where_it_has_a_limit_of_its_own() -> None:
    async def story() -> None:
        async with fake_drive() as fake:
            person = fake.state.add_person("me@example.org", limit=1000)
            shared = fake.state.add_drive("ours", {person.email: "organizer"})
            who = {"client_id": "id", "client_secret": "secret"}
            values = {
                "driver": "google_drive",
                **who,
                "refresh_token": fake.granting.add_consent(person.email, **who),
                "api_base": fake.api_base,
                "upload_base": fake.upload_base,
                "token_url": fake.token_url,
                "allow_http": True,
            }
            own = fake.state.add_folder(person.root)
            for folder, expected in ((own, Room(1000, 1000)), (fake.state.add_folder(shared), None)):
                settings = StoreSettings.model_validate({**values, "folder_id": folder})
                store = open_store("drive", settings, Environment())
                try:
                    assert await room_of(store) == expected
                finally:
                    await store.backend.close()

    run(story)


def test_a_layer_over_what_does_not_know_says_so() -> None:
    async def story() -> None:
        assert await Layer(MemoryBackend("memory")).room() is None

    run(story)


def test_stores_are_asked_once_a_minute_and_behind_the_answer() -> None:
    async def story() -> None:
        clock = ManualClock()
        told = Told(Room(100, 50))
        besides = Told(Room(1, 1))
        found = looking(clock, told=told, besides=besides, memory=MemoryBackend("memory"))
        assert await found.look() == await found.look() == {"told": Room(100, 50)}
        assert (told.asked, besides.asked) == (1, 0)
        told.answer = Room(100, 1)
        clock.advance(rooms.EVERY)
        told.free.clear()
        assert await found.look() == await found.look() == {"told": Room(100, 50)}
        told.free.set()
        await ended(found)
        assert await found.look() == {"told": Room(100, 1)}
        assert told.asked == 2

    run(story)


def test_those_who_come_first_wait_together() -> None:
    async def story() -> None:
        told = Told(Room(100, 50))
        told.free.clear()
        found = looking(ManualClock(), told=told)
        waiting = [asyncio.ensure_future(found.look()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting.pop().cancel()
        told.free.set()
        assert await asyncio.gather(*waiting) == [{"told": Room(100, 50)}] * 4
        assert told.asked == 1

    run(story)


def test_what_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "PATIENCE", 0.01)

    async def story() -> None:
        clock = ManualClock()
        silent, broken, boundless = Told(Room(1, 1)), Told(UnavailableError("away")), Told(None)
        silent.free.clear()
        down = Told(Room(1, 1))
        found = looking(
            clock, silent=silent, broken=broken, boundless=boundless, down=down, well=Told(Room(9, 9))
        )
        found._stores.own["down"].state = StoreState.DOWN
        assert await found.look() == {"well": Room(9, 9)}
        assert down.asked == 0
        broken.answer = Room(2, 2)
        clock.advance(rooms.EVERY)
        assert "broken" not in await found.look()
        await ended(found)
        assert (await found.look())["broken"] == Room(2, 2)

    run(story)


@pytest.mark.parametrize(
    ("room", "status"),
    [
        (Room(100 * GIB, 50 * GIB), "healthy"),
        (Room(100 * GIB, 9 * GIB), "degraded"),
        (Room(100 * GIB, 0), "unhealthy"),
        (Room(1000 * GIB, 20 * GIB), "healthy"),
    ],
)
def test_little_room_counts_as_on_a_disk(room: Room, status: str, tmp_path: Path) -> None:
    async def story() -> None:
        clock = ManualClock()
        stores = Stores({"told": Store("told", Told(room))}, cast(Any, None), clock)
        found = await Disks(load(None, data=tmp_path), stores, clock).look()
        assert found["told"] == Disk(room.free, room.total)
        assert found["told"].status == status

    run(story)
