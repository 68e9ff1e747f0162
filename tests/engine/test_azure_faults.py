"""The Azure backend on a real server, and behind a proxy that misbehaves: it succeeds later or says clearly why not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import traceback
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from holdfast.backends.object_store.azure import (
    AzureBackend,
    AzureSettings,
    Token,
    blocks,
    listing,
    open_azure,
)
from holdfast.backends.object_store.azure.client import Answer as Said
from holdfast.backends.object_store.errors import Where
from holdfast.core import errors
from holdfast.core.backend import Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.types import ByteRange
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.proxy import Answer, Cut, Fault, Flip, Proxy, Refuse, Truncate
from holdfast.testing.servers import free_port, require
from tests.azure_tools import jwt, shared, store
from tests.helpers import noise, run
from torture.azure import storm

pytestmark = [pytest.mark.engine, pytest.mark.timeout(90)]

MIB = 1 << 20
CANARY = "canary-77ab"
OWN = ("x-ms-request-id", "1")  #: what each answer of the service carries


@pytest.fixture(scope="module")
def server() -> Iterator[AzureServer]:
    with require(azurite) as running:
        yield running


class Clock(SystemClock):
    """Real time, but nobody waits; it can be set off by so many seconds."""

    def __init__(self, off: float = 0.0) -> None:
        self.slept: list[float] = []
        self._off = off

    def now(self) -> int:
        return super().now() + int(self._off * 1e6)

    def monotonic(self) -> float:
        return super().monotonic() + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def through(server: AzureServer, proxy: Proxy, clock: Clock | None = None, **changes: Any) -> AzureBackend:
    endpoint = f"http://127.0.0.1:{proxy.port}/{server.account}"
    return store(server, Environment(clock=clock or Clock()), endpoint=endpoint, part_size=MIB, **changes)


async def read(backend: AzureBackend, name: str, range: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=range) as reader:
        return await reader.read()


def ending(text: str) -> Any:
    """Return a match for requests whose target holds `text`."""
    return lambda head: text in head.target


def method(*names: str) -> Any:
    return lambda head: head.method in names


def plain(
    method: str, url: str, data: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Ask with a client that knows nothing of stores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {}


async def uncommitted(backend: AzureBackend, name: str) -> int:
    """Return how many blocks wait under the name."""
    query = [("comp", "blocklist"), ("blocklisttype", "uncommitted")]
    try:
        answer = await backend._client.call(Where("test", "az"), "GET", name, query=query)
    except errors.NotFoundError:
        return 0
    return answer.body.count(b"<Block>")


# -- what passes, is passed


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503, code="ServerBusy", retry_after=7),
        Answer(500, code="OperationTimedOut"),
        Answer(429, code="TooManyRequests"),
        Refuse(),
    ],
    ids=lambda fault: f"{type(fault).__name__}-{getattr(fault, 'code', '')}",
)
def test_a_busy_server_is_asked_again_for_every_verb(server: AzureServer, fault: Fault) -> None:
    async def story() -> None:
        clock, data = Clock(), noise(3 * MIB)
        async with Proxy("127.0.0.1", server.port) as proxy:
            backend = through(server, proxy, clock)
            for size in (1000, len(data)):
                proxy.script(fault)
                await backend.put("busy/blob", Body.of_bytes(data[:size]))
            proxy.script(fault)
            assert (await backend.head("busy/blob")).size == len(data)
            proxy.script(fault)
            assert await read(backend, "busy/blob") == data
            proxy.script(fault)
            assert [info.name async for info in backend.list("busy/")] == ["busy/blob"]
            proxy.script(fault)
            await backend.copy("busy/blob", "busy/copy")
            proxy.script(fault)
            await backend.delete("busy/blob")
            assert sum(proxy.done.values()) == 7
            await backend.delete("busy/copy")
            await backend.close()
        if isinstance(fault, Answer) and fault.retry_after:
            assert set(clock.slept) == {7.0}

    run(story())


def test_what_does_not_pass_is_told_in_bounded_time(server: AzureServer) -> None:
    async def story() -> None:
        async with Proxy("127.0.0.1", server.port) as proxy:
            clock = Clock()
            backend = through(server, proxy, clock)
            proxy.default = Answer(503, code="ServerBusy", retry_after=3600)
            with pytest.raises(errors.RateLimitedError) as caught:
                await backend.put("never", Body.of_bytes(b"x"))
            assert caught.value.retry_after == 3600
            assert max(clock.slept) <= 20
            proxy.default = Refuse()
            with pytest.raises(errors.UnavailableError):
                await backend.head("never")
            with pytest.raises(errors.UnavailableError):
                await read(backend, "never")
            await backend.close()
        gone = store(server, endpoint=f"http://127.0.0.1:{free_port()}/{server.account}", retries=0)
        with pytest.raises(errors.UnavailableError):
            await gone.put("never", Body.of_bytes(b"x"))
        await gone.close()

    run(story())


def test_half_a_body_is_an_error_and_never_a_short_read(server: AzureServer) -> None:
    async def story() -> None:
        data = noise(2 * MIB)
        async with Proxy("127.0.0.1", server.port) as proxy:
            backend = through(server, proxy, retries=0)
            await backend.put("half", Body.of_bytes(data))
            for fault in (
                Truncate(length=700_000),
                Cut(after=700_000),
                Truncate(length=0),
                Cut(after=0, reset=False),
            ):
                for wish in (None, ByteRange(5, 2_000_000)):
                    proxy.script(fault)
                    with pytest.raises(errors.UnavailableError):
                        await read(backend, "half", wish)
            assert await read(backend, "half", ByteRange(None, 100)) == data[-100:]
            await backend.close()

    run(story())


def test_bytes_damaged_on_their_way_in_are_sent_again_and_never_shown(server: AzureServer) -> None:
    async def story() -> None:
        data = noise(2 * MIB + 17)
        async with Proxy("127.0.0.1", server.port) as proxy:
            backend = through(server, proxy)
            for size in (5000, len(data)):
                proxy.script(Flip(offset=1000, upward=True, match=method("PUT")))
                await backend.put("flip", Body.of_bytes(data[:size]))
                assert await read(backend, "flip") == data[:size]
            assert proxy.done["Flip"] == 2
            await backend.delete("flip")
            proxy.default = Flip(offset=1000, upward=True, match=lambda head: head.length > 1000)
            for size in (5000, len(data)):
                with pytest.raises(errors.CorruptedError):
                    await backend.put("flip", Body.of_bytes(data[:size]))
                with pytest.raises(errors.NotFoundError):
                    await backend.head("flip")
            await backend.close()

    run(story())


@pytest.mark.parametrize("if_absent", [False, True])
def test_a_lost_answer_to_the_commit_is_no_failure(server: AzureServer, if_absent: bool) -> None:
    async def story() -> None:
        data, name = noise(3 * MIB, 5), f"lost/{if_absent}"
        async with Proxy("127.0.0.1", server.port) as proxy:
            backend = through(server, proxy)
            proxy.script(Answer(500, code="InternalError", after_effect=True, match=ending("comp=blocklist")))
            info = await backend.put(name, Body.of_bytes(data), if_absent=if_absent)
            assert proxy.done["Answer"] == 1
            head = await backend.head(name)
            assert (head.etag, head.size) == (info.etag, len(data))
            assert await read(backend, name) == data
            if if_absent:
                proxy.script(Answer(500, code="InternalError", match=ending("comp=blocklist")))
                with pytest.raises(errors.AlreadyExistsError):
                    await backend.put(name, Body.of_bytes(data), if_absent=True)
                assert (await backend.head(name)).etag == info.etag
            await backend.close()

    run(story())


# -- several writers, and writers that give up


def test_large_uploads_of_one_name_never_mix(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server, part_size=MIB)
        contents = [noise(3 * MIB + number, number) for number in range(4)]
        ends = await asyncio.gather(
            *(backend.put("race", Body.of_bytes(data)) for data in contents), return_exceptions=True
        )
        failures = [end for end in ends if isinstance(end, BaseException)]
        assert len(failures) < len(contents)
        assert all(isinstance(one, errors.UnavailableError) and one.retryable for one in failures)
        assert await read(backend, "race") in contents
        ends = await asyncio.gather(
            *(backend.put("once", Body.of_bytes(data), if_absent=True) for data in contents),
            return_exceptions=True,
        )
        winners = [n for n, end in enumerate(ends) if not isinstance(end, BaseException)]
        assert len(winners) == 1
        assert all(
            isinstance(end, errors.AlreadyExistsError) for n, end in enumerate(ends) if n not in winners
        )
        assert await read(backend, "once") == contents[winners[0]]
        await backend.close()

    run(story())


def test_blocks_taken_away_by_another_writer_are_told_as_what_they_mean(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server, part_size=MIB)
        theirs = noise(2 * MIB)
        for if_absent, kind in ((True, errors.AlreadyExistsError), (False, errors.UnavailableError)):
            where = Where("put", "az", "taken", if_absent)
            work = blocks.Blocks(backend._client, where, "taken", hashed=True)
            await work.create({})
            await work.count(b"mine")
            await work.send(1, b"mine")
            await backend.put("taken", Body.of_bytes(theirs))
            with pytest.raises(kind):
                await work.complete()
            assert await read(backend, "taken") == theirs
        await backend.close()

    run(story())


def test_discard_takes_away_what_a_killed_put_left(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server, part_size=MIB)

        async def hanging() -> AsyncIterator[bytes]:
            for number in range(3):
                yield noise(MIB, number)
            await asyncio.sleep(3600)

        for before in (False, True):
            if before:
                await backend.put("left/a", Body.of_bytes(b"old"))
            task = asyncio.ensure_future(backend.put("left/a", Body.of_stream(hanging())))
            while await uncommitted(backend, "left/a") < 3:  # noqa: ASYNC110  # none may be on its way any more
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [info.name async for info in backend.list("left/")] == (["left/a"] if before else [])
            await backend.discard("left/a")
            assert await uncommitted(backend, "left/a") == 0
            assert [info.name async for info in backend.list("left/")] == []
            with pytest.raises(errors.NotFoundError):
                await backend.head("left/a")
        await backend.discard("left/never-was")
        await backend.close()

    run(story())


# -- copies that take their time


def test_a_copy_that_is_pending_is_waited_for(server: AzureServer) -> None:
    async def story() -> None:
        clock = Clock()
        async with Proxy("127.0.0.1", server.port) as proxy:
            backend = through(server, proxy, clock)
            await backend.put("from", Body.of_bytes(b"bytes"))
            copying = (("x-ms-copy-id", "c1"), ("x-ms-copy-status", "pending"), OWN)
            target = ending("/to")
            proxy.script(Answer(202, headers=copying, after_effect=True, match=target))
            proxy.script(Answer(200, headers=copying, match=target), times=3)
            proxy.script(
                Answer(200, headers=(copying[0], ("x-ms-copy-status", "success"), OWN), match=target)
            )
            assert (await backend.copy("from", "to")).size == 5
            assert clock.slept == [0.2, 0.4, 0.8, 1.6]
            assert await read(backend, "to") == b"bytes"
            await backend.close()

    run(story())


@pytest.mark.parametrize(
    ("status", "other", "kind"),
    [
        ("failed", "c1", errors.UnavailableError),
        ("pending", "c1", errors.DeadlineError),
        ("success", "c2", errors.UnavailableError),
    ],
)
def test_a_copy_that_fails_leaves_no_target(
    server: AzureServer, status: str, other: str, kind: type[errors.HoldfastError]
) -> None:
    async def story() -> None:
        async with Proxy("127.0.0.1", server.port) as proxy:
            backend = through(server, proxy, copy_timeout=5.0)
            await backend.put("from", Body.of_bytes(b"bytes"))
            first = (("x-ms-copy-id", "c1"), ("x-ms-copy-status", "pending"), OWN)
            later = (("x-ms-copy-id", other), ("x-ms-copy-status", status), OWN)
            at_target = ending("/half")
            proxy.script(Answer(202, headers=first, after_effect=True, match=at_target))
            proxy.default = Answer(
                200, headers=later, match=lambda head: head.method == "HEAD" and at_target(head)
            )
            with pytest.raises(kind):
                await backend.copy("from", "half")
            proxy.default = Fault()
            if other == "c1":
                with pytest.raises(errors.NotFoundError):
                    await backend.head("half")
            else:  # somebody else has written there; that is not ours to remove
                assert await read(backend, "half") == b"bytes"
                await backend.delete("half")
            aborts = [head for head in proxy.seen if "comp=copy" in head.target]
            assert len(aborts) == (1 if status == "pending" else 0)
            await backend.close()

    run(story())


# -- who asks


def test_what_is_wrong_with_the_settings_is_named_without_a_secret(server: AzureServer) -> None:
    async def story() -> None:
        wrong = base64.b64encode(CANARY.encode()).decode()
        cases: list[tuple[dict[str, Any], Any]] = [
            # The emulator calls a wrong signature what the service calls a missing right.
            ({"account_key": wrong}, (errors.UnauthenticatedError, errors.PermissionDeniedError)),
            ({"container": "no-such-box"}, errors.ConfigError),
        ]
        for changes, kind in cases:
            backend = store(server, **changes)
            verbs: list[Callable[[], Awaitable[Any]]] = [
                lambda: backend.put("x", Body.of_bytes(b"x")),  # noqa: B023  # called in this round
                lambda: backend.head("x"),  # noqa: B023
                lambda: backend.delete("x"),  # noqa: B023
                lambda: read(backend, "x"),  # noqa: B023
                lambda: anext(backend.list()),  # noqa: B023
            ]
            for verb in verbs:
                with pytest.raises(kind) as caught:
                    await verb()
                text = "".join(traceback.format_exception(caught.value)) + repr(backend._settings)
                assert wrong not in text
                assert server.account_key not in text
                assert caught.value.store == "az"
            await backend.close()

    run(story())


def test_variables_of_the_environment_do_not_change_who_asks(
    server: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AZURE_STORAGE_TOKEN": CANARY,
        "AZURE_STORAGE_SAS_KEY": "sig=x",
        "AZURE_STORAGE_ACCOUNT_NAME": "other",
        "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1",
        "AZURE_SKIP_SIGNATURE": "true",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURE_CONTAINER_NAME": "other",
    }.items():
        monkeypatch.setenv(name, value)

    async def story() -> None:
        backend = store(server)
        await backend.put("env", Body.of_bytes(b"mine"))
        assert await read(backend, "env") == b"mine"
        await backend.close()

    run(story())


def test_a_shared_access_signature_is_enough_for_all_but_links(server: AzureServer) -> None:
    async def story() -> None:
        data = noise(2 * MIB + 1)
        backend = store(server, credentials="sas", sas_token=shared(server), part_size=MIB)
        assert Capability.PRESIGN not in backend.capabilities
        await backend.put("sas/large", Body.of_bytes(data), if_absent=True)
        await backend.put("sas/small", Body.of_bytes(b"x"))
        await backend.copy("sas/large", "sas/copy")
        assert await read(backend, "sas/copy") == data
        names = [info.name async for info in backend.list("sas/")]
        assert names == ["sas/copy", "sas/large", "sas/small"]
        with pytest.raises(errors.UnsupportedError):
            await backend.presign("GET", "sas/small", expires_in=60)
        for name in names:
            await backend.discard(name)
        await backend.close()

    run(story())


def test_no_signature_of_a_link_is_in_an_error(server: AzureServer) -> None:
    async def story() -> None:
        token = shared(server)
        secret = token.rpartition("sig=")[2]
        async with Proxy("127.0.0.1", server.port) as proxy:
            endpoint = f"http://127.0.0.1:{proxy.port}/{server.account}"
            backend = store(
                server,
                Environment(clock=Clock()),
                endpoint=endpoint,
                credentials="sas",
                sas_token=token,
                retries=0,
            )
            await backend.put("secret", Body.of_bytes(noise(MIB)))
            faults: list[Fault] = [
                Fault(),
                Refuse(),
                Answer(503, code="ServerBusy"),
                Cut(after=900_000),
                Truncate(),
            ]
            for name, fault in zip(["absent", *["secret"] * 4], faults, strict=True):
                proxy.default = fault
                with pytest.raises(errors.HoldfastError) as caught:
                    await read(backend, name)
                text = "".join(traceback.format_exception(caught.value))
                assert secret not in text
                assert urllib.parse.unquote(secret) not in text
                if not isinstance(fault, Cut | Truncate):
                    with pytest.raises(errors.HoldfastError) as caught:
                        await backend.head(name)
                    assert secret not in "".join(traceback.format_exception(caught.value))
            assert secret not in repr(backend._settings) + repr(await backend._client.source.current())
            await backend.close()

    run(story())


def test_a_connection_string_is_enough(server: AzureServer) -> None:
    async def story() -> None:
        text = f"AccountName={server.account};AccountKey={server.account_key};BlobEndpoint={server.endpoint}"
        backend = store(
            server, account="", endpoint="", credentials="connection_string", connection_string=text
        )
        await backend.put("told", Body.of_bytes(b"x"))
        assert await read(backend, "told") == b"x"
        await backend.close()

    run(story())


class _Tokens:
    """Tokens that end when somebody says so."""

    def __init__(self) -> None:
        self.renewals = 0
        self.stuck = False
        self._held = Token(jwt())
        self._renewing = asyncio.Lock()

    async def current(self) -> Token:
        return self._held

    async def renew(self, stale: object) -> Token:
        async with self._renewing:
            if stale == self._held and not self.stuck:
                self.renewals += 1
                self._held = Token(jwt(number=self.renewals))
            return self._held


def test_a_token_that_ends_before_its_time_is_renewed_once_for_all() -> None:
    """The emulator takes tokens over TLS only and believes each, so here a service judges that does nothing else."""

    async def story() -> None:
        tokens, refused = _Tokens(), 0
        ended = f"Bearer {(await tokens.current()).value}"

        async def judge(request: web.Request) -> web.Response:
            nonlocal refused
            if request.headers["authorization"] == ended:
                refused += 1
                return web.Response(status=401, headers={"x-ms-error-code": "InvalidAuthenticationInfo"})
            headers = {"etag": '"e"', "last-modified": "Fri, 21 Nov 2025 10:00:00 GMT", OWN[0]: OWN[1]}
            return web.Response(body=b"bytes", headers=headers)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", judge)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            told = AzureSettings(
                account="acct",
                container="box",
                account_key=SecretStr("a2V5"),
                endpoint=f"http://127.0.0.1:{runner.addresses[0][1]}/acct",
                allow_http=True,
            )
            backend = open_azure("az", told, environment=Environment(clock=Clock()), source=tokens)
            heads = await asyncio.gather(*(backend.head(f"blob{number}") for number in range(64)))
            assert {head.size for head in heads} == {5}
            assert (tokens.renewals, refused > 0) == (1, True)
            assert await read(backend, "blob") == b"bytes"
            ended = f"Bearer {(await tokens.current()).value}"
            bodies = await asyncio.gather(*(read(backend, f"blob{number}") for number in range(64)))
            assert (set(bodies), tokens.renewals) == ({b"bytes"}, 2)
            ended, tokens.stuck = f"Bearer {(await tokens.current()).value}", True
            with pytest.raises(errors.UnauthenticatedError):
                await backend.head("blob")
            with pytest.raises(errors.UnauthenticatedError):
                await read(backend, "blob")
            await backend.close()
        finally:
            await runner.cleanup()

    run(story())


# -- links, by a client that knows nothing of stores


def test_links_allow_what_they_say_and_no_more(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server)
        name, options = "link/a+b=c~d", PutOptions("text/plain", {"a-b": "c"})
        await backend.put(name, Body.of_bytes(b"content"), options=options)
        disposition = "attachment; filename=\"u x.txt\"; filename*=UTF-8''%C3%BC"
        get = await backend.presign(
            "GET", name, expires_in=60, content_type="text/x", content_disposition=disposition
        )
        status, body, headers = plain("GET", get.url)
        assert (status, body, headers["content-type"]) == (200, b"content", "text/x")
        assert headers["content-disposition"] == disposition
        assert plain("PUT", get.url, b"evil", x_ms_blob_type="BlockBlob")[0] == 403
        assert plain("DELETE", get.url)[0] == 403
        assert plain("GET", get.url.replace("c~d", "c~e"))[0] == 403
        assert plain("GET", get.url.replace("sp=r", "sp=rw"))[0] == 403

        put = await backend.presign("PUT", "link/new", expires_in=60, content_type="image/png")
        assert put.headers["content-type"] == "image/png"
        status, _, _ = plain(
            "PUT", put.url, b"picture", **{k.replace("-", "_"): v for k, v in put.headers.items()}
        )
        assert status == 201
        assert plain("GET", put.url)[0] == 403
        assert await read(backend, "link/new") == b"picture"
        assert await read(backend, name) == b"content"
        await backend.close()

        before = store(server, Environment(clock=Clock(off=-3600)))
        ended = await before.presign("GET", name, expires_in=60)
        assert plain("GET", ended.url)[0] == 403
        await before.close()

    run(story())


def test_links_carry_the_public_address(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server, public_endpoint="https://blobs.example.org")
        signed = await backend.presign("GET", "a/b", expires_in=60)
        assert signed.url.startswith("https://blobs.example.org/holdfast-test/a/b?sv=")
        assert "spr=https&" in signed.url
        await backend.close()

    run(story())


# -- what the service keeps beside the bytes


def test_blobs_have_their_type_their_md5_and_their_tier(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server, part_size=MIB, access_tier="Cool")
        for size in (100, 2 * MIB + 5):
            data = noise(size)
            await backend.put("kept", Body.of_bytes(data), options=PutOptions("text/csv", {"a-b": "ä"}))
            answer = await backend._client.call(Where("test", "az"), "HEAD", "kept")
            md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
            assert answer.headers["content-md5"] == md5
            assert answer.headers["content-type"] == "text/csv"
            assert answer.headers["x-ms-access-tier"] == "Cool"
            assert (await backend.head("kept")).metadata == {"a-b": "ä"}
        await backend.copy("kept", "kept2")
        answer = await backend._client.call(Where("test", "az"), "HEAD", "kept2")
        assert (answer.headers["x-ms-access-tier"], answer.headers["content-type"]) == ("Cool", "text/csv")
        await backend.close()

    run(story())


def test_an_archived_blob_says_that_it_must_be_rehydrated(server: AzureServer) -> None:
    async def story() -> None:
        backend = store(server, access_tier="Archive")
        await backend.put("archived", Body.of_bytes(b"frozen"))
        assert (await backend.head("archived")).size == 6
        with pytest.raises(errors.ConflictError, match="rehydrated"):
            await read(backend, "archived")
        await backend.delete("archived")
        await backend.close()

    run(story())


# -- listings


def _page(names: list[str], marker: str, *, encoded: bool = False) -> bytes:
    facts = "<Properties><Content-Length>1</Content-Length></Properties>"
    flag = ' Encoded="true"' if encoded else ""
    items = "".join(f"<Blob><Name{flag}>{name}</Name>{facts}</Blob>" for name in names)
    folder = "<Blob><Name>dir</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>"
    return f"<EnumerationResults><Blobs>{folder}{items}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>".encode()


def test_pages_are_followed_even_empty_ones_and_strange_ones_refused(
    server: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        backend = store(server, api_version="2026-02-06")
        pages = [_page(["a", "b"], "m1"), _page([], "m2"), _page(["b%20c", "d"], "", encoded=True)]
        asked: list[dict[str, str]] = []

        async def call(where: Where, method: str, key: str = "", *, query: Any = (), **_: Any) -> Any:
            asked.append(dict(query))
            return Said(200, {}, pages[len(asked) - 1])

        monkeypatch.setattr(backend._client, "call", call)
        found = [
            info.name
            async for page in listing.blobs(backend._client, Where("list", "az"), "", after="a")
            for info in page
        ]
        assert found == ["b", "b c", "d"]
        assert [one.get("marker", "") for one in asked] == ["", "m1", "m2"]
        assert {one["startFrom"] for one in asked} == {"a"}
        for bad in ([b"<Other/>"], [b"no xml"], [_page(["a"], "m"), _page(["b"], "m")]):
            pages, asked = bad, []
            with pytest.raises(errors.UnavailableError):
                async for _ in listing.blobs(backend._client, Where("list", "az"), ""):
                    pass
        pages, asked = [_page(["b", "a"], "")], []
        with pytest.raises(errors.UnsupportedError, match="hierarchical"):
            async for _ in backend.list():
                pass
        await backend.close()

    run(story())


# -- a storm; `scripts/torture azure` makes a long one


def test_a_storm_of_faults_costs_no_byte(server: AzureServer) -> None:
    figures = run(storm(60, seed=20, server=server))
    assert figures.sound, str(figures)
    assert figures.faults >= 60
