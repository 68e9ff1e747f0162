"""Keys that end under load, each tenant's own keys, and the fake of Naas: what it promises, clause by clause."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from holdfast.backends.naas import NaasBackend, NaasSettings, open_naas
from holdfast.backends.object_store import (
    Credentials,
    ObjectStoreBackend,
    PerTenantBackend,
    RefreshingCredentials,
    S3Settings,
    open_s3,
    open_store,
    sigv4,
)
from holdfast.core import errors
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.types import ByteRange
from holdfast.testing.fakes.naas import Changed, Fault, Garbage, Half, Lost, NaasFake, Status
from holdfast.testing.servers import S3Server, moto_s3, require
from tests.helpers import noise

pytestmark = pytest.mark.engine

T = TypeVar("T")
MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with require(moto_s3) as running:
        yield running


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 60))


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


async def read(backend: Any, name: str, range: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=range) as reader:
        data: bytes = await reader.read()
        return data


@asynccontextmanager
async def opened(fake: NaasFake, **more: Any) -> AsyncIterator[NaasBackend]:
    settings = NaasSettings.model_validate(fake.settings(part_size=5 * MIB, **more))
    backend = open_naas("naas", settings, environment=Environment())
    try:
        yield backend
    finally:
        await backend.close()


# -- keys that end -------------------------------------------------------------------------------------------------
def test_keys_that_end_under_64_workers_are_fetched_once_and_no_request_fails(server: S3Server) -> None:
    """Half way through, the server calls all keys ended, long before they should."""

    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake) as backend:
            done = 0

            async def worker(number: int) -> None:
                nonlocal done
                for turn in range(4):
                    name = f"load/{number:02}/{turn}"
                    await backend.put(name, Body.of_bytes(name.encode()))
                    assert await read(backend, name) == name.encode()
                    assert (await backend.head(name)).size == len(name)
                    done += 1
                    if done == 128:
                        fake.gate.refused.clear()
                        fake.ledger.end_all()
                await backend.delete(f"load/{number:02}/0")

            await asyncio.gather(*(worker(number) for number in range(64)))
            assert fake.api.asked == 2, "one set of keys at the start, one when they had ended"
            assert set(fake.gate.refused) == {"ExpiredToken"}
            assert len([info async for info in backend.list("load/")]) == 3 * 64

    run(story())


@pytest.mark.parametrize(
    "verb", ["put", "stream", "get", "range", "head", "delete", "list", "copy", "absent"]
)
def test_every_verb_outlives_its_keys(server: S3Server, verb: str) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake) as backend:
            at = f"verbs/{verb}"
            await backend.put(f"{at}/a", Body.of_bytes(b"abc"))
            fake.ledger.end_all()
            if verb == "put":
                await backend.put(f"{at}/b", Body.of_bytes(b"x"))
            elif verb == "stream":
                made = await backend.put(f"{at}/b", Body.of_stream(stream(noise(6 * MIB))))
                assert made.size == 6 * MIB
                assert await read(backend, f"{at}/b") == noise(6 * MIB)
            elif verb == "get":
                assert await read(backend, f"{at}/a") == b"abc"
            elif verb == "range":
                assert await read(backend, f"{at}/a", ByteRange(1, 1)) == b"b"
            elif verb == "head":
                assert (await backend.head(f"{at}/a")).size == 3
            elif verb == "delete":
                await backend.delete(f"{at}/a")
            elif verb == "list":
                assert [info.name async for info in backend.list(f"{at}/")] == [f"{at}/a"]
            elif verb == "copy":
                assert (await backend.copy(f"{at}/a", f"{at}/b")).size == 3
            else:
                with pytest.raises(errors.AlreadyExistsError):
                    await backend.put(f"{at}/a", Body.of_bytes(b"x"), if_absent=True)
            assert fake.api.asked == 2

    run(story())


@pytest.mark.parametrize("replayable", [True, False])
def test_a_long_upload_goes_on_when_its_keys_end_in_the_middle(server: S3Server, replayable: bool) -> None:
    data = noise(23 * MIB)

    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake, upload_concurrency=1) as backend:
            ended = False

            async def slow() -> AsyncIterator[bytes]:
                nonlocal ended
                for start in range(0, len(data), MIB):
                    if start == 12 * MIB and not ended:
                        ended = True
                        fake.ledger.end_all()
                    yield data[start : start + MIB]

            body = Body(opener=slow, size=len(data), replayable=replayable)
            await backend.put("long/one", body)
            assert await read(backend, "long/one") == data
            assert fake.api.asked == 2

    run(story())


def test_keys_are_renewed_before_they_end_and_nobody_is_refused(server: S3Server) -> None:
    async def story() -> None:
        from holdfast.core.clock import ManualClock

        clock = ManualClock(time.time_ns() // 1000)
        async with NaasFake(server) as fake:
            settings = NaasSettings.model_validate(fake.settings())
            backend = open_naas("naas", settings, environment=Environment(clock=clock))
            await backend.put("ahead/a", Body.of_bytes(b"1"))
            clock.advance(3000)  # of an hour: beyond 80 percent of it
            fake.advance(3000)
            assert await read(backend, "ahead/a") == b"1"
            while fake.api.asked < 2:  # noqa: ASYNC110  # it happens in the background, in a server
                await asyncio.sleep(0.01)
            fake.advance(601)  # the first keys have ended; those of now have not
            for name in ("ahead/a", "ahead/a"):
                assert await read(backend, name) == b"1"
            await backend.close()
            assert fake.api.asked == 2
            assert fake.gate.refused == []

    run(story())


def test_keys_that_stay_refused_are_an_error_and_not_a_loop(server: S3Server) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake) as backend:
            await backend.put("stay/a", Body.of_bytes(b"1"))
            fake.gate.script(Status(400, "ExpiredToken"), times=50)
            for call in (
                lambda: backend.put("stay/b", Body.of_bytes(b"x")),
                lambda: read(backend, "stay/a"),
                lambda: backend.delete("stay/a"),
            ):
                with pytest.raises(errors.UnauthenticatedError, match="ended"):
                    await call()
            assert fake.gate.pending == 50 - 6

    run(story())


def test_static_keys_that_have_ended_are_an_error_at_once(server: S3Server) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake:
            keys = fake.ledger.issue(f"{fake.workspace_id}/{fake.storage_name}")
            fake.ledger.end_all()
            settings = S3Settings.model_validate(
                {
                    "endpoint": fake.s3_url,
                    "allow_http": True,
                    "bucket": server.bucket,
                    "prefix": keys.prefix,
                    "access_key": keys.access_key,
                    "secret_key": keys.secret_key,
                    "session_token": keys.token,
                }
            )
            backend = open_s3("s", settings, environment=Environment())
            with pytest.raises(errors.UnauthenticatedError) as caught:
                await backend.put("a", Body.of_bytes(b"1"))
            await backend.close()
            assert keys.secret_key not in str(caught.value)

    run(story())


def test_a_signed_url_ends_with_the_keys(server: S3Server) -> None:
    async def story() -> None:
        async with NaasFake(server, lifetime=900) as fake, opened(fake) as backend:
            await backend.put("signed/a", Body.of_bytes(b"hello"))
            signed = await backend.presign("GET", "signed/a", expires_in=86_400)
            assert signed.expires == fake.ledger.issued[-1].expires // 1_000_000 * 1_000_000
            async with aiohttp.ClientSession() as session:
                async with session.get(signed.url) as answer:
                    assert (answer.status, await answer.read()) == (200, b"hello")
                fake.advance(901)
                async with session.get(signed.url) as answer:
                    assert (answer.status, b"ExpiredToken" in await answer.read()) == (400, True)

    run(story())


# -- keys for each tenant ------------------------------------------------------------------------------------------
def keyring(fake: NaasFake, folder: Path) -> list[str]:
    """Return a command that prints the keys of a tenant, from files which the fake's keys were written to."""
    code = "import sys; print(open(sys.argv[1]).read())"
    return [sys.executable, "-c", code, f"{folder}/{{tenant}}.json"]


def give(fake: NaasFake, folder: Path, tenant: str, prefix: str) -> None:
    keys = fake.ledger.issue(prefix)
    found = {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key, "SessionToken": keys.token}
    (folder / f"{tenant}.json").write_text(json.dumps(found))


def test_each_tenant_is_reached_with_its_own_keys(server: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake:
            for tenant in ("acme", "globex"):
                give(fake, tmp_path, tenant, f"shared/{tenant}")
            give(fake, tmp_path, "everybody", "shared")
            values = {
                "endpoint": fake.s3_url,
                "allow_http": True,
                "bucket": server.bucket,
                "prefix": "shared",
                "credentials": "command",
                "credentials_command": keyring(fake, tmp_path),
                "credentials_tenants": "everybody",
            }
            backend = open_store("s", S3Settings.model_validate(values), environment=Environment())
            assert isinstance(backend, PerTenantBackend)
            for tenant in ("acme", "globex", "acme"):
                await backend.put(f"{tenant}/1/a", Body.of_bytes(tenant.encode()))
                assert await read(backend, f"{tenant}/1/a") == tenant.encode()
                assert await backend.fetch(f"{tenant}/1/a", len(tenant)) == tenant.encode()
                assert (await backend.head(f"{tenant}/1/a")).size == len(tenant)
            assert [i.name async for i in backend.list("acme/")] == ["acme/1/a"]
            assert [i.name async for i in backend.list("")] == ["acme/1/a", "globex/1/a"]
            assert (await backend.copy("acme/1/a", "acme/1/b")).size == 4
            with pytest.raises(errors.UnsupportedError):
                await backend.copy("acme/1/a", "globex/1/c")
            with pytest.raises(errors.UnauthenticatedError):
                await backend.head("initech/1/a")
            for bad in ("A..B/x", "Acme/x"):
                with pytest.raises(errors.InvalidRequestError):
                    await backend.head(bad)
            give(
                fake, tmp_path, "globex", "shared/acme"
            )  # wrong keys: the server, not we, keeps tenants apart
            fake.ledger.end_all()
            give(fake, tmp_path, "acme", "shared/acme")
            give(fake, tmp_path, "globex", "shared/acme")
            assert await read(backend, "acme/1/a") == b"acme"
            with pytest.raises(errors.PermissionDeniedError):
                await read(backend, "globex/1/a")
            with pytest.raises(errors.PermissionDeniedError):
                await backend.fetch("globex/1/a", 6)
            await backend.delete_many(["acme/1/a", "acme/1/b"])
            await backend.close()

    run(story())


def test_tenants_nobody_uses_are_closed_and_a_whole_listing_needs_keys_for_it() -> None:
    async def story() -> None:
        opened_for: list[str] = []
        closed: list[str] = []

        class Watched(ObjectStoreBackend):
            name = ""

            async def head(self, name: str) -> Any:
                opened_for.append(self.name)

            async def close(self) -> None:
                closed.append(self.name)
                await super().close()

        def make(tenant: str) -> ObjectStoreBackend:
            values = {"bucket": "b", "access_key": "a", "secret_key": "s"}
            made = open_s3("s", S3Settings.model_validate(values), environment=Environment())
            made.__class__ = Watched
            made.name = tenant  # type: ignore[attr-defined]
            return made

        backend = PerTenantBackend("s", "", make, kept=2)
        for tenant in ("a", "b", "a", "c", "a"):
            await backend.head(f"{tenant}/x")
        assert opened_for == ["a", "b", "a", "c", "a"]
        assert closed == ["b"]
        with pytest.raises(errors.UnsupportedError, match="credentials_tenants"):
            [info async for info in backend.list("")]
        await backend.close()
        assert sorted(closed) == ["a", "b", "c", "nobody"]

    run(story())


# -- Naas ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"api_key": "wrong"}, errors.UnauthenticatedError, "api_key"),
        ({"workspace_id": "another"}, errors.ConfigError, "workspace_id"),
        ({"storage_name": "another"}, errors.ConfigError, "storage_name"),
    ],
)
def test_a_wrong_setting_is_named_by_every_verb(
    server: S3Server, change: dict[str, str], kind: type[errors.HoldfastError], said: str
) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake, **change) as backend:
            for call in (
                lambda: backend.put("a", Body.of_bytes(b"x")),
                lambda: read(backend, "a"),
                lambda: backend.fetch("a", 1),
                lambda: backend.head("a"),
                lambda: backend.delete("a"),
                lambda: backend.presign("GET", "a", expires_in=60),
            ):
                with pytest.raises(kind, match=said) as caught:
                    await call()
                assert fake.api_key not in str(caught.value)

    run(story())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(429, retry_after=0), None),
        (Status(500), None),
        (Lost(), None),
        (Half(), None),
        (Garbage(), None),
        (Status(403), errors.PermissionDeniedError),
        (Status(302), errors.ConfigError),
        (Status(422), errors.InvalidRequestError),
        (Changed((("secret_key", ""),)), errors.UnauthenticatedError),
        (Changed((("endpoint_url", "https://s3.example.org"),)), errors.UnauthenticatedError),
        (Changed((("expiration", "2020-01-01 00:00:00+0000"),)), errors.UnauthenticatedError),
    ],
)
def test_what_passes_is_outlasted_and_what_does_not_has_its_kind(
    server: S3Server, fault: Fault, kind: type[errors.HoldfastError] | None
) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake) as backend:
            fake.api.script(fault)
            if kind is None:
                await backend.put("pass/a", Body.of_bytes(b"x"))
                assert fake.api.asked == 2
            else:
                with pytest.raises(kind):
                    await backend.put("pass/a", Body.of_bytes(b"x"))
                await backend.put("pass/a", Body.of_bytes(b"x"))  # it was not remembered

    run(story())


def test_a_storage_that_moved_is_followed(server: S3Server) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake) as backend:
            await backend.put("moved/a", Body.of_bytes(b"old"))
            place = f"{fake.workspace_id}/{fake.storage_name}"
            fake.ledger.end_all()
            fake.api.script(Changed((("endpoint_url", f"s3://{server.bucket}/{place}/deeper/"),)))
            with pytest.raises(errors.NotFoundError):
                for _ in range(2):  # the first may still be under way to the old place
                    await backend.head("moved/b")
            await backend.put("moved/a", Body.of_bytes(b"new"))
            assert await read(backend, "moved/a") == b"new"
        async with NaasFake(server) as fake, opened(fake) as backend:
            assert await read(backend, "moved/a") == b"old"
            assert await read(backend, "deeper/moved/a") == b"new"

    run(story())


# -- the fake ------------------------------------------------------------------------------------------------------
def ask(url: str, *, key: str = "", body: Any = None, method: str = "POST") -> tuple[int, Any]:
    data = json.dumps(body).encode() if body is not None else b""
    request = urllib.request.Request(
        url, data=data, method=method, headers={"Authorization": f"Bearer {key}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def test_the_api_of_the_fake(server: S3Server) -> None:
    """Bearer key, one slash at the end, unknown storage, and the form of the answer."""

    async def story() -> None:
        async with NaasFake(server) as fake:
            base = f"{fake.api_url}/workspace/{fake.workspace_id}/storage"

            async def say(path: str, **how: Any) -> tuple[int, Any]:
                return await asyncio.to_thread(ask, base + path, **{"key": fake.api_key, **how})

            wanted = {"name": fake.storage_name}
            assert (await say("/credentials/", key="other", body=wanted))[0] == 401
            assert (await say("/credentials//", body=wanted))[0] == 404
            assert (await say("/../../other/storage/credentials/", body=wanted))[0] == 404
            status, found = await say("/credentials/", body={"name": "unknown"})
            assert (status, found["error"]["error"]) == (200, 2)
            status, found = await say("/credentials/", body=wanted)
            keys = found["credentials"]["s3"]
            assert (status, found["error"]["error"]) == (200, 0)
            place = f"s3://{server.bucket}/{fake.workspace_id}/{fake.storage_name}"
            assert keys["endpoint_url"] == place
            assert set(keys) == {
                *("endpoint_url", "access_key_id", "secret_key", "session_token", "expiration", "region_name")
            }
            assert time.strptime(keys["expiration"], "%Y-%m-%d %H:%M:%S%z")
            assert await say("/", method="GET") == (
                200,
                {"storage": [wanted], "error": {"error": 0, "message": ""}},
            )
            assert (await say("/", body={"storage": wanted}))[1]["error"]["error"] == 1
            assert (await say("/", body={"storage": {"name": "second"}}))[0] == 201
            assert (await say("/?storage_name=second", method="DELETE"))[1]["error"]["error"] == 0
            assert (await say("/?storage_name=second", method="DELETE"))[1]["error"]["error"] == 2

    run(story())


def test_the_gate_of_the_fake(server: S3Server) -> None:
    """Key, secret, token, end, prefix and content are each checked."""

    async def story() -> None:
        async with NaasFake(server) as fake:
            keys = fake.ledger.issue("ws/store")
            good = Credentials(keys.access_key, keys.secret_key, keys.token)
            root = f"/{server.bucket}"

            async def say(
                path: str,
                who: Credentials = good,
                *,
                method: str = "PUT",
                query: sigv4.Query = (),
                body: bytes = b"x",
                ahead: int = 0,
                sent: bytes | None = None,
                headers: dict[str, str] | None = None,
            ) -> str:
                from hashlib import sha256

                from yarl import URL

                request = sigv4.Request(method, fake.s3_url.split("//")[1], path, query, headers or {})
                now = time.time_ns() // 1000 + ahead * 1_000_000
                made = sigv4.sign(request, who, region="us-east-1", payload=sha256(body).hexdigest(), now=now)
                target = sigv4.encode_query(query)
                url = URL(f"{fake.s3_url}{path}{'?' + target if target else ''}", encoded=True)
                async with aiohttp.ClientSession() as session:
                    data = body if sent is None else sent
                    async with session.request(method, url, headers=made, data=data) as answer:
                        text = await answer.text()
                        code = text.partition("<Code>")[2].partition("</Code>")[0]
                        return code or str(answer.status)

            assert await say(f"{root}/ws/store/a") == "200"
            other = Credentials("ASIAOTHER", keys.secret_key, keys.token)
            assert await say(f"{root}/ws/store/a", other) == "InvalidAccessKeyId"
            wrong = Credentials(keys.access_key, "wrong", keys.token)
            assert await say(f"{root}/ws/store/a", wrong) == "SignatureDoesNotMatch"
            for token in (None, "wrong"):
                bare = Credentials(keys.access_key, keys.secret_key, token)
                assert await say(f"{root}/ws/store/a", bare) == "InvalidToken"
            assert await say(f"{root}/ws/store/a", ahead=-3600) == "RequestTimeTooSkewed"
            assert await say(f"{root}/ws/store/a", sent=b"y") == "XAmzContentSHA256Mismatch"
            assert await say(f"{root}/ws/store/{'n' * 1020}") == "KeyTooLongError"
            for outside in ("/ws/storage2/a", "/ws/a", "/other"):
                assert await say(root + outside) == "AccessDenied"
            assert await say("/another-bucket/ws/store/a") == "AccessDenied"
            listing = [("list-type", "2"), ("prefix", "ws/")]
            assert await say(root, method="GET", query=listing, body=b"") == "AccessDenied"
            inside = [("list-type", "2"), ("prefix", "ws/store/")]
            assert await say(root, method="GET", query=inside, body=b"") == "200"
            source = {"x-amz-copy-source": f"{root}/ws/other/a"}
            assert await say(f"{root}/ws/store/b", body=b"", headers=source) == "AccessDenied"
            batch = b"<Delete><Object><Key>ws/store/a</Key></Object><Object><Key>ws/x</Key></Object></Delete>"
            assert (
                await say(root, method="POST", query=[("delete", "")], body=batch, headers={})
                == "AccessDenied"
            )
            assert await say(f"{root}/ws/store/a", method="DELETE", body=b"") == "204"
            fake.advance(3601)
            assert await say(f"{root}/ws/store/a") == "ExpiredToken"
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{fake.s3_url}{root}/ws/store/a") as bare,
            ):
                assert bare.status == 403

    run(story())


def test_faults_of_the_gate_are_outlasted(server: S3Server) -> None:
    async def story() -> None:
        async with NaasFake(server) as fake, opened(fake) as backend:
            data = noise(300_000)
            await backend.put("fault/a", Body.of_bytes(data))
            for fault in (Status(503, "SlowDown"), Lost(), Half()):
                fake.gate.script(fault)
                for _ in range(3):
                    try:
                        assert await read(backend, "fault/a") == data
                        break
                    except errors.UnavailableError:
                        assert isinstance(fault, Half | Lost)
                else:
                    pytest.fail(f"{fault} was not outlasted")
            for fault in (Status(503, "SlowDown"), Lost()):
                fake.gate.script(fault)
                assert [i.name async for i in backend.list("fault/")] == ["fault/a"]
                fake.gate.script(fault)
                await backend.delete("fault/none")
            assert fake.gate.seen["Lost"] >= 3

    run(story())


def test_a_small_storm_loses_nothing() -> None:
    """`scripts/torture naas` with few faults."""
    from torture.naas import storm

    figures = run(storm(150, seed=7))
    assert figures.sound, str(figures)
    assert figures.calls["put"] > 0


def test_handed_in_sources_need_no_renew(server: S3Server) -> None:
    """A source of one's own may only have `current`."""

    class Own:
        async def current(self) -> Credentials:
            return Credentials(server.access_key, server.secret_key)

    async def story() -> None:
        values = {"endpoint": server.endpoint, "allow_http": True, "bucket": server.bucket}
        settings = S3Settings.model_validate({**values, "credentials": "refreshing"})
        for source in (Own(), RefreshingCredentials(Own().current, clock=SystemClock())):
            backend = open_s3("s", settings, environment=Environment(), source=source)
            await backend.put("own/a", Body.of_bytes(b"1"))
            assert await read(backend, "own/a") == b"1"
            await backend.close()

    run(story())
