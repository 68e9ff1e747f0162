"""The driver for Google Cloud Storage against a fake that misbehaves: what it does, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from holdfast.backends import registry
from holdfast.backends._http import Http
from holdfast.backends.object_store import ObjectStoreBackend
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import GcsBackend, GcsSettings, open_gcs
from holdfast.backends.object_store.gcs.errors import judge
from holdfast.backends.object_store.gcs.identities import identity
from holdfast.core import errors
from holdfast.core.backend import Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.types import ByteRange
from holdfast.testing.fakes.gcs import FakeGcs, Fault, StoredObject
from holdfast.testing.harness import noise, pieces
from torture.gcs import storm

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]

MIB = 1 << 20
PART = 5 * MIB
LARGE = noise(2 * PART + 12_345)
CANARY = "canary-4f1c"


class World:
    """A fake and a clock that both sides go by."""

    def __init__(self, fake: FakeGcs, clock: ManualClock) -> None:
        self.fake, self.clock = fake, clock
        self.environment = Environment(clock=clock)

    def open(self, **changed: Any) -> GcsBackend:
        """Return a store; a value of None takes a setting away."""
        values = {**self.fake.settings(), "part_size": PART, "retries": 2, **changed}
        given = {name: value for name, value in values.items() if value is not None}
        opened = open_gcs("far", GcsSettings.model_validate(given), environment=self.environment)
        assert isinstance(opened, GcsBackend)
        return opened

    @asynccontextmanager
    async def store(self, **changed: Any) -> AsyncIterator[GcsBackend]:
        backend = self.open(**changed)
        try:
            yield backend
        finally:
            await backend.close()

    def held(self, name: str) -> StoredObject:
        return self.fake.bucket.objects[name]

    def came(self, method: str, part: str) -> int:
        return sum(one.method == method and part in one.target for one in self.fake.requests)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeGcs, ManualClock]]:
    clock = ManualClock()
    with FakeGcs(now=clock.now) as fake:
        yield fake, clock


@pytest.fixture
def world(running: tuple[FakeGcs, ManualClock]) -> World:
    fake, clock = running
    fake.faults.clear()
    fake.faults.met.clear()
    fake.requests.clear()
    fake.accounts.asked.clear()
    fake.accounts.refusing = ""
    fake.rewrite_step = 1 << 40
    for things in (fake.bucket.objects, fake.bucket.uploads, fake.bucket.sessions):
        things.clear()
    return World(fake, clock)


async def content(backend: GcsBackend, name: str, range: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=range) as reader:
        return await reader.read()


def stream(data: bytes) -> Body:
    return Body.of_stream(pieces(data, 300_000))


# -- who we are


def document(world: World, kind: str, folder: Path) -> dict[str, Any]:
    if kind == "service_account":
        return world.fake.accounts.credential(f"{world.fake.endpoint}/token")
    if kind == "authorized_user":
        return {
            "type": kind,
            "client_id": "id",
            "client_secret": CANARY,
            "refresh_token": "refresh-token",
            "token_uri": f"{world.fake.endpoint}/token",
        }
    subject = folder / "subject"
    subject.write_text(json.dumps({"id_token": "subject-token"}))
    source = {
        "file": str(subject),
        "format": {"type": "json", "subject_token_field_name": "id_token"},
    }
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{world.fake.endpoint}/token",
        "credential_source": source,
    }


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("service_account", ["jwt-bearer"]),
        ("authorized_user", ["refresh_token"]),
        ("external_account", ["token-exchange"]),
        ("impersonated", ["token-exchange", "impersonate"]),
        ("by URL", ["token-exchange"]),
        ("machine", ["metadata"]),
    ],
)
def test_every_kind_of_credential_gives_a_token(
    world: World, tmp_path: Path, kind: str, asked: list[str]
) -> None:
    async def story() -> None:
        changed: dict[str, Any] = {"credentials_json": None}
        if kind == "machine":
            changed["credentials"] = "metadata"
        else:
            known = kind in ("service_account", "authorized_user")
            found = document(world, kind if known else "external_account", tmp_path)
            if kind == "impersonated":
                base = f"{world.fake.endpoint}/v1/projects/-/serviceAccounts"
                found["service_account_impersonation_url"] = f"{base}/a@b.c:generateAccessToken"
            if kind == "by URL":
                world.fake.bucket.put("subject", b"", {}, None)
                found["credential_source"] = {"url": await signed_subject(world)}
            path = tmp_path / "credential.json"
            path.write_text(json.dumps(found))
            if known:
                path.chmod(0o600)
            changed["credentials_file"] = path
        world.fake.accounts.asked.clear()
        async with world.store(**changed) as backend:
            await backend.put("name", Body.of_bytes(b"data"))
            assert await content(backend, "name") == b"data"
        assert world.fake.accounts.asked == asked

    asyncio.run(story())


async def signed_subject(world: World) -> str:
    """Return a URL that gives the federated identity."""
    async with world.store() as backend:
        await backend.put("subject", Body.of_bytes(b"subject-token\n"))
        return (await backend.presign("GET", "subject", expires_in=60)).url


def test_default_credentials_are_looked_for_in_order(world: World, tmp_path: Path) -> None:
    values = {**world.fake.settings(), "credentials_json": ""}
    settings = GcsSettings.model_validate(values)

    def asked(environ: dict[str, str], **more: Any) -> list[str]:
        async def story() -> None:
            chosen = settings.model_copy(update=more)
            http = Http("far", world.environment)
            who = identity(chosen, http, world.environment, home=tmp_path, environ=environ)
            await who.fetch()
            await http.close()

        world.fake.accounts.asked.clear()
        asyncio.run(story())
        return world.fake.accounts.asked

    assert asked({}) == ["metadata"]
    usual = tmp_path / ".config" / "gcloud"
    usual.mkdir(parents=True)
    (usual / "application_default_credentials.json").write_text(
        json.dumps(document(world, "authorized_user", tmp_path))
    )
    named = tmp_path / "named.json"
    named.write_text(json.dumps(document(world, "service_account", tmp_path)))
    assert asked({}) == ["refresh_token"]
    assert asked({"CLOUDSDK_CONFIG": str(tmp_path / "empty")}) == ["metadata"]
    assert asked({"GOOGLE_APPLICATION_CREDENTIALS": str(named)}) == ["jwt-bearer"]
    assert asked({"GOOGLE_APPLICATION_CREDENTIALS": str(named)}, credentials="metadata") == ["metadata"]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda found: None, "not JSON"),
        (lambda found: {**found, "type": "gdch"}, "its type is not"),
        (lambda found: {**found, "private_key": CANARY}, "its private_key is not a key"),
        (lambda found: {**found, "client_email": ""}, "it has no client_email"),
        (lambda found: {**found, "token_uri": "http://example.org/token"}, "is not an https:// URL"),
        (lambda found: {**found, "token_uri": "file:///token"}, "is not an https:// URL"),
        (lambda found: {"type": "external_account", "audience": "a"}, "it has no subject_token_type"),
        (
            lambda found: {
                "type": "external_account",
                "audience": "a",
                "subject_token_type": "t",
                "token_url": "https://sts.googleapis.com/v1/token",
                "credential_source": {"executable": {"command": "x"}},
            },
            "from a file or a URL, not from a program",
        ),
    ],
)
def test_what_is_no_credential_is_said_when_a_store_is_opened(
    world: World, spoil: Callable[[dict[str, str]], Any], text: str
) -> None:
    found = spoil(world.fake.accounts.credential(f"{world.fake.endpoint}/token"))
    with pytest.raises(errors.ConfigError, match=text) as caught:
        world.open(credentials_json=json.dumps(found) if found else CANARY)
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_file_that_is_not_there(world: World, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="cannot be read: No such file"):
        world.open(credentials_json=None, credentials_file=tmp_path / "none.json")
    with pytest.raises(errors.ConfigError, match="ca_file cannot be read"):
        world.open(ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize("kind", ["service_account", "authorized_user"])
def test_a_file_with_a_secret_that_others_can_read_is_refused(
    world: World, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "credential.json"
    path.write_text(json.dumps(document(world, kind, tmp_path)))
    path.chmod(0o640)
    with pytest.raises(errors.ConfigError, match=r"other users can read .* chmod 600") as caught:
        world.open(credentials_json=None, credentials_file=path)
    assert caught.value.store


def test_no_credentials_outside_google_are_told_soon_and_nothing_is_left_open(world: World) -> None:
    async def story() -> None:
        nowhere = {"credentials_json": None, "metadata_host": "http://127.0.0.1:9"}
        settings = GcsSettings.model_validate({**world.fake.settings(), **nowhere, "credentials_json": ""})
        http = Http("far", world.environment)
        who = identity(settings, http, world.environment, home=Path("/nonexistent"), environ={})
        with pytest.raises(errors.UnauthenticatedError, match="no credentials found: give credentials_file"):
            await who.fetch()
        await http.close()
        with pytest.raises(errors.UnauthenticatedError):  # and what is still under way opens nothing anew
            await who.fetch()
        assert http._session is None

    asyncio.run(story())


def test_a_credential_that_is_refused(world: World) -> None:
    async def story() -> None:
        world.fake.accounts.refusing = "invalid_grant"
        async with world.store() as backend:
            for call in (backend.put("name", Body.of_bytes(b"data")), backend.head("name")):
                with pytest.raises(errors.UnauthenticatedError, match="400 invalid_grant"):
                    await call
            world.fake.accounts.refusing = ""
            await backend.put("name", Body.of_bytes(b"data"))
        world.fake.faults.add(Fault("status", status=500, holds="/token"), times=2)
        async with world.store() as backend:
            await backend.head("name")
        assert len(world.fake.faults.met) == 2
        world.fake.faults.add(Fault("status", status=500, holds="/token"), times=3)
        async with world.store() as backend:
            with pytest.raises(errors.UnavailableError, match="no token could be had"):
                await backend.head("name")

    asyncio.run(story())


def test_outside_google_the_missing_machine_is_explained(world: World) -> None:
    async def story() -> None:
        changed = {"credentials": "metadata", "credentials_json": None, "metadata_host": "http://127.0.0.1:9"}
        async with world.store(**changed) as backend:
            with pytest.raises(errors.UnavailableError, match="outside Google Cloud set credentials_file"):
                await backend.head("name")

    asyncio.run(story())


def test_tokens_that_end_early_under_load_are_renewed_once(world: World) -> None:
    async def story() -> None:
        async with world.store() as backend:
            await backend.put("name", Body.of_bytes(b"data"))
            await content(backend, "name")
            asked = len(world.fake.accounts.asked)
            ends = asyncio.Event()

            async def work(number: int) -> None:
                for turn in range(3):
                    if turn == 1 and number == 0:
                        world.fake.accounts.end_all()
                        ends.set()
                    elif turn == 1:
                        await ends.wait()
                    await backend.put(f"blob-{number}", Body.of_bytes(bytes([turn])))
                    assert await content(backend, f"blob-{number}") == bytes([turn])

            await asyncio.gather(*(work(number) for number in range(64)))
            assert len(world.fake.accounts.asked) == asked + 1

    asyncio.run(story())


def test_tokens_are_renewed_ahead_and_mid_upload(world: World) -> None:
    async def story() -> None:
        async with world.store() as backend:
            await backend.put("name", Body.of_bytes(b"data"))
            world.clock.advance(3600 - 299)
            await backend.put(
                "name", Body.of_bytes(b"data")
            )  # the old one still holds; a new one is fetched beside
            await asyncio.sleep(0.05)
            assert len(world.fake.accounts.asked) == 2
            for if_absent in (False, True):
                asked = len(world.fake.accounts.asked)

                async def source() -> AsyncIterator[bytes]:
                    async for piece in pieces(LARGE[: PART + 1], PART):
                        yield piece
                    world.fake.accounts.end_all()
                    yield LARGE[PART + 1 :]

                name = f"large-{if_absent}"
                await backend.put(name, Body.of_stream(source()), if_absent=if_absent)
                assert world.held(name).data == LARGE
                assert len(world.fake.accounts.asked) == asked + 1

    asyncio.run(story())


# -- what goes in


def test_a_write_says_what_it_is(world: World) -> None:
    async def story() -> None:
        key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
        options = PutOptions("text/plain", {"colour": "tiefblau ä"})
        changed = {"storage_class": "NEARLINE", "kms_key": key, "user_project": "payer", "prefix": "deep/er"}
        async with world.store(**changed) as backend:
            for name, data, if_absent in (("a", b"x", False), ("b", LARGE, False), ("c", LARGE, True)):
                told = await backend.put(name, stream(data), options=options, if_absent=if_absent)
                held = world.held(f"deep/er/{name}")
                assert (told.size, told.etag) == (len(data), held.etag)
                assert held.headers["content-type"] == "text/plain"
                assert held.headers["x-goog-storage-class"] == "NEARLINE"
                assert held.headers["x-goog-encryption-kms-key-name"] == key
                seen = await backend.head(name)
                assert (seen.name, dict(seen.metadata)) == (name, {"colour": "tiefblau ä"})
            await backend.copy("a", "d")
            assert [info.name async for info in backend.list()] == ["a", "b", "c", "d"]
        assert world.came("POST", f"destinationKmsKeyName={key.replace('/', '%2F')}") == 1
        storage = [one for one in world.fake.requests if "/blobs" in one.target]
        assert all(one.headers["x-goog-user-project"] == "payer" for one in storage)

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["small", "parts", "session"])
def test_other_bytes_than_were_sent_are_taken_back(world: World, kind: str) -> None:
    async def story() -> None:
        method = {"small": "PUT", "parts": "POST", "session": "PUT"}[kind]
        part = {"small": "/blobs/name", "parts": "?uploadId=", "session": "upload_id="}[kind]
        world.fake.faults.add(Fault("lie", method=method, holds=part), times=9)
        async with world.store() as backend:
            body = Body.of_bytes(b"data") if kind == "small" else stream(LARGE)
            with pytest.raises(errors.CorruptedError, match="other bytes than were sent"):
                await backend.put("name", body, if_absent=kind == "session")
        assert "name" not in world.fake.bucket.objects
        assert not world.fake.bucket.uploads

    asyncio.run(story())


def test_what_is_taken_back_is_only_our_own(world: World) -> None:
    async def story() -> None:
        def other(method: str, target: str) -> Fault | None:
            if method == "DELETE":
                world.fake.bucket.put("name", b"somebody else's", {}, None)
            return Fault("lie") if method == "PUT" else None

        world.fake.faults.chance = other
        async with world.store() as backend:
            with pytest.raises(errors.CorruptedError):
                await backend.put("name", Body.of_bytes(b"data"))
        assert world.held("name").data == b"somebody else's"

    asyncio.run(story())


@pytest.mark.parametrize("size", [4, len(LARGE)])
def test_if_absent_loses_to_who_was_faster(world: World, size: int) -> None:
    async def story() -> None:
        async def source() -> AsyncIterator[bytes]:
            async for piece in pieces(LARGE[:size], PART):
                yield piece
            world.fake.bucket.put("name", b"theirs", {}, None)

        async with world.store() as backend:
            with pytest.raises(errors.AlreadyExistsError):
                await backend.put("name", Body.of_stream(source()), if_absent=True)
        assert world.held("name").data == b"theirs"
        assert not world.fake.bucket.sessions

    asyncio.run(story())


@pytest.mark.parametrize(
    "fault",
    [
        Fault("short", holds="upload_id="),
        Fault("lost", holds="upload_id="),
        Fault("reset", holds="upload_id="),
        Fault("status", status=503, holds="upload_id="),
        Fault("status", status=429, retry_after=3, holds="upload_id="),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_session_survives_a_bad_link(world: World, fault: Fault) -> None:
    async def story() -> None:
        async with world.store() as backend:
            for piece in range(3):
                before = world.came("PUT", "upload_id=")

                def chance(
                    method: str, target: str, piece: int = piece, before: int = before
                ) -> Fault | None:
                    mine = method == "PUT" and world.came("PUT", "upload_id=") == before + piece + 1
                    return fault if mine else None

                world.fake.faults.chance = chance
                await backend.put(f"name-{piece}", stream(LARGE), if_absent=True)
                world.fake.faults.clear()
                assert world.held(f"name-{piece}").data == LARGE
        assert len(world.fake.faults.met) == 3

    asyncio.run(story())


def test_a_session_that_never_gets_on_ends(world: World) -> None:
    async def story() -> None:
        world.fake.faults.add(Fault("status", method="PUT"), times=99)
        async with world.store() as backend:
            with pytest.raises(errors.UnavailableError):
                await backend.put("name", stream(LARGE), if_absent=True)
        assert not world.fake.bucket.sessions
        assert not world.fake.bucket.objects

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["lost", "reset", "status"])
def test_the_end_of_an_upload_in_parts_may_be_asked_for_twice(world: World, kind: Any) -> None:
    async def story() -> None:
        world.fake.faults.add(Fault(kind, method="POST", holds="?uploadId="))
        world.fake.faults.add(Fault(kind, method="PUT", holds="partNumber=2"))
        async with world.store() as backend:
            told = await backend.put("name", stream(LARGE))
            assert (told.size, (await backend.head("name")).size) == (len(LARGE), len(LARGE))
        assert world.held("name").data == LARGE
        assert len(world.fake.faults.met) == 2
        assert not world.fake.bucket.uploads

    asyncio.run(story())


def test_an_end_that_cannot_be_told_is_no_success(world: World) -> None:
    async def story() -> None:
        def chance(method: str, target: str) -> Fault | None:
            if method == "POST" and "?uploadId=" in target and not world.fake.faults.met:
                return Fault("lost")
            if method == "HEAD":
                world.fake.bucket.put("name", b"somebody else's", {}, None)
            return None

        world.fake.faults.chance = chance
        async with world.store() as backend:
            with pytest.raises(errors.UnavailableError, match="not known whether it was completed"):
                await backend.put("name", stream(LARGE))

    asyncio.run(story())


@pytest.mark.parametrize("if_absent", [False, True])
def test_what_is_cancelled_leaves_nothing_open(world: World, if_absent: bool) -> None:
    async def story() -> None:
        reached = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            async for piece in pieces(LARGE, 300_000):
                yield piece
            reached.set()
            await asyncio.Event().wait()

        async with world.store() as backend:
            putting = asyncio.ensure_future(
                backend.put("name", Body.of_stream(source()), if_absent=if_absent)
            )
            await reached.wait()
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting
            assert not world.fake.bucket.uploads
            assert not world.fake.bucket.sessions
            assert not world.fake.bucket.objects

    asyncio.run(story())


def test_what_a_killed_process_left_open_is_ended(world: World) -> None:
    async def story() -> None:
        bucket = world.fake.bucket
        async with world.store(prefix="mine") as backend:
            for key in ("mine/a", "mine/a", "mine/ab", "mine/b", "other/a"):
                bucket.begin_upload(key, {})
            await backend.discard("a")
            assert sorted(one.key for one in bucket.uploads.values()) == ["mine/ab", "mine/b", "other/a"]
            world.clock.advance(100)
            bucket.begin_upload("mine/young", {})
            assert await backend.abort_stale_uploads(60) == 2
            assert sorted(one.key for one in bucket.uploads.values()) == ["mine/young", "other/a"]

    asyncio.run(story())


# -- what comes out


def test_a_listing_goes_on_over_pages(world: World) -> None:
    async def story() -> None:
        names = sorted((f"folder/{number}-ä b" for number in range(2500)), key=str.encode)
        for name in names:
            world.fake.bucket.put(name, b"", {}, None)
        world.fake.faults.add(Fault("status", status=503, holds="continuation-token"))
        async with world.store() as backend:
            assert [info.name async for info in backend.list("folder/")] == names
            assert [info.name async for info in backend.list("folder/", after=names[2000])] == names[2001:]

    asyncio.run(story())


def test_half_an_answer_is_an_error(world: World) -> None:
    async def story() -> None:
        async with world.store(retries=0) as backend:
            await backend.put("name", Body.of_bytes(LARGE))
            for wish in (None, ByteRange(10, 200_000)):
                world.fake.faults.add(Fault("half", method="GET"))
                with pytest.raises(errors.UnavailableError):
                    await content(backend, "name", wish)
            assert await content(backend, "name", ByteRange(10, 200_000)) == LARGE[10:200_001]

    asyncio.run(story())


def test_a_copy_that_takes_several_requests(world: World) -> None:
    async def story() -> None:
        world.fake.rewrite_step = 1000
        async with world.store() as backend:
            await backend.put("a/b", Body.of_bytes(b"x" * 4500), options=PutOptions(metadata={"k": "v"}))
            world.fake.faults.add(Fault("lost", holds="rewriteToken=token-3000"))
            told = await backend.copy("a/b", "c")
            assert (told.name, told.size, dict(told.metadata)) == ("c", 4500, {"k": "v"})
            assert world.came("POST", "/rewriteTo/") == 6
            with pytest.raises(errors.NotFoundError):
                await backend.copy("none", "c")

    asyncio.run(story())


@pytest.mark.parametrize("by", ["key", "service"])
def test_links_by_our_own_key_and_by_the_service(world: World, by: str) -> None:
    changed = (
        {}
        if by == "key"
        else {
            "credentials_json": None,
            "credentials": "metadata",
            "sign_as": "fake@project.iam.gserviceaccount.com",
        }
    )

    async def story() -> None:
        async with world.store(**changed) as backend:
            assert Capability.PRESIGN in backend.capabilities
            await backend.put("a+b/!$'()*,:;=@~", Body.of_bytes(b"data"))
            if by == "service":
                world.fake.accounts.end_all()
            signed = await backend.presign(
                "GET", "a+b/!$'()*,:;=@~", expires_in=60, content_disposition='attachment; filename="x y"'
            )
            assert signed.expires == world.clock.now() + 60_000_000
            answer = await asyncio.to_thread(fetch, signed.url)
            assert answer == (200, b"data", 'attachment; filename="x y"')
            writing = await backend.presign("PUT", "new", expires_in=60, content_type="text/plain")
            assert dict(writing.headers) == {"content-type": "text/plain"}
            put = await asyncio.to_thread(fetch, writing.url, b"new", {"content-type": "text/plain"})
            assert (put[0], world.held("new").headers["content-type"]) == (200, "text/plain")
            refused = await asyncio.to_thread(fetch, writing.url, b"new", {"content-type": "text/html"})
            assert refused[0] == 403
            world.clock.advance(61)
            assert (await asyncio.to_thread(fetch, signed.url))[0] == 400

    asyncio.run(story())


def fetch(
    url: str, data: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data, headers or {}, method="GET" if data is None else "PUT")
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers.get("content-disposition", "")
    except urllib.error.HTTPError as error:
        return error.code, error.read(), ""


def test_links_name_the_public_endpoint(world: World) -> None:
    async def story() -> None:
        changed = {"public_endpoint": "https://blobs.example.org:443/", "user_project": "payer"}
        async with world.store(**changed) as backend:
            parts = urlsplit((await backend.presign("GET", "x", expires_in=60)).url)
            query = parse_qs(parts.query)
            assert (parts.netloc, parts.path) == ("blobs.example.org:443", "/blobs/x")
            assert (query["X-Goog-SignedHeaders"], query["userProject"]) == (["host"], ["payer"])
        async with world.store(credentials_json=None, credentials="metadata") as backend:
            assert Capability.PRESIGN not in backend.capabilities
            with pytest.raises(errors.UnsupportedError, match="set sign_as"):
                await backend.presign("GET", "x", expires_in=60)

    asyncio.run(story())


# -- what it says


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "", errors.UnauthenticatedError),
        (401, "AuthenticationRequired", errors.UnauthenticatedError),
        (400, "ExpiredToken", errors.UnauthenticatedError),
        (403, "SignatureDoesNotMatch", errors.UnauthenticatedError),
        (403, "", errors.PermissionDeniedError),
        (403, "AccessDenied", errors.PermissionDeniedError),
        (403, "RetentionPolicyNotMet", errors.ConflictError),
        (400, "UserProjectMissing", errors.ConfigError),
        (404, "NoSuchBucket", errors.ConfigError),
        (404, "NoSuchKey", errors.NotFoundError),
        (404, "", errors.NotFoundError),
        (408, "", errors.UnavailableError),
        (410, "", errors.UnavailableError),
        (412, "PreconditionFailed", errors.PreconditionFailedError),
        (413, "EntityTooLarge", errors.TooLargeError),
        (416, "InvalidRange", errors.InvalidRangeError),
        (429, "", errors.RateLimitedError),
        (429, "RateLimitExceeded", errors.RateLimitedError),
        (400, "BadDigest", errors.CorruptedError),
        (400, "SomethingElse", errors.InvalidRequestError),
        (500, "InternalError", errors.UnavailableError),
        (503, "ServiceUnavailable", errors.UnavailableError),
        (501, "NotImplemented", errors.UnsupportedError),
    ],
)
def test_each_answer_has_its_kind(status: int, code: str, kind: type[errors.HoldfastError]) -> None:
    error = judge(status, code, Where("get", "far", "name"), retry_after=3)
    assert type(error) is kind
    assert (error.operation, error.store, error.name) == ("get", "far", "name")
    taken = judge(412, "PreconditionFailed", Where("put", "far", "name", if_absent=True))
    assert isinstance(taken, errors.AlreadyExistsError)


def test_a_missing_bucket_and_a_missing_right_are_told_apart(world: World) -> None:
    async def story() -> None:
        async with world.store(bucket="nowhere") as backend:
            for call in (backend.head("x"), backend.put("x", Body.of_bytes(b"")), content(backend, "x")):
                with pytest.raises(errors.ConfigError, match="bucket does not exist"):
                    await call
        async with world.store(retries=0) as backend:
            world.fake.faults.add(Fault("status", status=403, code="AccessDenied", holds="/blobs"), times=2)
            with pytest.raises(errors.PermissionDeniedError, match="Storage Object User"):
                await backend.head("x")
            world.fake.faults.clear()
            world.fake.faults.add(Fault("status", status=429, code="SlowDown", retry_after=9, holds="/blobs"))
            with pytest.raises(errors.RateLimitedError) as caught:
                await backend.delete("x")
            assert caught.value.retry_after == 9

    asyncio.run(story())


def test_no_secret_is_in_what_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with world.store(retries=0) as backend:
            shown = []
            await backend.delete("x")
            world.fake.faults.add(Fault("status", status=500), times=9)
            for call in (backend.head("x"), backend.put("x", Body.of_bytes(b"")), backend.copy("x", "y")):
                with pytest.raises(errors.HoldfastError) as caught:
                    await call
                shown.append(f"{caught.value!r} {caught.value} {caught.value.__cause__!r}")
            world.fake.faults.clear()
            world.fake.faults.add(Fault("status", status=404, code="NoSuchUpload", holds="upload_id="))
            with pytest.raises(errors.HoldfastError) as caught:
                await backend.put("x", stream(LARGE), if_absent=True)
            shown.append(f"{caught.value!r} {caught.value.__cause__!r}")
            shown.append(repr(vars(backend)) + repr(GcsSettings.model_validate(world.fake.settings())))
        text = " ".join(shown)
        assert "PRIVATE KEY" not in text
        assert not [token for token in world.fake.accounts.tokens if token in text]
        assert "session-" not in text

    asyncio.run(story())


def test_the_environment_of_other_programs_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "BEARER_TOKEN": "other",
        "BASE_URL": "http://127.0.0.1:9",
        "SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setitem(os.environ, f"GOOGLE_{name}", value)

    async def story() -> None:
        async with world.store() as backend:
            await backend.put("name", Body.of_bytes(b"data"))
            assert await content(backend, "name") == b"data"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"endpoint": "http://storage"}, "allow_http"),
        ({"endpoint": ""}, "must not be empty"),
        ({"endpoint": "https://storage/path"}, "and nothing else"),
        ({"endpoint": "ftp://storage"}, "must be a URL"),
        ({"iam_endpoint": "http://iam"}, "iam_endpoint is http"),
        ({"hmac_key": "GOOG1"}, "belong together"),
        ({"hmac_key": "GOOG1", "hmac_secret": CANARY, "credentials_json": "{}"}, "give one of"),
        ({"hmac_key": "GOOG1", "hmac_secret": CANARY, "user_project": "p"}, "do not go with an HMAC pair"),
        ({"credentials": "metadata", "credentials_json": CANARY}, "takes no file"),
        ({"prefix": "a/../b"}, "must not hold"),
        ({"prefix": "a b"}, "without spaces"),
        ({"part_size": PART + 1}, "multiple"),
        ({"kms_key": CANARY}, "not written as it has to be"),
    ],
)
def test_wrong_settings_are_refused(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.ConfigError, match=text) as caught:
        registry.parse("gcs", {"bucket": "blobs", **changed})
    assert CANARY not in str(caught.value)


def test_an_hmac_pair_speaks_the_s3_dialect() -> None:
    async def story() -> None:
        values = {"bucket": "blobs", "hmac_key": "GOOG1E", "hmac_secret": CANARY, "prefix": "p"}
        settings = registry.parse("gcs", values)
        backend = registry.open_backend("far", "gcs", settings, environment=Environment())
        try:
            assert isinstance(backend, ObjectStoreBackend)
            assert Capability.IF_ABSENT not in backend.capabilities
            url = (await backend.presign("GET", "x", expires_in=60)).url
            assert url.startswith("https://storage.googleapis.com/blobs/p/x?")
            assert "%2Fauto%2Fs3%2Faws4_request" in url
        finally:
            await backend.close()

    asyncio.run(story())


def test_a_storm_of_faults_changes_no_byte() -> None:
    found = asyncio.run(storm(120, seed=7))
    assert found.sound, str(found)
    assert found.faults >= 120
    assert found.acknowledged > 50
