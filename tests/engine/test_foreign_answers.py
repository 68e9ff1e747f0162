"""A gateway's page instead of the store's answer: nothing is taken for done, read, or removed."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from holdfast.backends._http import Http
from holdfast.backends.object_store import S3Settings, open_s3
from holdfast.backends.object_store.azure import AzureSettings, open_azure
from holdfast.backends.object_store.gcs import GcsSettings, open_gcs
from holdfast.core.backend import Backend
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import HoldfastError, NotFoundError, UnauthenticatedError, UnavailableError
from holdfast.engine.adopting import look
from holdfast.testing.fakes.gcs import FakeGcs

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]

MIB = 1 << 20
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Make = Callable[[str], Backend]
HTML = ("text/html", b"<html>Please sign in</html>")
EMPTY = ("text/plain", b"")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGcs]:
    with FakeGcs() as running:
        yield running


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=64 * MIB)
    app.router.add_route("*", "/{any:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, listening).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await runner.cleanup()


def page(status: int, kind: tuple[str, bytes], **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status, body=kind[1], content_type=kind[0], headers=headers)

    return answer


def gcs(fake: FakeGcs, base: str) -> Backend:
    values = {**fake.settings(), "endpoint": base, "retries": 0, "part_size": 5 * MIB}
    return open_gcs("far", GcsSettings.model_validate(values), environment=Environment())


def azure(base: str) -> Backend:
    values = {"account": "acct", "container": "box", "account_key": "QUJD", "endpoint": f"{base}/acct"}
    values |= {"allow_http": True, "retries": 0, "part_size": MIB}
    return open_azure("far", AzureSettings.model_validate(values), environment=Environment())


def s3(base: str, **changed: Any) -> Backend:
    values = {"bucket": "bbb", "access_key": "a", "secret_key": "b", "endpoint": base}
    values |= {"allow_http": True, "retries": 0, "part_size": 5 * MIB, "conditional_writes": True} | changed
    return open_s3("far", S3Settings.model_validate(values), environment=Environment())


async def got(store: Backend) -> None:
    async with store.get("a") as reader:
        await reader.read()


async def listed(store: Backend) -> None:
    async for _ in store.list():
        pass


#: What each verb does; large bodies go in parts, in blocks or through a session.
VERBS: dict[str, Callable[[Backend], Awaitable[Any]]] = {
    "put": lambda store: store.put("a", Body.of_bytes(b"precious")),
    "put if absent": lambda store: store.put("a", Body.of_bytes(b"precious"), if_absent=True),
    "large": lambda store: store.put("a", Body.of_bytes(b"p" * (6 * MIB))),
    "large if absent": lambda store: store.put("a", Body.of_bytes(b"p" * (6 * MIB)), if_absent=True),
    "head": lambda store: store.head("a"),
    "get": got,
    "copy": lambda store: store.copy("a", "b"),
    "list": listed,
    "delete": lambda store: store.delete("a"),
    "discard": lambda store: store.discard("a"),
}


async def believed(make: Make, handler: Handler, verbs: dict[str, Any]) -> dict[str, Any]:
    """Return what of `verbs` was no `UnavailableError`, and what came of it."""
    found: dict[str, Any] = {}
    async with served(handler) as base:
        store = make(base)
        try:
            for name, verb in verbs.items():
                try:
                    found[name] = await verb(store)
                except UnavailableError:
                    continue
                except HoldfastError as error:
                    found[name] = error
        finally:
            await store.close()
    return found


@pytest.mark.parametrize("kind", [HTML, EMPTY], ids=["page", "empty"])
@pytest.mark.parametrize("driver", ["gcs", "azure", "s3"])
def test_a_page_with_200_is_never_the_stores_word(
    driver: str, kind: tuple[str, bytes], fake: FakeGcs
) -> None:
    make: Make = {"gcs": lambda base: gcs(fake, base), "azure": azure, "s3": s3}[driver]
    found = asyncio.run(believed(make, page(200, kind), VERBS))
    if kind is EMPTY:
        found.pop(
            "get", None
        )  # the library takes the length of an empty body for its own error or for nothing
    assert not found


@pytest.mark.parametrize("driver", ["gcs", "azure"])
def test_a_page_without_content_has_stored_nothing(driver: str, fake: FakeGcs) -> None:
    make: Make = {"gcs": lambda base: gcs(fake, base), "azure": azure}[driver]
    verbs = {name: VERBS[name] for name in ("put", "put if absent", "large", "large if absent", "copy")}
    assert not asyncio.run(believed(make, page(204, EMPTY), verbs))


@pytest.mark.parametrize("driver", ["gcs", "azure", "s3"])
def test_a_page_with_404_has_removed_nothing(driver: str, fake: FakeGcs) -> None:
    make: Make = {"gcs": lambda base: gcs(fake, base), "azure": azure, "s3": s3}[driver]
    assert not asyncio.run(believed(make, page(404, HTML), {"delete": VERBS["delete"]}))


def test_a_batch_of_deletions_needs_its_own_answer() -> None:
    many = {"many": lambda store: store.delete_many(["a", "b"])}
    assert not asyncio.run(believed(s3, page(200, HTML), many))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ExpiredToken", UnauthenticatedError),
        ("InvalidRequest", UnavailableError),
        ("XMinioInvalidObjectName", NotFoundError),
        ("", UnavailableError),
    ],
)
def test_a_head_that_is_refused_is_not_the_word_that_nothing_is_there(
    code: str, kind: type[HoldfastError]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        body = f"<Error><Code>{code}</Code></Error>" if request.method == "GET" else ""
        return web.Response(status=200 if body and not code else 400, text=body)

    async def story() -> None:
        async with served(answer) as base:
            store = s3(base, session_token="t")
            if kind is NotFoundError:
                assert await look(store, "k", "k") is None
            else:
                with pytest.raises(kind):
                    await look(store, "k", "k")
            await store.close()

    asyncio.run(story())


def test_azure_says_201_with_an_etag() -> None:
    """Its mark alone is not enough: a frontend of the service may answer for something else."""
    own = {"x-ms-request-id": "1"}
    put = {"put": VERBS["put"]}
    assert not asyncio.run(believed(azure, page(200, EMPTY, **own, ETag='"1"'), put))
    assert not asyncio.run(believed(azure, page(201, EMPTY, **own), put))
    assert not asyncio.run(believed(azure, page(201, EMPTY, ETag='"1"'), put))
    found = asyncio.run(believed(azure, page(201, EMPTY, **own, ETag='"1"'), put))
    assert found["put"].etag == "1"


def test_gcs_is_asked_when_its_answer_does_not_say_what_was_made(fake: FakeGcs) -> None:
    """With the same bytes it is done; with others (an older blob) it is not, and they are left alone."""
    came: list[str] = []

    def answering(crc: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            await request.read()
            came.append(request.method)
            told = {"ETag": '"1"', "x-goog-hash": f"crc32c={crc}", "x-goog-generation": "7"}
            return web.Response(headers=told if request.method == "HEAD" else {})

        return answer

    def make(base: str) -> Backend:
        return gcs(fake, base)

    put = {"put": lambda store: store.put("a", Body.of_bytes(b"123456789"))}
    found = asyncio.run(believed(make, answering("4waSgw=="), put))
    assert found["put"].etag == "1"
    assert not asyncio.run(believed(make, answering("AAAAAA=="), put))
    assert came == ["PUT", "HEAD"] * 2


@pytest.mark.parametrize("size", ["9" * 5000, "9" * 19, "many", "-1", "²"])
def test_a_size_that_no_store_has_is_no_listing(size: str, fake: FakeGcs) -> None:
    own = {"x-ms-request-id": "1"}
    blobs = f"<Blob><Name>a</Name><Properties><Content-Length>{size}</Content-Length></Properties></Blob>"
    said = f"<EnumerationResults><Blobs>{blobs}</Blobs></EnumerationResults>".encode()
    work = {"list": listed}
    assert not asyncio.run(believed(azure, page(200, ("application/xml", said), **own), work))
    said = (
        f"<ListBucketResult><Contents><Key>a</Key><Size>{size}</Size></Contents></ListBucketResult>".encode()
    )
    assert not asyncio.run(believed(s3, page(200, ("application/xml", said)), work))
    assert not asyncio.run(believed(lambda base: gcs(fake, base), page(200, ("application/xml", said)), work))


@pytest.mark.parametrize(
    "answer",
    [
        b'{"access_token": "\\ud800", "expires_in": 60}',
        b'{"access_token": "a\\nb", "expires_in": 60}',
        b'{"access_token": "a", "expires_in": ' + b"9" * 5000 + b"}",
        b'{"a":' * 10_000,
    ],
)
def test_a_token_that_cannot_be_used_is_none(answer: bytes, fake: FakeGcs) -> None:
    async def story() -> None:
        async with served(page(200, ("application/json", answer))) as base:
            clock = ManualClock()
            http = Http("far", Environment(clock=clock))
            try:
                from holdfast.backends.object_store.gcs.exchanges import Exchange

                with pytest.raises(UnavailableError, match="no token"):
                    await Exchange(http, clock).refreshed("c", "s", "r", f"{base}/token")
            finally:
                await http.close()

    asyncio.run(story())


def test_a_token_for_ever_is_fetched_again_some_day() -> None:
    async def story() -> None:
        answer = b'{"access_token": "a", "expires_in": 1e999}'
        async with served(page(200, ("application/json", answer))) as base:
            from holdfast.backends.object_store.gcs.exchanges import Exchange

            clock = ManualClock()
            http = Http("far", Environment(clock=clock))
            try:
                found = await Exchange(http, clock).refreshed("c", "s", "r", f"{base}/token")
            finally:
                await http.close()
            assert found.expires is not None
            assert clock.now() < found.expires < clock.now() + 20 * 366 * 86_400_000_000

    asyncio.run(story())


def test_no_signature_of_a_url_is_in_what_is_chained() -> None:
    """The HTTP library's error for an answer that is no HTTP carries the URL, and a signature with it."""

    async def story() -> None:
        async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"nonsense\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        http, secret = Http("far", Environment()), "".join(("can", "ary"))
        try:
            with pytest.raises(UnavailableError) as caught:
                async with http.exchange("get", "a", "GET", f"http://127.0.0.1:{port}/a?sig={secret}"):
                    pass
        finally:
            await http.close()
            server.close()
        shown = "".join(traceback.format_exception(caught.value))
        assert secret not in shown
        assert secret not in repr(caught.value.__cause__)
        assert "ClientResponseError" in shown

    asyncio.run(story())


def test_keys_that_no_request_can_carry_are_refused_by_every_verb() -> None:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response({"AccessKeyId": "a\r\nX-Evil: 1", "SecretAccessKey": "b"})

    async def story() -> None:
        async with served(keys) as base:
            store = s3(base, access_key="", secret_key="", credentials="url", credentials_url=f"{base}/keys")
            try:
                for name in ("put", "head", "get", "delete"):
                    with pytest.raises(UnauthenticatedError, match="printable ASCII"):
                        await VERBS[name](store)
            finally:
                await store.close()

    asyncio.run(story())
