"""The Google Drive driver when things go wrong: credentials, limits, broken transfers, races, an index that was lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.backends.google_drive import GoogleDriveBackend, GoogleDriveSettings, open_google_drive
from holdfast.catalog import open_catalog
from holdfast.core.backend import PutOptions, Room
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    CorruptedError,
    DeadlineError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from holdfast.core.notes import MemoryNotes, Notes
from holdfast.engine.notes import CatalogNotes
from holdfast.engine.sealing import Sealer
from holdfast.layers.retry import Retry
from holdfast.testing.fakes.google_drive import FakeDrive, Fault, Item, fake_drive
from torture.drive import storm

pytestmark = pytest.mark.engine

STEP = 256 << 10
LARGE = 5 * STEP + 77


class World:
    """A fake, a clock, and backends on the same folder."""

    def __init__(self, fake: FakeDrive, clock: ManualClock) -> None:
        self.fake, self.clock, self.notes = fake, clock, MemoryNotes()
        self.person = fake.state.add_person("me@example.org")
        self.folder = fake.state.add_folder(self.person.root)
        self.consent = fake.granting.add_consent(self.person.email, client_id="id", client_secret="secret")
        self._opened: list[GoogleDriveBackend] = []
        self._key: dict[str, str] = {}

    def open(self, notes: Notes | None = None, **changes: Any) -> GoogleDriveBackend:
        """Open one more backend; without `notes` all share the same."""
        values: dict[str, Any] = {
            "folder_id": self.folder,
            "client_id": "id",
            "client_secret": "secret",
            "refresh_token": self.consent,
            "api_base": self.fake.api_base,
            "upload_base": self.fake.upload_base,
            "token_url": self.fake.token_url,
            "allow_http": True,
            "chunk_size": STEP,
            "single_request": 100_000,
            **changes,
        }
        settings = GoogleDriveSettings.model_validate({key: one for key, one in values.items() if one != ""})
        environment = Environment(self.clock, random.Random(len(self._opened)))
        backend = open_google_drive("drive", settings, environment=environment, notes=notes or self.notes)
        self._opened.append(backend)
        return backend

    def robot(self, **changes: Any) -> GoogleDriveBackend:
        """Open a backend as a service account."""
        if not self._key:
            self._key = self.fake.granting.add_service_account(
                "robot@example.org", acts_for=(self.person.email,)
            )
        key = self._key
        mine = {"client_id": "", "client_secret": "", "refresh_token": "", "service_account": json.dumps(key)}
        return self.open(MemoryNotes(), **mine, **changes)

    def files(self, name: str = "") -> list[Item]:
        """Return the files in Drive, of all names or of one."""
        items = self.fake.state.items.values()
        return [one for one in items if not one.folder and one.gone is None and name in ("", one.name)]

    def plant(self, name: str, data: bytes, **changes: Any) -> Item:
        """Copy the file of a name with all that it says of itself, with other content."""
        of = self.files(name)[0]
        twin = Item(self.fake.state.new_id(), name, of.mime_type, list(of.parents), of.owner, of.drive)
        twin.app_properties = dict(of.app_properties)
        for attribute, value in changes.items():
            setattr(twin, attribute, value)
        self.fake.state.fill(twin, data)
        return self.fake.state.put(twin)

    def script(self, kind: Any, what: str = "", *, times: int = 1, **more: Any) -> None:
        """Let something go wrong."""
        self.fake.faults.script(Fault(kind, what, **more), times)

    async def close(self) -> None:
        for backend in self._opened:
            await backend.close()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = ManualClock()
    async with fake_drive(clock=clock) as fake:
        here = World(fake, clock)
        try:
            yield here
        finally:
            await here.close()


def told(story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with world() as here:
            async with asyncio.timeout(60):
                await story(here)

    asyncio.run(run())


async def put(backend: Any, name: str, data: bytes, **options: Any) -> Any:
    return await backend.put(name, Body.of_bytes(data), **options)


async def read(backend: Any, name: str) -> bytes:
    async with backend.get(name) as reader:
        return await reader.read()


async def names(backend: GoogleDriveBackend, prefix: str = "") -> list[str]:
    return [info.name async for info in backend.list(prefix)]


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def once(data: bytes) -> Body:
    """A body that can be read once, of unknown length."""
    return Body.of_stream([data[at : at + 50_000] for at in range(0, len(data), 50_000)])


# -- credentials


def test_a_token_that_ends_under_64_workers_is_fetched_once_and_no_call_fails() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        assert here.fake.granting.granted == 1
        here.fake.state.tokens.clear()  # they end before their time
        found = await asyncio.gather(*(read(backend, "a") for _ in range(64)))
        assert found == [b"x"] * 64
        assert here.fake.granting.granted == 2
        here.clock.advance(3601)
        await asyncio.gather(*(put(backend, f"b/{number}", b"y") for number in range(64)))
        assert here.fake.granting.granted == 3

    told(story)


def test_consent_that_was_withdrawn_says_so() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        here.fake.state.refresh_tokens.clear()
        with pytest.raises(UnauthenticatedError, match="consent has ended"):
            await put(backend, "a", b"x")
        other = here.open(client_secret="wrong")
        here.fake.state.refresh_tokens[here.consent] = ("id", "secret", here.person.email)
        with pytest.raises(UnauthenticatedError, match="does not know the client"):
            await other.head("a")
        await put(backend, "a", b"x")  # consent was given again

    told(story)


def test_a_token_as_it_is_ends_and_says_why() -> None:
    async def story(here: World) -> None:
        token = here.fake.granting.access(here.person.email)
        backend = here.open(client_id="", client_secret="", refresh_token="", token=token)
        await put(backend, "a", b"x")
        here.clock.advance(3601)
        for _ in range(2):
            with pytest.raises(UnauthenticatedError, match="nothing renews it") as error:
                await backend.head("a")
            assert token not in str(error.value)

    told(story)


def test_a_service_account_needs_a_shared_drive_or_a_user() -> None:
    async def story(here: World) -> None:
        alone = here.robot(folder_id="")
        with pytest.raises(ConfigError, match="no storage of its own"):
            await put(alone, "a", b"x")
        drive = here.fake.state.add_drive("Team", {"robot@example.org": "organizer"})
        for backend in (
            here.robot(drive_id=drive, folder_id=""),
            here.robot(drive_id=drive, folder_id=here.fake.state.add_folder(drive)),
            here.robot(subject=here.person.email),
        ):
            await put(backend, "a", b"x", if_absent=True)
            assert (await read(backend, "a"), await names(backend)) == (b"x", ["a"])
            await backend.delete("a")
        assert here.files() == []

    told(story)


def test_a_service_account_that_slips_into_my_drive_is_told_why_it_is_full() -> None:
    async def story(here: World) -> None:
        backend = here.robot(folder_id=here.folder, drive_id="")
        here.fake.state.items[here.folder].shared.add("robot@example.org")
        with pytest.raises(ConfigError, match="no storage of its own"):
            await put(backend, "a", b"x")

    told(story)


# -- limits


def test_a_storm_of_limits_is_waited_out_and_one_without_end_is_told() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        here.script("refuse", "media", times=3, status=403, reason="userRateLimitExceeded")
        here.script("refuse", "media", status=429, reason="rateLimitExceeded", retry_after=3)
        before = len(here.clock.slept)
        assert await read(backend, "a") == b"x"
        pauses = here.clock.slept[before:]
        assert pauses[3] == 3.0
        assert all(0.25 * 2**at <= pause <= 0.75 * 2**at for at, pause in enumerate(pauses[:3]))
        here.script("refuse", "media", times=99, status=403, reason="userRateLimitExceeded")
        with pytest.raises(RateLimitedError) as error:
            await read(backend, "a")
        assert error.value.retry_after
        assert here.fake.faults.left == 99 - 5  # four further tries and no more

    told(story)


def test_a_day_that_is_used_up_is_not_asked_again_for_an_hour() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        here.script("refuse", "get", status=403, reason="dailyLimitExceeded")
        with pytest.raises(RateLimitedError) as error:
            await backend.head("a")
        assert (error.value.retry_after or 0) > 60
        asked = here.fake.seen.total()
        for _ in range(5):
            with pytest.raises(RateLimitedError):
                await backend.head("a")
        assert here.fake.seen.total() == asked
        here.clock.advance(3601)
        assert (await backend.head("a")).size == 1

    told(story)


def test_a_full_drive_fails_over_and_leaves_nothing() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"old")
        here.person.limit = 10
        for data in (b"x" * 100, noise(LARGE)):
            with pytest.raises(QuotaExceededError):
                await put(backend, "a", data)
        assert await read(backend, "a") == b"old"
        assert await backend.room() == Room(10, 7)
        here.person.limit = None
        assert await backend.room() is None
        assert [name async for name, _ in here.notes.list("blob/")] == ["blob/a"]

    told(story)


def test_what_google_took_for_harmful_is_the_operators_to_decide() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        here.files("a")[0].abusive = True
        with pytest.raises(PermissionDeniedError, match="acknowledge_abuse"):
            await read(backend, "a")
        assert await read(here.open(acknowledge_abuse=True), "a") == b"x"

    told(story)


# -- the folder


def test_a_folder_that_is_not_ours_to_use() -> None:
    async def story(here: World) -> None:
        stranger = here.fake.state.add_person("they@example.org")
        theirs = here.fake.state.add_folder(stranger.root)
        with pytest.raises(ConfigError, match="not shown to these credentials"):
            await here.open(MemoryNotes(), folder_id=theirs).head("a")
        backend = here.open()
        await put(backend, "a", b"x")
        with pytest.raises(ConfigError, match="is no folder"):
            await here.open(MemoryNotes(), folder_id=here.files("a")[0].id).head("a")
        other = here.fake.state.add_folder(here.person.root)
        with pytest.raises(ConfigError, match="notes belong to another folder"):
            await here.open(folder_id=other).head("a")
        with pytest.raises(ConfigError, match="shared drive of drive_id"):
            await here.open(MemoryNotes(), drive_id=other + "x").head("a")

    told(story)


def test_a_missing_folder_is_no_missing_blob() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        here.fake.state.items[here.folder].trashed = True
        for _ in range(2):
            with pytest.raises(ConfigError, match="in the trash"):
                await backend.head("a")
        here.fake.state.items[here.folder].trashed = False
        assert (await backend.head("a")).size == 1
        here.fake.state.remove(here.files("a")[0])
        for work in (backend.head("a"), read(backend, "a")):
            with pytest.raises(NotFoundError):
                await work
        assert await names(backend) == []
        await put(backend, "a", b"again", if_absent=True)
        assert await read(backend, "a") == b"again"

    told(story)


@pytest.mark.parametrize("what", ["ids", "create", "list"])
def test_a_call_that_is_not_found_is_no_missing_blob(what: str) -> None:
    async def story(here: World) -> None:
        backend = here.open()
        here.script("refuse", what, status=404, reason="notFound")
        with pytest.raises(UnavailableError):
            await put(backend, "a", b"x")
        assert here.fake.faults.left == 0
        await put(backend, "a", b"x")
        assert (await read(backend, "a"), await names(backend)) == (b"x", ["a"])

    told(story)


def test_a_folder_inside_that_somebody_removed_is_made_anew() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        here.fake.state.remove(here.fake.state.items[here.files("a")[0].parents[0]])
        with pytest.raises(UnavailableError, match="folder of the store was gone"):
            await put(backend, "a", b"y")
        await put(backend, "a", b"y")
        here.fake.state.items[here.files("a")[0].parents[0]].trashed = True
        patient = Retry(backend, environment=Environment(here.clock))
        await put(patient, "a", b"z")
        assert await read(backend, "a") == b"z"
        assert await names(backend) == ["a"]

    told(story)


# -- broken transfers


@pytest.mark.parametrize("kind", ["lose", "drop", "garble", "take_half"])
@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_put_whose_answer_breaks_makes_one_file(kind: str, size: int) -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "warm", b"")
        for what in ("multipart",) if size < STEP else ("session", "session", "session"):
            here.script(kind, what)
        data = noise(size)
        assert (await backend.put("a", once(data))).size == size
        assert here.fake.faults.left == 0
        assert len(here.files("a")) == 1
        assert await read(backend, "a") == data

    told(story)


def test_a_copy_whose_answer_is_lost_makes_one_file() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", noise(1000), options=PutOptions(metadata={"colour": "blue"}))
        here.script("lose", "copy")
        await backend.copy("a", "b" * 200)
        assert len(here.files("b" * 200)) == 1
        assert dict((await backend.head("b" * 200)).metadata) == {"colour": "blue"}

    told(story)


def test_only_stores_of_the_same_credentials_copy_from_each_other() -> None:
    async def story(here: World) -> None:
        place = here.fake.state.add_folder(here.person.root)
        one, two = here.open(), here.open(MemoryNotes(), folder_id=place)
        consent = here.fake.granting.add_consent(here.person.email, client_id="id", client_secret="secret")
        again = here.open(MemoryNotes(), folder_id=place, refresh_token=consent)
        assert two.can_copy_from(one)
        assert not again.can_copy_from(one)  # perhaps somebody else: nothing here tells
        robots = [here.robot(subject=who) for who in (here.person.email, here.person.email, "")]
        assert [robots[0].can_copy_from(other) for other in robots] == [True, True, False]
        assert not any(robot.can_copy_from(one) for robot in robots)

    told(story)


def test_a_source_that_is_overwritten_while_it_is_copied_is_copied_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(here: World) -> None:
        one, two = (
            here.open(),
            here.open(MemoryNotes(), folder_id=here.fake.state.add_folder(here.person.root)),
        )
        await put(one, "a", b"first")
        copy, turns = two._uploads.copy, iter(range(100))

        async def overtaken(*args: Any) -> Any:
            if (turn := next(turns)) < most:
                await put(one, "a", b"turn %d" % turn)
            return await copy(*args)

        monkeypatch.setattr(two._uploads, "copy", overtaken)
        most = 2
        await two.copy_from(one, "a", "b")
        assert await read(two, "b") == b"turn 1"
        most = 100
        with pytest.raises(UnavailableError, match="again and again"):
            await two.copy_from(one, "a", "c")
        assert await names(two) == ["b"]
        assert len(here.files()) == 2  # what was begun is gone

    told(story)


def test_a_copy_says_what_is_wrong_with_its_source_and_with_its_folder() -> None:
    async def story(here: World) -> None:
        place = here.fake.state.add_folder(here.person.root)
        one, two = here.open(), here.open(MemoryNotes(), folder_id=place)
        for name in ("a", "b"):
            await put(one, name, b"as it was")
        here.fake.state.fill(here.files("a")[0], b"otherwise")
        with pytest.raises(CorruptedError, match="when it was written"):
            await two.copy_from(one, "a", "c")
        assert await names(two) == []
        for folder in [item for item in here.fake.state.items.values() if item.parents == [place]]:
            here.fake.state.remove(folder)
        with pytest.raises(UnavailableError, match="made anew at the next try"):
            await two.copy_from(one, "b", "c")
        await two.copy_from(one, "b", "c")
        assert await read(two, "c") == b"as it was"

    told(story)


def test_a_server_that_keeps_fewer_bytes_gets_the_rest_again() -> None:
    async def story(here: World) -> None:
        backend = here.open(chunk_size=2 * STEP)
        here.script("keep_fewer", "session", times=4)
        data = noise(LARGE)
        await backend.put("a", once(data))
        assert (here.fake.faults.left, await read(backend, "a")) == (0, data)
        here.script("refuse", "session", times=3, status=503)
        await backend.put("a", once(data[:-1]))
        assert await read(backend, "a") == data[:-1]

    told(story)


def test_a_session_that_was_forgotten_begins_again_if_the_body_can() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        data = noise(LARGE)
        here.script("forget", "session")
        await put(backend, "a", data)
        assert await read(backend, "a") == data
        here.script("forget", "session")
        with pytest.raises(UnavailableError, match="has to begin again"):
            await backend.put("a", once(noise(LARGE, 2)))
        here.script("forget", "session", times=9)
        with pytest.raises(UnavailableError, match="has to begin again"):
            await put(backend, "a", noise(LARGE, 3))
        assert here.fake.faults.left == 9 - 3
        assert await read(backend, "a") == data

    told(story)


def test_a_session_that_never_keeps_anything_is_given_up() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        here.script("keep_fewer", "session", times=99)
        with pytest.raises(UnavailableError, match="keeps nothing"):
            await put(backend, "a", noise(LARGE))
        assert (here.files(), await names(backend)) == ([], [])

    told(story)


def test_other_bytes_than_were_sent_are_found_out_and_removed() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        fill = here.fake.state.fill

        def damaged(item: Item, source: Any) -> None:
            fill(item, (source.read_bytes() if not isinstance(source, bytes) else source)[:-1] + b"!")

        here.fake.state.fill = damaged  # type: ignore[method-assign]
        for size in (1000, LARGE):
            with pytest.raises(CorruptedError):
                await put(backend, "a", noise(size))
        here.fake.state.fill = fill  # type: ignore[method-assign]
        assert (here.files(), await names(backend)) == ([], [])

    told(story)


def test_half_a_download_is_an_error_and_content_that_changed_too() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", noise(LARGE))
        here.script("half", "media")
        with pytest.raises(UnavailableError):
            await read(backend, "a")
        assert await read(backend, "a") == noise(LARGE)
        here.fake.state.fill(here.files("a")[0], b"by hand")
        with pytest.raises(CorruptedError, match="not as long as it was"):
            await read(backend, "a")

    told(story)


def test_a_call_that_hangs_ends() -> None:
    async def story(here: World) -> None:
        backend = here.open(read_timeout=0.2, retries=0)
        await put(backend, "a", b"x")
        hanging = asyncio.Event()

        async def hang(*_: Any) -> Any:
            await hanging.wait()

        here.fake._do_get = hang  # type: ignore[method-assign]
        with pytest.raises(DeadlineError):
            await backend.head("a")
        hanging.set()

    told(story)


# -- races and deaths


def test_of_two_processes_one_wins_a_name() -> None:
    async def story(here: World) -> None:
        backends = [here.open(), here.open()]
        outcomes = await asyncio.gather(
            *(put(backends[n % 2], "a", noise(500, n), if_absent=True) for n in range(10)),
            return_exceptions=True,
        )
        winners = [n for n, one in enumerate(outcomes) if not isinstance(one, BaseException)]
        assert len(winners) == 1
        assert all(isinstance(one, AlreadyExistsError) for n, one in enumerate(outcomes) if n not in winners)
        for backend in backends:
            assert await read(backend, "a") == noise(500, winners[0])
        assert len(here.files("a")) == 1

    told(story)


def test_writers_of_one_name_leave_one_file() -> None:
    async def story(here: World) -> None:
        backends = [here.open(), here.open()]
        contents = [noise(500, n) for n in range(10)]
        await asyncio.gather(*(put(backends[n % 2], "a", data) for n, data in enumerate(contents)))
        found = [await read(backend, "a") for backend in backends]
        assert found[0] == found[1]
        assert found[0] in contents
        assert len(here.files("a")) == 1

    told(story)


def test_what_another_writer_commits_while_one_looks_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(here: World) -> None:
        one, two = here.open(), here.open()
        look = two._home.look

        async def late(where: Any) -> None:
            monkeypatch.setattr(two._home, "look", look)
            await put(one, "a", b"first", if_absent=True)
            await look(where)

        monkeypatch.setattr(two._home, "look", late)
        with pytest.raises(AlreadyExistsError):
            await put(two, "a", b"second", if_absent=True)
        assert await read(two, "a") == b"first"

    told(story)


def test_two_processes_share_the_index_in_a_catalog(catalog_url: str) -> None:
    async def story(here: World) -> None:
        sealer = Sealer([("k1", b"1" * 32)], Environment())
        first = await open_catalog(catalog_url, environment=Environment(), upgrade=True)
        second = await open_catalog(catalog_url, environment=Environment(), upgrade=False)
        try:
            one = here.open(CatalogNotes(first, "drive", sealer))
            two = here.open(CatalogNotes(second, "drive", sealer))
            name = "tenant/" + "/".join(["long-" * 50] * 4)[:1017]
            outcomes = await asyncio.gather(
                *(put(backend, name, b"x", if_absent=True) for backend in (one, two, one, two)),
                return_exceptions=True,
            )
            assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
            await put(one, name, noise(LARGE))
            assert await read(two, name) == noise(LARGE)
            await two.copy(name, "b")
            assert await names(one) == ["b", name]
            await two.delete(name)
            assert (await names(one), await names(two, "~"), len(here.files())) == (["b"], [], 1)
        finally:
            await first.close()
            await second.close()

    told(story)


def test_two_processes_make_the_folders_once() -> None:
    async def story(here: World) -> None:
        backends = [here.open(), here.open()]
        await asyncio.gather(*(put(backends[n % 2], f"n/{n}", b"x") for n in range(40)))
        inside = [one for one in here.fake.state.items.values() if here.folder in one.parents]
        assert sorted({one.name for one in inside}) == sorted(one.name for one in inside)

    told(story)


def test_who_dies_before_the_commit_leaves_nothing_to_see_and_discard_removes_it() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"old")

        async def dies(*_: Any, **__: Any) -> None:
            raise SystemError("power")

        backend._claims.commit = backend._claims.give_up = dies  # type: ignore[method-assign]
        with pytest.raises(SystemError):
            await put(backend, "a", b"new")
        with pytest.raises(SystemError):
            await put(backend, "b", b"new")
        survivor = here.open()
        assert len(here.files()) == 3
        assert await read(survivor, "a") == b"old"
        assert await names(survivor) == ["a"]
        with pytest.raises(NotFoundError):
            await survivor.head("b")
        await survivor.discard("b")
        await survivor.discard("a")
        assert here.files() == []

    told(story)


def test_who_dies_after_the_commit_leaves_the_new_content_and_the_old_file_to_remove() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"old")

        async def dies(*_: Any, **__: Any) -> bool:
            raise SystemError("power")

        backend._files.remove = dies  # type: ignore[method-assign]
        with pytest.raises(SystemError):
            await put(backend, "a", b"new")
        survivor = here.open()
        assert await read(survivor, "a") == b"new"
        assert len(here.files("a")) == 2
        await survivor.delete("a")
        assert (here.files(), [name async for name, _ in here.notes.list("blob/")]) == ([], [])

    told(story)


def test_a_file_that_appears_after_it_was_given_up_is_removed_by_the_next_listing() -> None:
    async def story(here: World) -> None:
        backend = here.open(retries=0)
        await put(backend, "a", b"old")
        here.script("drop", "multipart")
        with pytest.raises(UnavailableError):
            await put(backend, "a", b"new")
        late = json.loads(await here.notes.read("blob/a") or b"")["dead"][0]["id"]
        here.plant("a", b"new", id=late)
        assert (await read(backend, "a"), len(here.files("a"))) == (b"old", 2)
        assert await names(backend) == ["a"]
        assert [item.id for item in here.files("a")] != [late]
        assert (await read(backend, "a"), len(here.files("a"))) == (b"old", 1)

    told(story)


def test_a_name_that_was_discarded_while_it_was_written_stays_free() -> None:
    async def story(here: World) -> None:
        writer, sweeper = here.open(), here.open()
        reached, go = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield noise(2 * STEP)
            reached.set()
            await go.wait()
            yield b"end"

        putting = asyncio.ensure_future(writer.put("a", Body.of_stream(slowly())))
        await reached.wait()
        await sweeper.discard("a")
        go.set()
        with pytest.raises(ConflictError):
            await putting
        assert (here.files(), await names(sweeper)) == ([], [])

    told(story)


def test_a_delete_that_fails_hides_the_blob_and_is_finished_later() -> None:
    async def story(here: World) -> None:
        backend = here.open(retries=0)
        await put(backend, "a", b"x")
        here.script("refuse", "delete", status=503)
        with pytest.raises(UnavailableError):
            await backend.delete("a")
        with pytest.raises(NotFoundError):
            await backend.head("a")
        await backend.delete("a")
        assert here.files() == []

    told(story)


def test_deleted_blobs_go_to_the_trash_when_that_is_wanted() -> None:
    async def story(here: World) -> None:
        drive = here.fake.state.add_drive("Team", {here.person.email: "fileOrganizer"})
        firm = here.open(MemoryNotes(), folder_id="", drive_id=drive)
        await put(firm, "a", b"x")
        with pytest.raises(PermissionDeniedError, match="trash = true"):
            await firm.delete("a")
        soft = here.open(MemoryNotes(), folder_id="", drive_id=drive, trash=True)
        await put(soft, "b", b"x")
        await soft.delete("b")
        assert [one.trashed for one in here.files("b")] == [True]
        assert "b" not in await names(soft)

    told(story)


# -- the index


def test_an_index_that_was_lost_is_found_again() -> None:
    async def story(here: World) -> None:
        first = here.open()
        name = "tenant/2026112100/" + "/".join(["long-" * 40] * 4)
        await put(first, name, b"1", options=PutOptions(metadata={"größe": "ä" * 300}))
        await put(first, "b", noise(LARGE))
        await first.copy("b", "c")
        lost = MemoryNotes()
        again = here.open(lost)
        info = await again.head(name)
        assert (info.size, dict(info.metadata)) == (1, {"größe": "ä" * 300})
        assert await read(again, "c") == noise(LARGE)
        with pytest.raises(AlreadyExistsError):
            await put(again, "b", b"x", if_absent=True)
        with pytest.raises(NotFoundError):
            await again.head("never")
        await again.delete("c")
        third = here.open(MemoryNotes())
        assert await names(third) == ["b", name]
        asked = here.fake.seen["list"]
        with pytest.raises(NotFoundError):
            await third.head("never")  # the index is complete now: nothing is searched for
        assert here.fake.seen["list"] == asked

    told(story)


def test_of_duplicates_the_newest_generation_then_the_oldest_then_the_least_id_counts() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"first")
        of = here.files("a")[0]
        here.plant("a", b"younger", created=of.created + 1_000_000, id="0-younger")
        assert await read(backend, "a") == b"first"
        assert await names(backend) == ["a"]
        assert await backend.duplicates() == [("a", "0-younger")]
        for notes in (MemoryNotes(), MemoryNotes()):
            assert await read(here.open(notes), "a") == b"first"
        here.plant("a", b"same time", created=of.created, id="0-least")
        assert await read(here.open(MemoryNotes()), "a") == b"same time"
        renewed = {**of.app_properties, "g": "7"}
        here.plant("a", b"newest", created=of.created + 2_000_000, app_properties=renewed)
        listed = here.open(MemoryNotes())
        assert await names(listed) == ["a"]
        assert await read(listed, "a") == b"newest"
        await listed.delete("a")
        assert here.files("a") == []

    told(story)


def test_files_that_people_renamed_or_moved_stay_ours_and_others_never_are() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "a", b"x")
        item = here.files("a")[0]
        item.name = "Holiday (1).jpg"
        stranger = Item(here.fake.state.new_id(), "b", "text/plain", list(item.parents), item.owner)
        here.fake.state.fill(stranger, b"not ours")
        here.fake.state.put(stranger)
        elsewhere = here.open(MemoryNotes(), folder_id=here.fake.state.add_folder(here.person.root))
        assert await names(elsewhere) == []
        with pytest.raises(NotFoundError):
            await elsewhere.head("a")
        for one in (backend, here.open(MemoryNotes())):
            assert (await names(one), await read(one, "a")) == (["a"], b"x")

    told(story)


def test_a_listing_that_lags_shows_what_is_there() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        await put(backend, "old", b"x")
        here.fake.state.lag = 1000
        await put(backend, "new", b"x")
        await backend.delete("old")
        await put(backend, "new", b"newer")
        assert await names(backend) == ["new"]
        here.clock.advance(1001)
        assert await names(backend) == ["new"]

    told(story)


def test_a_listing_that_is_not_whole_is_an_error() -> None:
    async def story(here: World) -> None:
        backend = here.open(retries=1)
        await put(backend, "a", b"x")
        here.script("refuse", "list", times=9, status=500)
        with pytest.raises(UnavailableError):
            await names(backend)

    told(story)


def test_many_pages_of_a_listing() -> None:
    async def story(here: World) -> None:
        backend = here.open()
        here.fake.state.page = 3
        await asyncio.gather(*(put(backend, f"n/{n:03}", b"") for n in range(30)))
        assert await names(backend) == [f"n/{n:03}" for n in range(30)]

    told(story)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_faults_damages_nothing(seed: int) -> None:
    result = asyncio.run(storm(seed, 80))
    assert result.faults.total() == 80
    assert result.sound, result.told()
