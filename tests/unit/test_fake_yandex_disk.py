"""The fake of Yandex.Disk does what its contract says, clause by clause."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from holdfast.core.clock import ManualClock
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk, Fault, Kind, Rules

pytestmark = pytest.mark.unit


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> tuple[int, str]:
        return self.status, self.json["error"]


class Client:
    """A client that believes nothing and retries nothing."""

    def __init__(self, fake: FakeYandexDisk, session: aiohttp.ClientSession) -> None:
        self.fake, self.session = fake, session

    async def raw(self, method: str, url: str, **more: Any) -> Answer:
        async with self.session.request(method, url, **more) as response:
            return Answer(response.status, await response.read(), dict(response.headers))

    async def api(self, method: str, where: str, /, *, json: Any = None, **params: Any) -> Answer:
        query = "&".join(f"{name.rstrip('_')}={quote(str(value), safe='')}" for name, value in params.items())
        headers = {"Authorization": f"OAuth {self.fake.accounts.access}"}
        return await self.raw(method, f"{self.fake.url}/v1/disk{where}?{query}", headers=headers, json=json)

    async def link(self, path: str, *, overwrite: bool = True) -> str:
        answer = await self.api("GET", "/resources/upload", path=path, overwrite=str(overwrite).lower())
        assert answer.status == 200, answer.body
        assert (answer.json["method"], answer.json["templated"]) == ("PUT", False)
        return str(answer.json["href"])

    async def upload(self, path: str, data: bytes) -> None:
        assert (await self.raw("PUT", await self.link(path), data=data)).status == 201

    async def poll(self, answer: Answer) -> str:
        operation = answer.json["href"].rpartition("/")[2]
        return str((await self.api("GET", f"/operations/{operation}")).json["status"])


Story = Callable[[Client], Awaitable[None]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fake(clock: ManualClock) -> Iterator[FakeYandexDisk]:
    with FakeYandexDisk(clock=clock) as running:
        yield running


def play(fake: FakeYandexDisk, story: Story) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            await story(Client(fake, session))

    asyncio.run(run())


def test_1_only_oauth_and_a_token_that_holds_are_let_in(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        url, good = f"{fake.url}/v1/disk", fake.accounts.access
        for header in (None, f"Bearer {good}", good, "OAuth wrong", "OAuth "):
            refused = await client.raw("GET", url, headers={"Authorization": header} if header else {})
            assert refused.code == (401, "UnauthorizedError")
            assert set(refused.json) == {"message", "description", "error"}
        assert (await client.raw("GET", f"{url}/", headers={"Authorization": f"OAuth {good}"})).status == 200
        fake.accounts.expire()
        assert (await client.api("GET", "")).status == 401

    play(fake, story)


def test_1_a_refresh_token_is_good_once_and_gives_a_new_one(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        first = fake.accounts.refresh
        form = {
            "grant_type": "refresh_token",
            "client_id": "fake-client",
            "client_secret": "fake-client-secret",
        }

        async def renew(**changes: str) -> Answer:
            return await client.raw(
                "POST", f"{fake.url}/token", data={**form, "refresh_token": first, **changes}
            )

        assert (await renew(client_secret="wrong")).code == (400, "invalid_client")
        assert (await renew(grant_type="password")).code == (400, "unsupported_grant_type")
        got = (await renew()).json
        assert got["refresh_token"] not in ("", first)
        assert (got["token_type"], got["expires_in"]) == ("bearer", 31_536_000)
        assert (await client.api("GET", "")).status == 200
        assert (await renew()).code == (400, "invalid_grant")

    play(fake, story)


def test_2_a_listing_shows_20_items_unless_asked_for_more(fake: FakeYandexDisk) -> None:
    for number in range(25):
        fake.disk.make_folder(f"disk:/{number:02}")

    async def story(client: Client) -> None:
        inside = (await client.api("GET", "/resources", path="disk:/")).json["_embedded"]
        assert (len(inside["items"]), inside["limit"], inside["offset"], inside["total"]) == (20, 20, 0, 25)
        inside = (
            await client.api("GET", "/resources", path="disk:/", limit=500, offset=20, sort="name")
        ).json["_embedded"]
        assert [item["name"] for item in inside["items"]] == ["20", "21", "22", "23", "24"]
        flat = (await client.api("GET", "/resources/files")).json
        assert (flat["limit"], flat["items"], "total" in flat) == (20, [], False)
        assert (await client.api("GET", "/resources", path="disk:/", limit="x")).status == 400

    play(fake, story)


def test_3_folders_are_made_one_by_one(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        assert (await client.api("PUT", "/resources", path="disk:/a/b")).code == (
            409,
            "DiskPathDoesntExistsError",
        )
        assert (await client.api("PUT", "/resources", path="disk:/a")).status == 201
        again = await client.api("PUT", "/resources", path="disk:/a")
        assert again.code == (409, "DiskPathPointsToExistentDirectoryError")
        await client.upload("disk:/file", b"x")
        assert (await client.api("PUT", "/resources", path="disk:/file")).code == (
            409,
            "DiskResourceAlreadyExistsError",
        )
        assert (await client.api("PUT", "/resources", path="a:b")).code == (400, "FieldValidationError")
        assert (await client.api("PUT", "/resources", path="disk:/a:b")).status == 201
        assert (await client.api("PUT", "/resources", path="disk:/" + "x" * 256)).status == 400
        assert (await client.api("PUT", "/resources", path="app:/x")).status == 201
        assert (await client.api("GET", "/resources", path="app:/x")).json[
            "path"
        ] == "disk:/Приложения/fake/x"
        missing = await client.api("GET", "/resources/upload", path="disk:/no/where")
        assert missing.code == (409, "DiskPathDoesntExistsError")
        taken = await client.api("GET", "/resources/upload", path="disk:/file", overwrite="false")
        assert taken.code == (409, "DiskResourceAlreadyExistsError")

    play(fake, story)


def test_4_an_upload_link_is_good_for_one_put_and_30_minutes(
    fake: FakeYandexDisk, clock: ManualClock
) -> None:
    async def story(client: Client) -> None:
        first, second = await client.link("disk:/a"), await client.link("disk:/a")
        assert first != second
        clock.advance(1799)
        signed = {"Authorization": f"OAuth {fake.accounts.access}"}
        assert (await client.raw("PUT", second, data=b"x", headers=signed)).status == 400
        done = await client.raw("PUT", first, data=b"content")
        assert (done.status, done.body) == (201, b"")
        assert (await client.raw("PUT", first, data=b"content")).status == 400
        clock.advance(2)
        assert (await client.raw("PUT", second, data=b"late")).status == 410
        assert (await client.api("GET", "/resources", path="disk:/a")).json["size"] == 7
        fake.disk.rules.strict_uploads = False
        third = await client.link("disk:/a")
        assert (await client.raw("PUT", third, data=b"x", headers=signed)).status == 201

    play(fake, story)


def test_5_the_operation_of_an_upload_ends_with_it(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        link = (await client.api("GET", "/resources/upload", path="disk:/a")).json
        operation = f"/operations/{link['operation_id']}"
        assert (await client.api("GET", operation)).json == {"status": "in-progress"}
        assert (await client.raw("PUT", link["href"], data=b"x")).status == 201
        assert (await client.api("GET", operation)).json == {"status": "success"}
        unknown = await client.api("GET", "/operations/" + "0" * 64)
        assert unknown.code == (404, "DiskOperationNotFoundError")

    play(fake, story)


@pytest.mark.parametrize("status", [404, 500])
def test_5_what_was_uploaded_may_show_late(fake: FakeYandexDisk, status: int) -> None:
    async def story(client: Client) -> None:
        fake.faults.add(Fault(Kind.INVISIBLE, "PUT /upload-target", status=status, polls=2))
        await client.upload("disk:/a", b"x")
        seen = [(await client.api("GET", "/resources", path="disk:/a")).status for _ in range(3)]
        assert seen == [status, status, 200]

    play(fake, story)


def test_5_an_upload_may_be_accepted_and_done_later(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        for kind, ends in ((Kind.LATE, "success"), (Kind.FAILED, "failed")):
            fake.faults.add(Fault(kind, "PUT /upload-target", polls=2))
            link = (await client.api("GET", "/resources/upload", path=f"disk:/{kind}")).json
            assert (await client.raw("PUT", link["href"], data=b"x")).status == 202
            asked = [
                (await client.api("GET", f"/operations/{link['operation_id']}")).json["status"] for _ in "ab"
            ]
            assert asked == ["in-progress", ends]
            there = await client.api("GET", "/resources", path=f"disk:/{kind}")
            assert there.status == (200 if ends == "success" else 404)

    play(fake, story)


def test_6_deleting_a_full_folder_takes_time_and_may_fail(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        fake.disk.rules.polls = 3
        assert (await client.api("PUT", "/resources", path="disk:/d")).status == 201
        await client.upload("disk:/d/f", b"x")
        fake.faults.add(Fault(Kind.FAILED, "DELETE /resources"))
        failing = await client.api("DELETE", "/resources", path="disk:/d")
        assert failing.status == 202
        assert failing.json["href"].startswith("http://")
        assert [await client.poll(failing) for _ in range(3)] == ["in-progress", "in-progress", "failed"]
        assert fake.disk.find("disk:/d/f") is not None
        going = await client.api("DELETE", "/resources", path="disk:/d")
        assert [await client.poll(going) for _ in range(3)] == ["in-progress", "in-progress", "success"]
        assert fake.disk.find("disk:/d") is None
        assert (await client.api("DELETE", "/resources", path="disk:/d")).code == (404, "DiskNotFoundError")
        await client.upload("disk:/f", b"x")
        assert (await client.api("DELETE", "/resources", path="disk:/f", md5="0")).code == (
            409,
            "MD5DifferError",
        )
        assert (await client.api("DELETE", "/resources", path="disk:/f")).status == 204
        await client.upload("disk:/f", b"x")
        assert (await client.api("DELETE", "/resources", path="disk:/f", force_async="true")).status == 202

    play(fake, story)


def test_7_the_trash_counts_until_it_is_emptied(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        async def used() -> tuple[int, int]:
            told = (await client.api("GET", "")).json
            return told["used_space"], told["trash_size"]

        await client.upload("disk:/a", b"x" * 100)
        await client.upload("disk:/b", b"y" * 10)
        assert (await client.api("DELETE", "/resources", path="disk:/b", permanently="true")).status == 204
        assert await used() == (100, 0)
        assert (await client.api("DELETE", "/resources", path="disk:/a")).status == 204
        assert await used() == (100, 100)
        (item,) = (await client.api("GET", "/trash/resources")).json["_embedded"]["items"]
        assert item["path"].startswith("trash:/a_")
        assert item["origin_path"] == "disk:/a"
        assert (await client.api("PUT", "/trash/resources/restore", path=item["path"])).status == 201
        assert await used() == (100, 0)
        await client.api("DELETE", "/resources", path="disk:/a")
        assert (await client.api("DELETE", "/trash/resources")).status == 204
        assert await used() == (0, 0)

    play(fake, story)


def test_8_what_does_not_fit_is_refused(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        fake.disk.rules.max_file_size, fake.disk.rules.total_space = 1000, 1500
        big = await client.raw("PUT", await client.link("disk:/big"), data=b"x" * 1001)
        assert big.code == (413, "DiskFileSizeLimitExceededError")

        async def unannounced() -> AsyncIterator[bytes]:
            yield b"x" * 1001

        assert (await client.raw("PUT", await client.link("disk:/big"), data=unannounced())).status == 413
        await client.upload("disk:/a", b"x" * 1000)
        full = await client.raw("PUT", await client.link("disk:/b"), data=b"x" * 501)
        assert full.code == (507, "DiskNotEnoughFreeSpaceError")
        fake.disk.rules.allowance = 10
        spent = await client.raw("PUT", await client.link("disk:/b"), data=b"x" * 11)
        assert spent.code == (423, "DiskUploadTrafficLimitExceeded")
        assert fake.disk.find("disk:/b") is None

    play(fake, story)


def test_8_limits_and_locks_on_demand(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        fake.faults.add(
            Fault(Kind.STATUS, "GET /", status=429, retry_after=7),
            Fault(Kind.STATUS, "GET /", status=429),
            Fault(Kind.STATUS, "GET /", status=423, code="DiskResourceLockedError"),
            Fault(Kind.PAGE, "GET /", status=502),
        )
        seen = [await client.api("GET", "") for _ in range(5)]
        assert [one.status for one in seen] == [429, 429, 423, 502, 200]
        assert [one.headers.get("Retry-After") for one in seen[:2]] == ["7", None]
        assert seen[2].code == (423, "DiskResourceLockedError")
        assert seen[3].headers["Content-Type"].startswith("text/html")
        assert fake.faults.total == 4

    play(fake, story)


def test_9_what_would_be_slowed_is_recorded(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        for name in ("a.txt", "b.ZIP", "c.mp4", "d.db", "#neutral"):
            await client.link(f"disk:/{name}")
        assert [one.slowed for one in fake.disk.requested] == ["", "compressed", "video", "data", ""]

    play(fake, story)


@pytest.mark.parametrize("size", [0, 1, 700_000])
def test_10_digests_are_those_of_the_bytes(fake: FakeYandexDisk, size: int) -> None:
    async def story(client: Client) -> None:
        data = b"ab" * (size // 2) + b"c" * (size % 2)
        await client.upload("disk:/a", data)
        told = (await client.api("GET", "/resources", path="disk:/a")).json
        assert (told["md5"], told["sha256"]) == (
            hashlib.md5(data).hexdigest(),
            hashlib.sha256(data).hexdigest(),
        )
        href = (await client.api("GET", "/resources/download", path="disk:/a")).json["href"]
        assert (await client.raw("GET", href)).body == data
        fake.faults.add(Fault(Kind.DAMAGED, "PUT /upload-target"))
        await client.upload("disk:/a", data)
        damaged = (await client.api("GET", "/resources", path="disk:/a")).json
        assert (damaged["md5"] != told["md5"], damaged["size"]) == (size > 0, size)

    play(fake, story)


def test_11_a_link_that_has_ended_answers_with_a_page(fake: FakeYandexDisk, clock: ManualClock) -> None:
    async def story(client: Client) -> None:
        await client.upload("disk:/a", b"0123456789")

        async def href() -> str:
            return str((await client.api("GET", "/resources/download", path="disk:/a")).json["href"])

        link = await href()
        part = await client.raw("GET", link, headers={"Range": "bytes=2-4"})
        assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
        assert (await client.raw("GET", link, headers={"Range": "bytes=10-"})).status == 416
        clock.advance(1801)
        ended = await client.raw("GET", link)
        assert (ended.status, ended.headers["Content-Type"].partition(";")[0]) == (410, "text/html")
        for status in (410, 500):
            fake.faults.add(Fault(Kind.STALE, "GET /download-source", status=status))
            stale = await client.raw("GET", await href())
            assert (stale.status, stale.body[:9]) == (status, b"<!DOCTYPE")
        replaced = await href()
        await client.upload("disk:/a", b"other")
        assert (await client.raw("GET", replaced)).status == 410

    play(fake, story)


def test_12_shapes_fields_and_sort(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        for name, size in (("b", 1), ("A", 3), ("c", 2)):
            await client.upload(f"disk:/{name}", b"x" * size)

        async def names(sort: str) -> list[str]:
            inside = (await client.api("GET", "/resources", path="disk:/", sort=sort)).json["_embedded"]
            assert set(inside) == {"items", "total", "limit", "offset", "sort", "path"}
            return [item["name"] for item in inside["items"]]

        assert await names("name") == ["A", "b", "c"]
        assert await names("-name") == ["c", "b", "A"]
        assert await names("size") == ["b", "c", "A"]
        assert (await client.api("GET", "/resources", path="disk:/", sort="colour")).status == 400
        picked = await client.api(
            "GET",
            "/resources",
            path="disk:/",
            fields="type,_embedded.items.name,_embedded.total",
            sort="name",
        )
        assert picked.json == {
            "type": "dir",
            "_embedded": {"items": [{"name": "A"}, {"name": "b"}, {"name": "c"}], "total": 3},
        }
        file = (await client.api("GET", "/resources", path="disk:/A")).json
        assert "_embedded" not in file
        assert file.keys() >= {
            "name",
            "path",
            "type",
            "created",
            "modified",
            "resource_id",
            "revision",
            "size",
            "md5",
        }
        said = await client.api(
            "PATCH", "/resources", path="disk:/A", json={"custom_properties": {"a": "1", "b": 2}}
        )
        assert said.json["custom_properties"] == {"a": "1", "b": 2}
        gone = await client.api(
            "PATCH", "/resources", path="disk:/A", json={"custom_properties": {"a": None}}
        )
        assert gone.json["custom_properties"] == {"b": 2}
        much = await client.api(
            "PATCH", "/resources", path="disk:/A", json={"custom_properties": {"a": "x" * 1100}}
        )
        assert much.status == 400
        fake.faults.add(Fault(Kind.REPEATED, "GET /resources"))
        assert await names("name") == ["A", "A", "b", "c"]

    play(fake, story)


def test_13_an_upload_goes_on_only_after_head(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        data = b"0123456789" * 10_000
        link = await client.link("disk:/a")
        fake.faults.add(Fault(Kind.HALF, "PUT /upload-target"))

        async def once() -> AsyncIterator[bytes]:  # what the client cannot send again by itself
            yield data

        with pytest.raises(aiohttp.ClientError):
            await client.raw("PUT", link, data=once(), headers={"Content-Length": str(len(data))})
        half = len(data) // 2
        rest = {"Content-Range": f"bytes {half}-{len(data) - 1}/{len(data)}"}
        assert (await client.raw("PUT", link, data=data[half:], headers=rest)).status == 412
        assert (await client.raw("PUT", link, data=data)).status == 400
        facts = {"Etag": hashlib.md5(data).hexdigest(), "Sha256": hashlib.sha256(data).hexdigest()}
        held = await client.raw("HEAD", link, headers={**facts, "Size": str(len(data))})
        assert (held.status, held.headers["Content-Length"]) == (200, str(half))
        wrong = {"Content-Range": f"bytes {half + 1}-{len(data) - 1}/{len(data)}"}
        assert (await client.raw("PUT", link, data=data[half + 1 :], headers=wrong)).status == 412
        assert (await client.raw("PUT", link, data=data[half:], headers=rest)).status == 201
        assert (await client.api("GET", "/resources", path="disk:/a")).json["sha256"] == facts["Sha256"]
        fresh = await client.link("disk:/b")
        part = {"Content-Range": "bytes 0-9/100"}
        assert (await client.raw("PUT", fresh, data=b"x" * 10, headers=part)).status == 412
        assert (await client.raw("HEAD", fresh, headers={"Etag": "x"})).status == 400

    play(fake, story)


def test_copies_are_late_moves_are_not_and_both_refuse_what_is_there(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        await client.upload("disk:/a", b"one")
        await client.upload("disk:/b", b"two")
        copied = await client.api("POST", "/resources/copy", from_="disk:/a", path="disk:/c")
        assert (copied.status, await client.poll(copied)) == (202, "success")
        taken = await client.api("POST", "/resources/move", from_="disk:/a", path="disk:/b")
        assert taken.code == (409, "DiskResourceAlreadyExistsError")
        moved = await client.api("POST", "/resources/move", from_="disk:/a", path="disk:/b", overwrite="true")
        assert moved.status == 201
        assert (await client.api("GET", "/resources", path="disk:/b")).json["size"] == 3
        assert (await client.api("POST", "/resources/move", from_="disk:/a", path="disk:/d")).status == 404
        fake.disk.rules.moves_replace = False
        kept = await client.api("POST", "/resources/move", from_="disk:/c", path="disk:/b", overwrite="true")
        assert kept.status == 409

    play(fake, story)


def test_connections_break_before_or_after_the_effect(fake: FakeYandexDisk) -> None:
    async def story(client: Client) -> None:
        for kind, there in ((Kind.REFUSED, False), (Kind.LOST, True)):
            fake.faults.add(Fault(kind, "PUT /resources", times=2))
            with pytest.raises(aiohttp.ClientError):
                await client.api("PUT", "/resources", path=f"disk:/{kind}")
            assert (fake.disk.find(f"disk:/{kind}") is not None) is there
            fake.faults.clear()

    play(fake, story)


def test_a_storm_is_the_same_for_the_same_seed_and_ends() -> None:
    def plan(seed: int) -> list[Fault | None]:
        with FakeYandexDisk(rules=Rules()) as one:
            one.faults.storm(seed, rate=0.5, most=20)
            return [one.faults.take("PUT /upload-target") for _ in range(100)]

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)
    assert sum(fault is not None for fault in plan(3)) == 20
