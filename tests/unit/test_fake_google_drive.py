"""The fake Google Drive keeps the contract that it was made from, clause by clause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from holdfast.core.clock import ManualClock
from holdfast.testing.fakes.google_drive import FOLDER, FakeDrive, Fault, fake_drive, serving

pytestmark = pytest.mark.unit

STEP = 256 << 10
ALL = {"supportsAllDrives": "true"}
SHARED = {**ALL, "includeItemsFromAllDrives": "true"}


class Client:
    """A plain client of one person, which follows no redirects."""

    def __init__(self, fake: FakeDrive, email: str = "me@example.org") -> None:
        self.fake = fake
        if email not in fake.state.people:
            fake.state.add_person(email)
        self.person = fake.state.people[email]
        self.token = fake.granting.access(email)
        self.session = aiohttp.ClientSession()
        self.session._retry_connection = False

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        base = self.fake.upload_base if options.pop("upload", False) else self.fake.api_base
        url = path if path.startswith("http") else f"{base}/{path}"
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        async with self.session.request(
            method, url, headers=headers, allow_redirects=False, **options
        ) as answer:
            raw = await answer.read()
            body = json.loads(raw) if answer.content_type == "application/json" and raw else raw
            return answer.status, body, answer.headers

    async def make(self, name: str, data: bytes = b"x", parent: str = "", **meta: Any) -> str:
        """Make a file and return its id."""
        body = {"name": name, "parents": [parent or self.person.root], **meta}
        status, found, _ = await self.multipart(body, data)
        assert status == 200, found
        return str(found["id"])

    async def multipart(
        self, meta: dict[str, Any], data: bytes, kind: str = "related"
    ) -> tuple[int, Any, Any]:
        body = (
            b"--b\r\nContent-Type: application/json\r\n\r\n"
            + json.dumps(meta).encode()
            + b"\r\n--b\r\nContent-Type: text/plain\r\n\r\n"
            + data
            + b"\r\n--b--\r\n"
        )
        return await self.call(
            "POST",
            "files",
            upload=True,
            params={"uploadType": "multipart", "fields": "*", **ALL},
            headers={"Content-Type": f"multipart/{kind}; boundary=b"},
            data=body,
        )

    async def begin(self, meta: dict[str, Any], total: int | None = None, target: str = "") -> str:
        """Begin a resumable upload and return its address."""
        headers = {} if total is None else {"X-Upload-Content-Length": str(total)}
        status, _, answer = await self.call(
            "PATCH" if target else "POST",
            f"files/{target}" if target else "files",
            upload=True,
            params={"uploadType": "resumable", "fields": "*"},
            headers=headers,
            json=meta,
        )
        assert status == 200
        return str(answer["Location"])

    async def piece(self, session: str, data: bytes, first: int, total: int | None) -> tuple[int, Any, Any]:
        shown = "*" if total is None else total
        content_range = f"bytes {first}-{first + len(data) - 1}/{shown}" if data else f"bytes */{shown}"
        return await self.call("PUT", session, headers={"Content-Range": content_range}, data=data)

    async def names(self, q: str, **params: str) -> list[str]:
        status, body, _ = await self.call("GET", "files", params={"q": q, **params})
        assert status == 200, body
        return sorted(one["name"] for one in body["files"])


def told(story: Callable[[FakeDrive, Client], Awaitable[None]], **options: Any) -> None:
    """Run a story on a fake with a client of `me@example.org`."""

    async def run() -> None:
        async with fake_drive(**options) as fake:
            client = Client(fake)
            try:
                await story(fake, client)
            finally:
                await client.session.close()

    asyncio.run(run())


def reason(body: Any) -> str:
    return str(body["error"]["errors"][0]["reason"])


# -- tokens


def test_a_token_ends_by_the_clock_and_is_401_then() -> None:
    clock = ManualClock()

    async def story(fake: FakeDrive, client: Client) -> None:
        assert (await client.call("GET", "files"))[0] == 200
        clock.advance(3599)
        assert (await client.call("GET", "files"))[0] == 200
        clock.advance(1)
        status, body, _ = await client.call("GET", "files")
        assert (status, reason(body), body["error"]["code"]) == (401, "authError", 401)

    told(story, clock=clock)


def test_a_refresh_token_gives_tokens_to_its_own_client_only() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        consent = fake.granting.add_consent("me@example.org", client_id="id", client_secret="secret")

        async def ask(**changes: str) -> tuple[int, Any]:
            form = {
                "grant_type": "refresh_token",
                "client_id": "id",
                "client_secret": "secret",
                "refresh_token": consent,
                **changes,
            }
            async with client.session.post(fake.token_url, data=form) as answer:
                return answer.status, await answer.json()

        status, body = await ask()
        assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 3600)
        client.token = body["access_token"]
        assert (await client.call("GET", "files"))[0] == 200
        assert await ask(client_secret="other") == (
            401,
            {"error": "invalid_client", "error_description": "Unauthorized"},
        )
        assert (await ask(refresh_token="other"))[1]["error"] == "invalid_grant"
        del fake.state.refresh_tokens[consent]  # withdrawn
        status, body = await ask()
        assert (status, body["error"]) == (400, "invalid_grant")
        assert (await ask(grant_type="password"))[1]["error"] == "unsupported_grant_type"

    told(story)


def test_a_service_account_signs_and_may_be_only_those_who_were_delegated() -> None:
    clock = ManualClock()

    async def story(fake: FakeDrive, client: Client) -> None:
        key = fake.granting.add_service_account("robot@example.org", acts_for=("me@example.org",))
        signer = RSAKey.import_key(key["private_key"])
        now = clock.now() // 1_000_000
        usual = {
            "iss": key["client_email"],
            "scope": "https://www.googleapis.com/auth/drive",
            "aud": fake.token_url,
            "iat": now,
            "exp": now + 3600,
        }

        async def ask(signed_by: RSAKey = signer, **changes: Any) -> str:
            assertion = jwt.encode({"alg": "RS256"}, {**usual, **changes}, signed_by)
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": assertion,
            }
            async with client.session.post(fake.token_url, data=form) as answer:
                body = await answer.json()
                return fake.granting.who(body.get("access_token", "")) or str(body.get("error"))

        assert await ask() == "robot@example.org"
        assert await ask(sub="me@example.org") == "me@example.org"
        assert await ask(sub="boss@example.org") == "invalid_grant"
        assert await ask(aud="https://elsewhere.example.org") == "invalid_grant"
        assert await ask(scope="everything") == "invalid_grant"
        assert await ask(exp=now + 7200) == "invalid_grant"
        assert await ask(iat=now - 7200, exp=now - 3600) == "invalid_grant"
        assert await ask(RSAKey.generate_key(2048)) == "invalid_grant"

    told(story, clock=clock)


# -- names, queries, answers


def test_names_may_be_there_twice_and_are_compared_without_case() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        one, two = await client.make("Twin"), await client.make("twin")
        assert one != two
        assert await client.names("name = 'TWIN'") == ["Twin", "twin"]
        await client.make("it's a \\ name")
        assert await client.names("name = 'it\\'s a \\\\ name'") == ["it's a \\ name"]

    told(story)


def test_the_clauses_of_a_query() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        folder = fake.state.add_folder(client.person.root, "Folder")
        await client.make("alpha one", parent=folder, appProperties={"h": "1"})
        other = await client.make("beta two", parent=folder)
        await client.make("gamma")
        root = client.person.root
        assert await client.names(f"'{folder}' in parents") == ["alpha one", "beta two"]
        assert await client.names("'root' in parents") == ["Folder", "gamma"]
        assert await client.names("name contains 'TWO'") == ["beta two"]
        assert await client.names("name contains 'eta'") == []  # words are found by their beginnings
        assert await client.names(f"mimeType = '{FOLDER}' and '{root}' in parents") == ["Folder"]
        assert await client.names(f"mimeType != '{FOLDER}' and not '{folder}' in parents") == ["gamma"]
        assert await client.names("appProperties has { key='h' and value='1' }") == ["alpha one"]
        assert await client.names(f"('{folder}' in parents or '{root}' in parents) and name = 'gamma'") == [
            "gamma"
        ]
        await client.call("PATCH", f"files/{other}", json={"trashed": True})
        assert await client.names(f"'{folder}' in parents and trashed = false") == ["alpha one"]
        assert await client.names("trashed = true") == ["beta two"]
        for bad in ("name = ", "name = 'x", "size > 3", "name = 'x' and", "trashed = maybe", "(name = 'x'"):
            status, _, _ = await client.call("GET", "files", params={"q": bad})
            assert status == 400, bad

    told(story)


def test_an_answer_holds_few_fields_unless_asked_and_sizes_are_text() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        id = await client.make("file", b"12345")
        assert set((await client.call("GET", f"files/{id}"))[1]) == {"kind", "id", "name", "mimeType"}
        _, body, _ = await client.call(
            "GET", f"files/{id}", params={"fields": "size,md5Checksum,sha256Checksum"}
        )
        assert body == {
            "size": "5",
            "md5Checksum": "827ccb0eea8a706c4c34a16891f84e7b",
            "sha256Checksum": "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5",
        }
        _, body, _ = await client.call("GET", f"files/{client.person.root}", params={"fields": "size,id"})
        assert body == {"id": client.person.root}  # a folder has no size
        _, body, _ = await client.call("GET", "files", params={"fields": "files(id,size),nextPageToken"})
        assert {"id": id, "size": "5"} in body["files"]
        assert (await client.call("GET", "files", params={"fields": "files(id"}))[0] == 400

    told(story)


def test_listings_come_in_pages() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        for number in range(5):
            await client.make(str(number))
        found, token = [], ""
        for _ in range(3):
            params = {
                "q": f"mimeType != '{FOLDER}'",
                "pageSize": "2",
                **({"pageToken": token} if token else {}),
            }
            _, body, _ = await client.call("GET", "files", params=params)
            found += [one["name"] for one in body["files"]]
            token = body.get("nextPageToken", "")
        assert (sorted(found), token) == (["0", "1", "2", "3", "4"], "")
        for size in ("0", "1001"):
            assert (await client.call("GET", "files", params={"pageSize": size}))[0] == 400

    told(story)


def test_a_listing_lags_and_a_file_itself_does_not() -> None:
    clock = ManualClock()

    async def story(fake: FakeDrive, client: Client) -> None:
        old = await client.make("old")
        fake.state.lag = 10
        new = await client.make("new")
        assert (await client.call("DELETE", f"files/{old}"))[0] == 204
        query = f"mimeType != '{FOLDER}'"
        assert await client.names(query) == ["old"]
        assert (await client.call("GET", f"files/{new}"))[0] == 200
        assert (await client.call("GET", f"files/{old}"))[0] == 404
        clock.advance(10)
        assert await client.names(query) == ["new"]

    told(story, clock=clock)


# -- uploads


def test_simple_and_multipart_uploads() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        status, body, _ = await client.call(
            "POST", "files", upload=True, params={"uploadType": "media"}, data=b"plain"
        )
        assert (status, body["name"]) == (200, "Untitled")
        status, body, _ = await client.multipart({"name": "named"}, b"12\r\n--c\r\n34")
        assert (status, body["name"], body["size"], body["mimeType"]) == (200, "named", "11", "text/plain")
        status, body, _ = await client.multipart({"name": "form"}, b"1", kind="form-data")
        assert status == 400
        assert (await client.multipart({"name": "big"}, b"1" * ((5 << 20) + 1)))[0] == 413
        assert (await client.multipart({"name": "odd", "parent": "x"}, b"1"))[0] == 400

    told(story)


def test_a_session_keeps_the_rule_of_256_kib_and_tells_what_it_has() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        data = bytes(range(256)) * 1024 * 2 + b"end"
        session = await client.begin({"name": "large"})
        status, _, headers = await client.piece(session, b"", 0, None)
        assert (status, headers.get("Range")) == (308, None)
        assert (await client.piece(session, data[: STEP + 1], 0, None))[0] == 400
        status, _, headers = await client.piece(session, data[:STEP], 0, None)
        assert (status, headers["Range"]) == (308, f"bytes=0-{STEP - 1}")
        assert (await client.piece(session, data[:STEP], 0, None))[0] == 400  # not where it ended
        status, body, _ = await client.piece(session, data[STEP:], STEP, len(data))
        assert (status, body["size"]) == (200, str(len(data)))
        status, again, _ = await client.piece(session, b"", 0, len(data))
        assert (status, again["id"]) == (200, body["id"])  # a state that is asked afterwards
        assert (await client.call("GET", f"files/{body['id']}", params={"alt": "media"}))[1] == data

    told(story)


def test_nothing_of_a_session_is_seen_before_its_end_and_old_content_stays() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        id = await client.make("file", b"old")
        session = await client.begin({}, 2 * STEP, target=id)
        await client.piece(session, b"n" * STEP, 0, 2 * STEP)
        assert (await client.call("GET", f"files/{id}", params={"alt": "media"}))[1] == b"old"
        await client.piece(session, b"n" * STEP, STEP, 2 * STEP)
        assert (await client.call("GET", f"files/{id}", params={"alt": "media"}))[1] == b"n" * 2 * STEP

    told(story)


def test_a_session_keeps_fewer_bytes_is_forgotten_and_ends_after_a_week() -> None:
    clock = ManualClock()

    async def story(fake: FakeDrive, client: Client) -> None:
        session = await client.begin({"name": "a"})
        fake.faults.script(Fault("keep_fewer", "session"))
        status, _, headers = await client.piece(session, b"x" * 2 * STEP, 0, None)
        assert (status, headers["Range"]) == (308, f"bytes=0-{STEP - 1}")
        fake.faults.script(Fault("forget", "session"))
        assert (await client.piece(session, b"", 0, None))[0] == 404
        session = await client.begin({"name": "b"})
        clock.advance(7 * 24 * 3600 + 1)
        client.token = fake.granting.access(client.person.email)
        assert (await client.piece(session, b"x", 0, 1))[0] == 404
        assert await client.names("name = 'a' or name = 'b'") == []

    told(story, clock=clock)


def test_ids_ahead_make_a_repeated_create_harmless() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        _, body, _ = await client.call("GET", "files/generateIds", params={"count": "3", "space": "drive"})
        assert len(set(body["ids"])) == 3
        id = body["ids"][0]
        assert await client.make("once", b"1", id=id) == id
        status, body, _ = await client.multipart({"name": "twice", "id": id}, b"2")
        assert (status, reason(body)) == (409, "fileIdInUse")
        assert (await client.multipart({"name": "made up", "id": "made-up"}, b"2"))[0] == 400

    told(story)


# -- files


def test_ranges_of_a_download() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        id = await client.make("file", b"0123456789")
        for asked, status, body, told_range in (
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-2", 206, b"89", "bytes 8-9/10"),
            ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ):
            found = await client.call("GET", f"files/{id}", params={"alt": "media"}, headers={"Range": asked})
            assert (found[0], found[1], found[2]["Content-Range"]) == (status, body, told_range)
        found = await client.call(
            "GET", f"files/{id}", params={"alt": "media"}, headers={"Range": "bytes=10-"}
        )
        assert found[0] == 416
        folder = await client.call("GET", f"files/{client.person.root}", params={"alt": "media"})
        assert (folder[0], reason(folder[1])) == (403, "fileNotDownloadable")

    told(story)


def test_parents_move_by_the_query_and_never_by_the_body() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        folder, id = fake.state.add_folder(client.person.root), await client.make("file")
        for body in ({"addParents": folder}, {"parents": [folder]}):
            status, answer, _ = await client.call("PATCH", f"files/{id}", json=body)
            assert (status, reason(answer)) == (403, "fieldNotWritable")
        params = {"addParents": folder, "removeParents": client.person.root, "fields": "parents"}
        _, answer, _ = await client.call("PATCH", f"files/{id}", params=params, json={})
        assert answer == {"parents": [folder]}

    told(story)


def test_properties_have_limits_and_copies_bring_them_along() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        id = await client.make("file", b"bytes", appProperties={"a": "ä" * 61, "b": "1"})
        for bad in ({"a": "ä" * 62}, {str(number): "x" for number in range(31)}):
            assert (await client.multipart({"name": "x", "appProperties": bad}, b""))[0] == 400
        _, copied, _ = await client.call(
            "POST",
            f"files/{id}/copy",
            params={"fields": "*"},
            json={"name": "copy", "appProperties": {"b": "2"}},
        )
        assert (copied["name"], copied["appProperties"]) == ("copy", {"a": "ä" * 61, "b": "2"})
        assert (await client.call("GET", f"files/{copied['id']}", params={"alt": "media"}))[1] == b"bytes"
        await client.call("PATCH", f"files/{id}", json={"appProperties": {"a": None}})
        _, body, _ = await client.call("GET", f"files/{id}", params={"fields": "appProperties"})
        assert body == {"appProperties": {"b": "1"}}

    told(story)


def test_deleting_a_folder_deletes_what_is_in_it_and_the_trash_hides_it() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        folder = fake.state.add_folder(client.person.root)
        inside = await client.make("inside", parent=folder)
        await client.call("PATCH", f"files/{folder}", json={"trashed": True})
        _, body, _ = await client.call(
            "GET", f"files/{inside}", params={"fields": "trashed,explicitlyTrashed"}
        )
        assert body == {"trashed": True, "explicitlyTrashed": False}
        assert await client.names("trashed = false and name = 'inside'") == []
        await client.call("DELETE", "files/trash")
        assert (await client.call("GET", f"files/{inside}"))[0] == 404

    told(story)


# -- drives and quotas


def test_about_needs_fields_and_an_unlimited_drive_has_no_limit() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        await client.make("file", b"12345")
        assert (await client.call("GET", "about"))[0] == 400
        _, body, _ = await client.call("GET", "about", params={"fields": "storageQuota"})
        assert body == {"storageQuota": {"usage": "5", "usageInDrive": "5", "usageInDriveTrash": "0"}}
        client.person.limit = 7
        _, body, _ = await client.call("GET", "about", params={"fields": "storageQuota(limit)"})
        assert body == {"storageQuota": {"limit": "7"}}
        status, body, _ = await client.multipart({"name": "more"}, b"123")
        assert (status, reason(body)) == (403, "storageQuotaExceeded")

    told(story)


def test_a_service_account_has_no_room_of_its_own_but_in_a_shared_drive() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        fake.granting.add_service_account("robot@example.org")
        robot = Client(fake, "robot@example.org")
        status, body, _ = await robot.multipart({"name": "file"}, b"1")
        assert (status, reason(body)) == (403, "storageQuotaExceeded")
        assert "do not have storage quota" in body["error"]["message"]
        drive = fake.state.add_drive("Team", {"robot@example.org": "organizer"})
        assert await robot.make("file", b"1", parent=drive)
        await robot.session.close()

    told(story)


def test_shared_drives_are_only_seen_by_those_who_ask_for_them() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        drive = fake.state.add_drive("Team", {"me@example.org": "fileOrganizer", "you@example.org": "reader"})
        id = await client.make("file", b"1", parent=drive)
        assert (await client.call("GET", f"files/{id}"))[0] == 404
        assert (await client.call("GET", f"files/{id}", params=ALL))[0] == 200
        assert await client.names("name = 'file'") == []
        assert await client.names("name = 'file'", **SHARED, corpora="drive", driveId=drive) == ["file"]
        assert (await client.call("GET", "files", params={"driveId": drive}))[0] == 400
        _, body, _ = await client.call("GET", "drives")
        assert [one["id"] for one in body["drives"]] == [drive]
        status, body, _ = await client.call("DELETE", f"files/{id}", params=ALL)
        assert (status, reason(body)) == (403, "insufficientFilePermissions")
        assert (await client.call("PATCH", f"files/{id}", params=ALL, json={"trashed": True}))[0] == 200
        you, stranger = Client(fake, "you@example.org"), Client(fake, "they@example.org")
        assert (await you.call("PATCH", f"files/{id}", params=ALL, json={"name": "x"}))[0] == 403
        assert (await stranger.call("GET", f"files/{id}", params=ALL))[0] == 404
        await you.session.close()
        await stranger.session.close()

    told(story)


def test_changes_tell_what_came_and_went() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        _, body, _ = await client.call("GET", "changes/startPageToken")
        id, gone = await client.make("stays"), await client.make("goes")
        await client.call("DELETE", f"files/{gone}")
        _, body, _ = await client.call("GET", "changes", params={"pageToken": body["startPageToken"]})
        assert {one["fileId"]: one["removed"] for one in body["changes"]} == {id: False, gone: True}

    told(story)


# -- misbehaviour


def test_refusals_have_the_real_body() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        fake.faults.script(Fault("refuse", "list", 403, "userRateLimitExceeded"))
        status, body, _ = await client.call("GET", "files")
        error = body["error"]
        assert (status, error["code"], error["errors"][0]["domain"]) == (403, 403, "usageLimits")
        assert reason(body) == "userRateLimitExceeded"
        fake.faults.script(Fault("refuse", "", 429, "rateLimitExceeded", retry_after=7), times=2)
        for _ in range(2):
            status, _, headers = await client.call("GET", "drives")
            assert (status, headers["Retry-After"]) == (429, "7")
        assert (await client.call("GET", "files"))[0] == 200
        assert fake.faults.left == 0

    told(story)


@pytest.mark.parametrize(("kind", "made"), [("drop", 0), ("take_half", 0), ("lose", 1)])
def test_a_connection_ends_before_or_after_the_effect(kind: Any, made: int) -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        fake.faults.script(Fault(kind, "multipart"))
        with pytest.raises((aiohttp.ClientError, OSError)):
            await client.multipart({"name": "file"}, b"1" * 100_000)
        assert len(await client.names("name = 'file'")) == made

    told(story)


def test_half_a_download_garbage_and_a_token_taken_back() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        id = await client.make("file", b"1" * 300_000)
        fake.faults.script(Fault("half", "media"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.call("GET", f"files/{id}", params={"alt": "media"})
        fake.faults.script(Fault("garble", "get"))
        assert (await client.call("GET", f"files/{id}"))[1] == b"<html>Sorry</html>"
        fake.faults.script(Fault("expire", "get"))
        assert (await client.call("GET", f"files/{id}"))[0] == 401
        assert (await client.call("GET", f"files/{id}"))[0] == 401

    told(story)


def test_a_session_keeps_whole_steps_of_a_piece_that_broke_off() -> None:
    async def story(fake: FakeDrive, client: Client) -> None:
        session = await client.begin({"name": "file"})
        fake.faults.script(Fault("take_half", "session"))
        with pytest.raises((aiohttp.ClientError, OSError)):
            await client.piece(session, b"x" * 3 * STEP, 0, None)
        status, _, headers = await client.piece(session, b"", 0, None)
        assert (status, headers["Range"]) == (308, f"bytes=0-{STEP - 1}")

    told(story)


def test_it_runs_in_a_thread_for_programs_without_a_loop() -> None:
    with serving(FakeDrive()) as fake:
        fake.state.add_person("me@example.org")

        async def ask() -> int:
            client = Client(fake)
            try:
                return (await client.call("GET", "files"))[0]
            finally:
                await client.session.close()

        assert asyncio.run(ask()) == 200
