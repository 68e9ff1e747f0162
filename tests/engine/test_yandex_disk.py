"""What the driver for Yandex.Disk does when the service misbehaves, one way at a time, and in a storm."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.backends import registry
from holdfast.backends.yandex_disk import YandexDiskBackend, YandexDiskSettings, open_yandex_disk
from holdfast.backends.yandex_disk.api import json_of
from holdfast.backends.yandex_disk.errors import Where
from holdfast.backends.yandex_disk.folders import Seen
from holdfast.backends.yandex_disk.resources import Resource
from holdfast.core.backend import Capability
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptedError,
    DeadlineError,
    HoldfastError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.notes import MemoryNotes
from holdfast.core.types import ByteRange
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk, Fault, Kind
from torture.yandex import Fast, storm

pytestmark = pytest.mark.engine

Story = Callable[[YandexDiskBackend], Awaitable[None]]
UP, DOWN, LOOK = "PUT /upload-target", "GET /download-source", "GET /resources"
LINK, MOVE, DELETE = "GET /resources/upload", "POST /resources/move", "DELETE /resources"


@pytest.fixture
def fake() -> Iterator[FakeYandexDisk]:
    with FakeYandexDisk() as running:
        yield running


@pytest.fixture
def environment(fake: FakeYandexDisk) -> Environment:
    return Environment(clock=ManualClock(fake.clock.now()), random=random.Random(1))


@pytest.fixture
def clock(environment: Environment) -> ManualClock:
    assert isinstance(environment.clock, ManualClock)
    return environment.clock


def opened(fake: FakeYandexDisk, environment: Environment, **changes: Any) -> YandexDiskBackend:
    notes = changes.pop("notes", None)
    settings = YandexDiskSettings.model_validate(fake.settings(**changes))
    return open_yandex_disk("disk", settings, environment=environment, notes=notes)


def play(backend: YandexDiskBackend, story: Story) -> None:
    async def run() -> None:
        try:
            async with asyncio.timeout(60):
                await story(backend)
        finally:
            await backend.close()

    asyncio.run(run())


async def put(backend: YandexDiskBackend, name: str, data: bytes, **more: Any) -> None:
    await backend.put(name, Body.of_bytes(data), **more)


async def read(backend: YandexDiskBackend, name: str, wish: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=wish) as reader:
        return await reader.read()


def left(fake: FakeYandexDisk) -> list[str]:
    """Return the names of everything in the store's folders that is no blob."""
    found: list[str] = []
    folders = [fake.disk.find("disk:/holdfast")]
    while folders:
        folder = folders.pop()
        for name, node in folder.children.items() if folder else ():
            if node.is_folder:
                folders.append(node)
            elif not name.startswith("^"):
                found.append(name)
    return found


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.STATUS, LINK, status=429, retry_after=7, times=2),
        Fault(Kind.STATUS, LINK, status=429, times=3),
        Fault(Kind.STATUS, LINK, status=423, code="DiskResourceLockedError", times=2),
        Fault(Kind.LOST, LINK, times=2),
        Fault(Kind.HALF, LINK),
        Fault(Kind.PAGE, LINK, status=502),
        Fault(Kind.PAGE, LOOK, status=200),
        Fault(Kind.STRAY, LINK),
        Fault(Kind.EXPIRED, LINK),
        Fault(Kind.LATE, UP, polls=5),
        Fault(Kind.LOST, UP),
        Fault(Kind.INVISIBLE, UP, status=404, polls=4),
        Fault(Kind.INVISIBLE, UP, status=500, polls=9),
        Fault(Kind.STATUS, MOVE, status=500, times=2),
        Fault(Kind.LOST, MOVE),
        Fault(Kind.LATE, MOVE, polls=5),
        Fault(Kind.FAILED, MOVE),
        Fault(Kind.STATUS, MOVE, status=423, times=3),
        Fault(Kind.STATUS, "GET /operations", status=503, times=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.on.partition(' ')[2].strip('/')}-{fault.status}-{fault.polls}",
)
def test_a_put_bears_what_passes(fake: FakeYandexDisk, environment: Environment, fault: Fault) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/old", b"old")
        fake.faults.add(fault)
        await put(backend, "t/old", b"new content")
        assert await read(backend, "t/old") == b"new content"
        assert [info.name async for info in backend.list()] == ["t/old"]
        if fault.on != "GET /operations":
            assert fake.faults.total == fault.times

    play(opened(fake, environment), story)
    assert left(fake) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(Kind.FAILED, UP), UnavailableError),
        (Fault(Kind.DAMAGED, UP), CorruptedError),
        (Fault(Kind.HALF, UP), UnavailableError),
        (Fault(Kind.STALE, UP), UnavailableError),
        (Fault(Kind.STATUS, UP, status=503), UnavailableError),
        (Fault(Kind.STATUS, UP, status=507), QuotaExceededError),
        (Fault(Kind.STATUS, UP, status=413), TooLargeError),
        (Fault(Kind.STATUS, UP, status=423, code="DiskUploadTrafficLimitExceeded"), QuotaExceededError),
        (Fault(Kind.STATUS, LINK, status=423, code="DiskUploadTrafficLimitExceeded"), QuotaExceededError),
        (Fault(Kind.STATUS, LINK, status=429, retry_after=3600), RateLimitedError),
        (Fault(Kind.STATUS, LINK, status=429, times=99), RateLimitedError),
        (Fault(Kind.STATUS, LINK, status=409, code="SomethingNewError"), ConflictError),
        (Fault(Kind.INVISIBLE, UP, status=404, polls=999), UnavailableError),
        (Fault(Kind.LATE, UP, polls=9999), DeadlineError),
        (Fault(Kind.LATE, MOVE, polls=9999), DeadlineError),
        (Fault(Kind.FAILED, MOVE, times=99), UnavailableError),
    ],
    ids=lambda one: (
        f"{one.kind}-{one.on.partition(' ')[2].strip('/')}-{one.status}" if isinstance(one, Fault) else ""
    ),
)
def test_a_put_that_fails_says_why_and_keeps_the_old_content(
    fake: FakeYandexDisk, environment: Environment, fault: Fault, kind: type[HoldfastError]
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/old", b"old")
        fake.faults.add(fault)
        with pytest.raises(kind) as caught:
            await put(backend, "t/old", b"new content")
        assert (caught.value.operation, caught.value.store, caught.value.name) == ("put", "disk", "t/old")
        assert caught.value.retryable is (
            kind in (UnavailableError, CorruptedError, RateLimitedError, DeadlineError)
        )
        fake.faults.clear()
        assert await read(backend, "t/old") == b"old"
        assert [info.name async for info in backend.list()] == ["t/old"]
        await backend.discard("t/old")

    play(opened(fake, environment), story)
    assert left(fake) == []


def test_an_upload_allowance_that_is_spent_is_not_asked_again(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    fake.disk.rules.allowance = 5

    async def story(backend: YandexDiskBackend) -> None:
        with pytest.raises(QuotaExceededError, match="read-only"):
            await put(backend, "a", b"too much")
        assert fake.server.requests[UP] == 1

    play(opened(fake, environment), story)


def test_a_limit_of_the_account_is_asked_for_and_known_then(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    fake.disk.rules.max_file_size = 100 << 20

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(101):
            yield bytes(1 << 20)

    async def story(backend: YandexDiskBackend) -> None:
        assert backend.limits.max_blob_size is None
        with pytest.raises(TooLargeError):
            await backend.put("a", Body.of_stream(chunks(), size=101 << 20))
        assert (fake.server.requests[LINK], backend.limits.max_blob_size) == (0, 100 << 20)
        with pytest.raises(TooLargeError):
            await backend.put("a", Body.of_stream(chunks()))
        assert [info.name async for info in backend.list()] == []

    play(opened(fake, environment), story)
    assert left(fake) == []


def test_room_counts_the_trash(fake: FakeYandexDisk, environment: Environment) -> None:
    fake.disk.rules.total_space = 1000

    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "a", b"x" * 100)
        await backend.delete("a")
        room = await backend.room()
        assert (room.total, room.free, room.trash, room.max_file_size) == (1000, 900, 100, 1 << 30)

    play(opened(fake, environment, permanently=False), story)
    assert len(fake.disk.trash) == 1


def test_names_are_neutral_until_the_end_unless_switched_off(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/film.mp4", b"film")
        assert await read(backend, "t/film.mp4") == b"film"

    play(opened(fake, environment), story)
    (asked,) = {one for one in fake.disk.requested if not one.path.endswith(".mp4")}
    assert (asked.slowed, asked.path.rpartition("/")[0]) == ("", "disk:/holdfast/t")
    assert not any(one.slowed for one in fake.disk.requested)
    play(opened(fake, environment, neutral_names=False), story)
    assert fake.disk.requested[-1].slowed == "video"


def test_straight_uploads_remove_what_was_damaged(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        fake.faults.add(Fault(Kind.DAMAGED, UP))
        with pytest.raises(CorruptedError):
            await put(backend, "a", b"content")
        with pytest.raises(NotFoundError):
            await backend.head("a")

    play(opened(fake, environment, neutral_names=False), story)


def test_a_move_that_does_not_replace_leaves_the_old_content_alone(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    fake.disk.rules.moves_replace = False

    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/a", b"old")
        fake.server.requests.clear()
        with pytest.raises(ConflictError, match="does not replace"):
            await put(backend, "t/a", b"new")
        assert fake.server.requests[MOVE] == 3
        assert await read(backend, "t/a") == b"old"
        fake.disk.rules.moves_replace = True
        fake.faults.add(Fault(Kind.STATUS, MOVE, times=2, status=409, code="DiskResourceAlreadyExistsError"))
        await put(backend, "t/a", b"new")
        assert await read(backend, "t/a") == b"new"

    play(opened(fake, environment), story)
    assert left(fake) == []


def test_what_only_sounds_like_success_is_none(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/a", b"old")
        fake.faults.add(Fault(Kind.STATUS, MOVE, status=200), Fault(Kind.STATUS, MOVE, status=204))
        await put(backend, "t/a", b"new")
        assert await read(backend, "t/a") == b"new"
        fake.faults.add(Fault(Kind.STATUS, DELETE, status=200), Fault(Kind.STATUS, DELETE, status=201))
        await backend.delete("t/a")
        with pytest.raises(NotFoundError):
            await backend.head("t/a")

    play(opened(fake, environment), story)


@pytest.mark.parametrize("on", [DOWN, "GET /resources/download", LOOK])
def test_a_read_does_not_wait_longer_than_there_is_patience(
    fake: FakeYandexDisk, environment: Environment, clock: ManualClock, on: str
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/a", b"x")
        fake.faults.add(Fault(Kind.STATUS, on, times=2, status=429, retry_after=86_000))
        before = clock.monotonic()
        with pytest.raises(RateLimitedError) as caught:
            await read(backend, "t/a")
        assert (caught.value.retry_after, clock.monotonic()) == (86_000, before)

    play(opened(fake, environment), story)


@pytest.mark.parametrize("size", [True, -1, 1 << 63, int("9" * 4000)])
def test_a_size_that_cannot_be_is_none(size: int) -> None:
    assert Resource.of({"type": "file", "size": size}).size == -1


@pytest.mark.parametrize(
    "href",
    [
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:0/x",
        "http://[::1/x",
        "file:///etc/passwd",
        "mailto:x",
    ],
)
def test_a_link_that_leads_nowhere_is_an_error_of_the_store(
    fake: FakeYandexDisk, environment: Environment, href: str
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        for base in ("", "http://127.0.0.1/a"):
            with pytest.raises(UnavailableError):
                backend._api.allowed(Where("get", "disk"), href, base=base)

    play(opened(fake, environment), story)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a": "\xff"}', b"9" * 5000, b"{", b"[]"])
def test_json_that_is_none_is_none(raw: bytes) -> None:
    assert json_of("application/json", raw) is None


def test_put_only_if_absent_is_offered_only_when_asked_for(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    async def refused(backend: YandexDiskBackend) -> None:
        assert Capability.IF_ABSENT not in backend.capabilities
        with pytest.raises(UnsupportedError):
            await put(backend, "a", b"x", if_absent=True)

    async def offered(backend: YandexDiskBackend) -> None:
        fake.faults.add(Fault(Kind.LOST, MOVE))
        await put(backend, "a", b"first", if_absent=True)
        with pytest.raises(AlreadyExistsError):
            await put(backend, "a", b"second", if_absent=True)
        fake.faults.add(Fault(Kind.FAILED, MOVE))
        await put(backend, "b", b"third", if_absent=True)
        assert (await read(backend, "a"), await read(backend, "b")) == (b"first", b"third")

    play(opened(fake, environment), refused)
    play(opened(fake, environment, conditional_writes=True, neutral_names=False), offered)
    assert left(fake) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.STALE, DOWN),
        Fault(Kind.STALE, DOWN, status=500),
        Fault(Kind.STATUS, DOWN, status=429, retry_after=1),
        Fault(Kind.REFUSED, DOWN),
        Fault(Kind.STATUS, "GET /resources/download", status=500, times=2),
        Fault(Kind.HALF, LOOK),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_read_takes_a_new_link_when_one_has_ended(
    fake: FakeYandexDisk, environment: Environment, fault: Fault
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "a", b"0123456789")
        for wish, wanted in ((None, b"0123456789"), (ByteRange(2, 4), b"234")):
            fake.faults.add(fault)
            assert await read(backend, "a", wish) == wanted

    play(opened(fake, environment), story)
    assert not any(
        "Authorization" in headers for label, headers in fake.server.headers if label in (UP, DOWN)
    )


def test_a_read_that_breaks_or_is_damaged_is_an_error(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "a", b"x" * 100_000)
        for kind, error in ((Kind.HALF, UnavailableError), (Kind.DAMAGED, CorruptedError)):
            fake.faults.add(Fault(kind, DOWN))
            with pytest.raises(error) as caught:
                await read(backend, "a")
            assert caught.value.retryable
        fake.faults.add(Fault(Kind.STALE, DOWN, times=99))
        with pytest.raises(UnavailableError, match="link"):
            await read(backend, "a")
        fake.faults.clear()
        assert len(await read(backend, "a")) == 100_000

    play(opened(fake, environment), story)


def test_silence_ends(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "a", b"x")
        for on in (LOOK, DOWN, LINK, UP):
            fake.faults.add(Fault(Kind.SILENT, on, times=9))
            with pytest.raises((UnavailableError, DeadlineError)):
                await (read(backend, "a") if on in (LOOK, DOWN) else put(backend, "a", b"new"))
            fake.faults.clear()

    play(opened(fake, environment, request_timeout=0.05, connect_timeout=1, retries=0), story)


def test_a_removal_is_done_when_the_service_says_so(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        for fault in (
            Fault(Kind.LATE, DELETE, polls=4),
            Fault(Kind.FAILED, DELETE),
            Fault(Kind.LOST, DELETE),
            Fault(Kind.STATUS, DELETE, status=423, times=2),
        ):
            await put(backend, "a", b"x")
            fake.faults.add(fault)
            await backend.delete("a")
            with pytest.raises(NotFoundError):
                await backend.head("a")
        await put(backend, "a", b"x")
        fake.faults.add(Fault(Kind.LATE, DELETE, polls=9999))
        with pytest.raises(DeadlineError, match="open"):
            await backend.delete("a")
        fake.faults.add(Fault(Kind.FAILED, DELETE, times=99))
        with pytest.raises(UnavailableError):
            await backend.delete("a")

    play(opened(fake, environment), story)


def test_discard_removes_what_a_dead_writer_left(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/a", b"x")
        await put(backend, "t/b", b"y")
        folder = fake.disk.find("disk:/holdfast/t")
        assert folder is not None
        fake.faults.add(Fault(Kind.REFUSED, MOVE, times=5), Fault(Kind.REFUSED, DELETE, times=5))
        with pytest.raises(UnavailableError):
            await put(backend, "t/a", b"new")
        assert len(left(fake)) == 1
        await backend.discard("t/b")
        assert len(left(fake)) == 1
        await backend.discard("t/a")
        await backend.discard("t/a")
        assert folder.children == {}

    play(opened(fake, environment), story)


def test_a_token_is_renewed_once_for_all_and_every_request_succeeds(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "a", b"x")
        fake.accounts.expire()
        assert await asyncio.gather(*(read(backend, "a") for _ in range(64))) == [b"x"] * 64
        assert fake.accounts.renewals == 1

    play(opened(fake, environment), story)


def test_a_token_is_renewed_ahead_of_its_end(
    fake: FakeYandexDisk, environment: Environment, clock: ManualClock
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        fake.accounts.expire()
        await put(backend, "a", b"x")
        refused = fake.server.requests["POST /token"]
        clock.advance(fake.accounts.lifetime * 0.9)
        await read(backend, "a")
        await asyncio.sleep(0.05)
        assert (refused, fake.accounts.renewals) == (1, 2)

    play(opened(fake, environment), story)


def test_two_processes_renew_once_and_neither_loses_the_new_refresh_token(fake: FakeYandexDisk) -> None:
    environment = Environment(clock=Fast())
    notes, first = MemoryNotes(), fake.accounts.refresh
    stores = [opened(fake, environment, notes=notes) for _ in range(4)]
    later = opened(fake, environment, notes=notes)

    async def story(last: YandexDiskBackend) -> None:
        await put(stores[0], "a", b"x")
        for turn in range(3):
            fake.accounts.expire()
            assert await asyncio.gather(*(read(store, "a") for store in stores)) == [b"x"] * 4
            assert fake.accounts.renewals == turn + 1
        kept = json.loads(await notes.read("secret/oauth") or b"")
        assert (kept["refresh"], kept["claim"]) == (fake.accounts.refresh, "")
        assert kept["refresh"] != first
        for store in stores:
            await store.close()
        # A process that starts now knows only its file, where the first refresh token still stands.
        fake.accounts.expire()
        assert await read(last, "a") == b"x"
        assert fake.accounts.refusals == 0

    play(later, story)


def test_a_claim_of_a_process_that_died_ends(
    fake: FakeYandexDisk, environment: Environment, clock: ManualClock
) -> None:
    notes = MemoryNotes()

    async def story(backend: YandexDiskBackend) -> None:
        fake.faults.add(Fault(Kind.STATUS, "POST /token", status=503, times=99))
        fake.accounts.expire()
        with pytest.raises(UnavailableError):
            await backend.head("a")
        fake.faults.clear()
        kept = json.loads(await notes.read("secret/oauth") or b"")
        assert kept["claim"] == ""
        dead = json.dumps({**kept, "claim": "dead", "until": clock.now() + 60_000_000}).encode()
        assert await notes.swap("secret/oauth", await notes.read("secret/oauth"), dead)
        with pytest.raises(NotFoundError):
            await backend.head("a")
        assert fake.accounts.renewals == 1

    play(opened(fake, environment, notes=notes), story)


def test_a_note_that_cannot_be_written_does_not_lose_the_token(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    class Broken(MemoryNotes):
        broken = 0

        async def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
            if self.broken and b'"claim": ""' in (new or b""):
                self.broken -= 1
                raise UnavailableError("the catalog is away")
            return await super().swap(name, old, new)

    notes = Broken()

    async def story(backend: YandexDiskBackend) -> None:
        notes.broken = 99
        fake.accounts.expire()
        await put(backend, "a", b"x")
        notes.broken = 0
        fake.accounts.expire()
        assert await read(backend, "a") == b"x"
        kept = json.loads(await notes.read("secret/oauth") or b"")
        assert (kept["refresh"], fake.accounts.refusals) == (fake.accounts.refresh, 0)

    play(opened(fake, environment, notes=notes), story)


@pytest.mark.parametrize("last", ["call", "close"])
def test_a_token_that_could_not_be_kept_is_kept_as_soon_as_that_goes(
    fake: FakeYandexDisk, environment: Environment, clock: ManualClock, last: str
) -> None:
    class Away(MemoryNotes):
        tries, lost = 0, range(2, 6)

        async def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
            self.tries += 1
            if self.tries in self.lost:
                raise UnavailableError("the catalog is away")
            return await super().swap(name, old, new)

    notes = Away()

    async def kept() -> str:
        return str(json.loads(await notes.read("secret/oauth") or b"")["refresh"])

    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/a", b"x")
        assert (notes.tries, await kept() != fake.accounts.refresh) == (5, True)
        clock.advance(1)
        await read(backend, "t/a")
        if last == "call":
            notes.lost = range(2, 7)
            for _ in range(2):
                clock.advance(10)
                await read(backend, "t/a")
        else:
            await backend.close()
        assert await kept() == fake.accounts.refresh
        assert fake.accounts.renewals == 1

    fake.accounts.expire()
    play(opened(fake, environment, notes=notes), story)
    fake.accounts.expire()

    async def later(backend: YandexDiskBackend) -> None:
        assert await read(backend, "t/a") == b"x"
        assert fake.accounts.refusals == 0

    play(opened(fake, environment, notes=notes), later)


def test_a_token_that_could_not_be_kept_does_not_replace_that_of_another_configuration(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    class Away(MemoryNotes):
        away = False

        async def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
            if self.away and b'"claim": ""' in (new or b""):
                raise UnavailableError("the catalog is away")
            return await super().swap(name, old, new)

    notes = Away()

    async def story(backend: YandexDiskBackend) -> None:
        notes.away = True
        await put(backend, "t/a", b"x")
        notes.away = False
        theirs = b'{"access": "", "claim": "", "refresh": "theirs", "seed": "another"}'
        assert await notes.swap("secret/oauth", await notes.read("secret/oauth"), theirs)
        await backend.close()
        assert await notes.read("secret/oauth") == theirs

    fake.accounts.expire()
    play(opened(fake, environment, notes=notes), story)


def test_a_token_that_is_refused_for_good_is_an_error_without_the_token(
    fake: FakeYandexDisk, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = [fake.accounts.access, fake.accounts.refresh, "fake-client-secret"]

    async def story(backend: YandexDiskBackend) -> None:
        with pytest.raises(UnauthenticatedError) as caught:
            await put(backend, "a", b"x")
        shown = f"{caught.value}{caught.value!r}{caught.value.__cause__!r}{vars(backend)}{caplog.text}"
        assert not any(secret in shown for secret in secrets)

    fake.accounts.expire()
    fake.accounts.refresh = "1:another"
    static = opened(fake, environment, refresh_token="", client_secret="", token=secrets[0])
    play(static, story)
    assert fake.server.requests[LINK] == 2
    play(opened(fake, environment, refresh_token=secrets[1]), story)


def test_a_wrong_refresh_token_is_told_at_once(
    fake: FakeYandexDisk, environment: Environment, clock: ManualClock
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        for asked in (1, 2):
            with pytest.raises(UnauthenticatedError, match="set `refresh_token`"):
                await backend.head("a")
            assert (fake.accounts.refusals, clock.slept) == (asked, [])

    play(opened(fake, environment, refresh_token="1:wrong", token=""), story)


def test_who_may_have_used_a_refresh_token_up_is_waited_for(
    fake: FakeYandexDisk, environment: Environment, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, pauses = MemoryNotes(), list[float]()

    async def story(backend: YandexDiskBackend) -> None:
        with pytest.raises(NotFoundError):
            await backend.head("a")
        fake.accounts.expire()
        kept = json.loads(await notes.read("secret/oauth") or b"")
        claim = {**kept, "expires": clock.now(), "claim": "late", "until": clock.now() - 1}
        late = json.dumps(claim, sort_keys=True).encode()
        assert await notes.swap("secret/oauth", await notes.read("secret/oauth"), late)
        form = {"client_id": fake.accounts.client_id, "client_secret": fake.accounts.client_secret}
        form |= {"grant_type": "refresh_token", "refresh_token": kept["refresh"]}
        given = fake.accounts.renew(form)

        async def writes_late(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                tokens = {"access": given["access_token"], "refresh": given["refresh_token"]}
                ends = {"expires": fake.accounts.expires, "claim": "", "until": 0}
                made = json.dumps({**kept, **tokens, **ends}).encode()
                assert await notes.swap("secret/oauth", late, made), "its claim was given back to it"

        monkeypatch.setattr(clock, "sleep", writes_late)
        with pytest.raises(NotFoundError):
            await backend.head("a")
        assert (pauses, fake.accounts.refusals) == ([1.0, 0.5, 1.0], 1), (
            "one before, since good tokens are refused at times"
        )

    play(opened(fake, environment, notes=notes, token=""), story)


def test_folders_are_remembered_only_when_the_service_said_so(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        fake.faults.add(Fault(Kind.STATUS, "PUT /resources", status=409, code="SomethingNewError"))
        with pytest.raises(ConflictError):
            await put(backend, "a/b/c/d", b"x")
        await put(backend, "a/b/c/d", b"x")
        assert fake.server.requests["PUT /resources"] == 6
        await put(backend, "a/b/e/f", b"x")
        assert fake.server.requests["PUT /resources"] == 7
        above = fake.disk.find("disk:/holdfast/a")
        assert above is not None
        above.children.clear()  # somebody tidied up by hand
        await put(backend, "a/b/c/d", b"y")
        assert await read(backend, "a/b/c/d") == b"y"

    play(opened(fake, environment), story)


def test_a_file_where_a_folder_should_be_is_told(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "x", b"x")
        fake.disk.copy("disk:/holdfast/^x", "disk:/holdfast/a", overwrite=False)
        with pytest.raises(ConflictError, match="move it away"):
            await backend.make_folder("a")
        assert await backend.make_folder("b/c")
        assert not await backend.make_folder("b/c")
        assert [info.name async for info in backend.list()] == ["x"]

    play(opened(fake, environment), story)


def test_the_cache_of_folders_is_bounded_and_ends(clock: ManualClock) -> None:
    seen = Seen(clock, size=3, ttl=300)
    for path in ("disk:/a", "disk:/a/b", "disk:/c", "disk:/d"):
        seen.add(path)
    assert ["disk:/a" in seen, "disk:/a/b" in seen, len(seen)] == [False, True, 3]
    seen.forget("disk:/a/b")
    assert "disk:/a/b" not in seen
    clock.advance(299)
    assert "disk:/d" in seen
    clock.advance(2)
    assert "disk:/d" not in seen
    off = Seen(clock, size=0, ttl=300)
    off.add("disk:/a")
    assert "disk:/a" not in off


def test_a_listing_of_a_folder_that_changes_between_pages_is_whole(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/x", b"x")
        folder = fake.disk.find("disk:/holdfast/t")
        assert folder is not None
        for number in range(1200):
            fake.disk.copy("disk:/holdfast/t/^x", f"disk:/holdfast/t/^{number:05}", overwrite=False)
        wanted = sorted(["t/x", *(f"t/{number:05}" for number in range(1200))])
        fake.faults.add(Fault(Kind.REPEATED, LOOK, after=1))
        assert [info.name async for info in backend.list("t/")] == wanted
        going = iter(range(0, 1200, 400))

        class Changing(dict):  # type: ignore[type-arg]
            """Loses one of its first items between the pages, and gets one at its end: the total stays."""

            def values(self) -> Any:
                if (number := next(going, None)) is not None and number:
                    node = self.pop(f"^{number - 400:05}")
                    node.name = f"^{90_000 + number}"
                    self[node.name] = node
                return super().values()

        folder.children = Changing(folder.children)
        goes = {"t/00000", "t/00400"}
        found = [info.name async for info in backend.list("t/")]
        assert set(wanted) - goes <= set(found)
        assert found == sorted(set(found))
        assert fake.server.requests[LOOK] > 9  # it was read anew

    play(opened(fake, environment), story)


def test_what_is_not_ours_is_not_listed(fake: FakeYandexDisk, environment: Environment) -> None:
    async def story(backend: YandexDiskBackend) -> None:
        await put(backend, "t/a", b"x")
        for name in ("плакат.jpg", "photo.jpg", "#left", "^", "^bad name", "{x"):
            fake.disk.copy("disk:/holdfast/t/^a", f"disk:/holdfast/t/{name}", overwrite=False)
        fake.disk.make_folder("disk:/holdfast/Новая папка")
        assert [info.name async for info in backend.list()] == ["t/a"]

    play(opened(fake, environment), story)


def test_only_so_many_uploads_run_at_a_time(fake: FakeYandexDisk, environment: Environment) -> None:
    running, most = 0, 0

    async def slow(number: int) -> AsyncIterator[bytes]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            for _ in range(100):  # for a busy machine: until another has begun
                await asyncio.sleep(0 if most > 1 else 0.01)
                if most > 1:
                    break
            yield bytes([number]) * 1000
        running -= 1

    async def story(backend: YandexDiskBackend) -> None:
        await asyncio.gather(*(backend.put(f"n/{n}", Body.of_stream(slow(n))) for n in range(9)))
        assert most == 2
        assert await read(backend, "n/8") == bytes([8]) * 5000

    play(opened(fake, environment, upload_concurrency=2), story)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"root": "/holdfast"}, "disk:/ or app:/"),
        ({"root": "disk:/a/../b"}, "not . or .."),
        ({"token": "", "refresh_token": ""}, "give a token"),
        ({"client_secret": ""}, "needs client_id and client_secret"),
        ({"allow_http": False}, "allow_http"),
        ({"api_url": "ftp://x"}, "an address"),
        ({"oauth_url": "http://me:marlin@host"}, "without user"),
        ({"upload_concurrency": 20}, "more than upload_concurrency"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_settings_that_cannot_be_meant(fake: FakeYandexDisk, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as error:
        YandexDiskSettings.model_validate(fake.settings(**changes))
    assert told in str(error.value)
    assert "marlin" not in str(error.value)


def test_only_stores_of_the_same_grant_copy_from_each_other(
    fake: FakeYandexDisk, environment: Environment
) -> None:
    async def story(one: YandexDiskBackend) -> None:
        for changes, same in (
            ({"root": "disk:/other"}, True),
            ({"root": "disk:/other", "token": "another one of the grant"}, True),
            ({"root": "app:/other"}, False),
            ({"refresh_token": "of somebody else"}, False),
            ({"refresh_token": ""}, False),
            ({"api_url": "http://127.0.0.1:1/v1/disk"}, False),
        ):
            other = opened(fake, environment, **changes)
            assert (other.can_copy_from(one), one.can_copy_from(other)) == (same, same), changes
            await other.close()
        tokens = [opened(fake, environment, refresh_token="", token=token) for token in ("x", "x", "y")]
        assert [tokens[0].can_copy_from(other) for other in tokens] == [True, True, False]
        for other in tokens:
            await other.close()

    play(opened(fake, environment), story)


def test_a_copy_from_another_folder_moves_no_bytes_and_is_what_its_source_was(
    fake: FakeYandexDisk, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(one: YandexDiskBackend) -> None:
        two = opened(fake, environment, root="disk:/other")
        try:
            for name in ("a", "b"):
                await put(one, name, name.encode())
            fake.server.requests.clear()
            await two.copy_from(one, "a", "folder/copy")
            assert (fake.server.requests[UP], fake.server.requests[DOWN]) == (0, 0)
            assert fake.server.requests["POST /resources/copy"] > 0
            assert await read(two, "folder/copy") == b"a"
            copied = two._writer._copied

            async def overtaken(where: Where, source: str, path: str) -> None:
                await put(one, "a", b"another")
                await copied(where, source, path)

            async def mistaken(where: Where, source: str, path: str) -> None:
                await copied(where, source.replace("^b", "^a"), path)

            monkeypatch.setattr(two._writer, "_copied", overtaken)
            with pytest.raises(UnavailableError, match="changed while it was copied"):
                await two.copy_from(one, "a", "never")
            monkeypatch.setattr(two._writer, "_copied", mistaken)
            with pytest.raises(CorruptedError, match="differs"):
                await two.copy_from(one, "b", "never")
            monkeypatch.undo()
            assert [info.name async for info in two.list()] == ["folder/copy"]
            there = fake.disk.find("disk:/other")
            assert there is not None
            assert list(there.children) == ["folder"]
        finally:
            await two.close()

    play(opened(fake, environment), story)


def test_the_driver_is_registered_and_gets_notes(fake: FakeYandexDisk, environment: Environment) -> None:
    settings = registry.parse("yandex_disk", fake.settings(root="disk:/"))
    notes = MemoryNotes()
    backend = registry.open_backend("disk", "yandex_disk", settings, environment=environment, notes=notes)
    assert isinstance(backend, YandexDiskBackend)

    async def story(store: YandexDiskBackend) -> None:
        fake.accounts.expire()
        await put(store, "a", b"x")
        assert await notes.read("secret/oauth") is not None
        assert "^a" in fake.disk.root.children

    play(backend, story)
    assert fake.accounts.access not in repr(settings)


def test_a_storm_loses_nothing() -> None:
    found = storm(11, 200)
    assert found.sound, found
    assert found.faults >= 200
