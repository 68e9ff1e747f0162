"""The parts of the Azure driver that need no server: settings, names, signatures, errors, blocks, identities."""

from __future__ import annotations

import asyncio
import base64
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.backends._http import Http
from holdfast.backends.object_store.azure import AzureSettings, Token, blocks, copying, metadata, open_azure
from holdfast.backends.object_store.azure.address import Address
from holdfast.backends.object_store.azure.connection import parse
from holdfast.backends.object_store.azure.errors import from_answer, from_obstore
from holdfast.backends.object_store.azure.identity import Identity, IdentitySource
from holdfast.backends.object_store.azure.signing import link, shared_key
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.upload import Feed
from holdfast.backends.registry import parse as parse_driver
from holdfast.core import errors
from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Capability
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import ConfigError, HoldfastError
from holdfast.testing import azurite
from holdfast.testing.servers import ServerMissingError
from tests.azure_tools import directory

pytestmark = pytest.mark.unit

MIB = 1 << 20
CANARY = "canary-4f1c"
KEY = base64.b64encode(CANARY.encode()).decode()
HERE = Where("put", "az", "blob")


def given(**values: Any) -> AzureSettings:
    return AzureSettings.model_validate({"account": "acct", "container": "box", "account_key": KEY} | values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"account_key": ""}, "give account_key, or choose another `credentials`"),
        ({"account_key": "not base64!"}, "must be base64"),
        ({"account": ""}, "name the storage account"),
        ({"container": "Not-A-Container"}, "pattern"),
        ({"endpoint": "http://127.0.0.1:1/acct"}, "allow_http"),
        ({"endpoint": f"https://u:{CANARY}@host/acct"}, "must not carry credentials"),
        ({"sas_token": f"sig={CANARY}"}, "sas_token belongs to"),
        ({"prefix": "a/../b"}, "segments"),
        ({"prefix": "a%2fb"}, "printable"),
        ({"token_file": "/x"}, "workload_identity"),
        ({"access_tier": "hot"}, "Hot"),
        ({"part_size": 4001 * MIB}, "less than or equal"),
        ({"credentials": "managed_identity"}, "account_key belongs to"),
        (
            {
                "credentials": "managed_identity",
                "account_key": "",
                "endpoint": "http://h/a",
                "allow_http": True,
            },
            "https",
        ),
        (
            {
                "credentials": "client_secret",
                "account_key": "",
                "client_secret": CANARY,
                "authority": "http://h",
            },
            "must not travel so",
        ),
        ({"credentials": "connection_string", "account_key": "", "connection_string": CANARY}, "AccountKey"),
    ],
)
def test_wrong_settings_are_refused_without_repeating_a_secret(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        given(**values)
    assert told in str(caught.value)
    with pytest.raises(ConfigError) as ours:
        parse_driver("azure", {"account": "acct", "container": "box", "account_key": KEY} | values)
    assert CANARY not in str(ours.value)
    assert KEY not in str(ours.value)


@pytest.mark.parametrize(
    ("text", "account", "endpoint"),
    [
        (
            "DefaultEndpointsProtocol=https;AccountName=one;AccountKey=a2V5;EndpointSuffix=core.windows.net",
            "one",
            "https://one.blob.core.windows.net",
        ),
        ("AccountName=one;AccountKey=a2V5==;BlobEndpoint=http://127.0.0.1:1/one", "one", "http://127.0.0.1:1/one"),
        ("BlobEndpoint=https://two.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=a%3D", "two", "https://two.blob.core.windows.net"),
    ],
)  # fmt: skip
def test_a_connection_string_tells_where_and_who(text: str, account: str, endpoint: str) -> None:
    told = parse(text)
    assert (told.account, told.endpoint) == (account, endpoint)
    assert told.key == text.partition("AccountKey=")[2].partition(";")[0]
    assert bool(told.sas) is ("Shared" in text)
    assert "a2V5" not in repr(told)


@pytest.mark.parametrize(
    "text",
    [
        "UseDevelopmentStorage=true",
        "AccountName=one",
        "AccountKey=a2V5",
        "AccountName=a;AccountKey=k;SharedAccessSignature=s",
        "DefaultEndpointsProtocol=ftp;AccountName=a;AccountKey=k",
    ],
)
def test_a_connection_string_that_says_too_little_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|emulator"):
        parse(text)


def test_settings_from_a_connection_string_need_nothing_else() -> None:
    told = given(
        account="",
        account_key="",
        credentials="connection_string",
        connection_string=f"AccountName=one;AccountKey={KEY}",
    )
    assert (told.account_name, told.service, told.tls) == ("one", "https://one.blob.core.windows.net", True)
    assert KEY not in repr(told)
    store = open_azure("az", told, environment=Environment())
    assert Capability.PRESIGN in store.capabilities
    asyncio.run(store.close())


def test_who_cannot_sign_offers_no_links() -> None:
    def offers(**values: Any) -> bool:
        store = open_azure("az", given(account_key="", **values), environment=Environment())
        asyncio.run(store.close())
        return Capability.PRESIGN in store.capabilities

    assert not offers(credentials="sas", sas_token="sv=1&sig=x")
    assert offers(credentials="managed_identity")
    assert not offers(credentials="managed_identity", delegation=False)
    with pytest.raises(ConfigError, match="sig"):
        offers(credentials="sas", sas_token="sv=1&st=2")


def test_a_foreign_encryption_key_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_ENCRYPTION_KEY", base64.b64encode(b"k" * 32).decode())
    with pytest.raises(ConfigError, match="AZURE_ENCRYPTION_KEY"):
        open_azure("az", given(), environment=Environment())


def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        open_azure("az", given(ca_file=tmp_path / "none"), environment=Environment())


def test_metadata_names_are_written_as_azure_takes_them_and_read_back() -> None:
    values = {"a-b": "1", "a_b": "2", "9.x": "3", "_2d": "4", "plain": "ä", "x-ms-2d": " "}
    values = {name: value for name, value in values.items() if name != "_2d"} | {"z_2d": "4"}
    headers = metadata.headers(values)
    assert all(name.removeprefix("x-ms-meta-").isidentifier() for name in headers)
    assert all(value.isascii() and value.strip() for value in headers.values())
    assert metadata.found({**headers, "etag": "x"}) == values
    assert metadata.named({"Foreign_Name": "v"}) == {"foreign_name": "v"}


def test_requests_and_links_are_signed_as_documented() -> None:
    """The lines that are signed, recomputed by hand for one request and one link."""
    headers = {
        "x-ms-date": "Fri, 21 Nov 2025 10:00:00 GMT",
        "x-ms-version": "2023-11-03",
        "range": "bytes=0-1",
    }
    query = [("comp", "list"), ("prefix", "a b"), ("restype", "container")]
    said = shared_key("GET", "/box/a%20b", query, headers, 0, account="acct", key=KEY)
    lines = ["GET", *[""] * 10, "bytes=0-1", "x-ms-date:" + headers["x-ms-date"], "x-ms-version:2023-11-03"]
    lines += ["/acct/box/a%20b", "comp:list", "prefix:a b", "restype:container"]
    assert said == f"SharedKey acct:{_mac(lines)}"

    query_text = link(
        "/blob/acct/box/a", permissions="r", expires=1_763_719_200_000_000, key=KEY, content_type="text/x"
    )
    expected = [
        "r",
        "",
        "2025-11-21T10:00:00Z",
        "/blob/acct/box/a",
        "",
        "",
        "https",
        "2022-11-02",
        "b",
        "",
        "",
    ]
    expected += ["", "", "", "", "text/x"]
    fields = dict(part.split("=", 1) for part in query_text.split("&"))
    assert fields["sig"] == _mac(expected).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    assert (fields["sp"], fields["se"]) == ("r", "2025-11-21T10%3A00%3A00Z")


def _mac(lines: list[str]) -> str:
    import hashlib
    import hmac

    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def test_an_address_has_the_account_where_the_endpoint_has_it() -> None:
    cloud = Address.of(given())
    assert cloud.origin + cloud.path("a b/c") == "https://acct.blob.core.windows.net/box/a%20b/c"
    near = Address.of(given(endpoint="http://127.0.0.1:9/acct", allow_http=True))
    assert near.origin + near.path("") == "http://127.0.0.1:9/acct/box"
    assert near.path(None) == "/acct/"
    assert near.resource("a b") == "/blob/acct/box/a b"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "BlobNotFound", errors.NotFoundError),
        (404, "ContainerNotFound", errors.ConfigError),
        (404, "", errors.NotFoundError),
        (403, "AuthenticationFailed", errors.UnauthenticatedError),
        (401, "InvalidAuthenticationInfo", errors.UnauthenticatedError),
        (403, "AuthorizationPermissionMismatch", errors.PermissionDeniedError),
        (403, "", errors.PermissionDeniedError),
        (409, "BlobImmutableDueToPolicy", errors.PermissionDeniedError),
        (409, "BlobArchived", AsleepError),
        (409, "SomethingNew", errors.ConflictError),
        (412, "LeaseIdMissing", errors.ConflictError),
        (412, "ConditionNotMet", errors.PreconditionFailedError),
        (400, "Md5Mismatch", errors.CorruptedError),
        (400, "InvalidOperation", errors.CorruptedError),
        (400, "InvalidBlockList", errors.UnavailableError),
        (400, "InvalidHeaderValue", errors.InvalidRequestError),
        (413, "RequestBodyTooLarge", errors.TooLargeError),
        (416, "InvalidRange", errors.InvalidRangeError),
        (500, "OperationTimedOut", errors.UnavailableError),
        (503, "ServerBusy", errors.RateLimitedError),
        (503, "", errors.RateLimitedError),
        (507, "AccountLimitExceeded", errors.QuotaExceededError),
        (502, "", errors.UnavailableError),
        (418, "", errors.InvalidRequestError),
        (501, "", errors.UnsupportedError),
    ],
)
def test_each_answer_has_its_kind(status: int, code: str, kind: type[HoldfastError]) -> None:
    error = from_answer(status, code, HERE, retry_after=3.0)
    assert type(error) is kind or (kind is errors.UnavailableError and isinstance(error, kind))
    assert (error.operation, error.store, error.name, error.retry_after) == ("put", "az", "blob", 3.0)
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("status", "code"), [(409, "BlobAlreadyExists"), (412, "ConditionNotMet"), (412, "")]
)
def test_a_condition_that_fails_means_taken_only_when_it_was_asked_for(status: int, code: str) -> None:
    own = Where("put", "az", "blob", if_absent=True)
    assert isinstance(from_answer(status, code, own), errors.AlreadyExistsError)
    assert isinstance(from_answer(409, "LeaseAlreadyPresent", own), errors.ConflictError)
    assert isinstance(from_answer(412, "LeaseIdMissing", own), errors.ConflictError)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("returned non-2xx status code: 404 Not Found: <Code>BlobNotFound</Code>", errors.NotFoundError),
        ("returned non-2xx status code: 404 Not Found: <Code>ContainerNotFound</Code>", errors.ConfigError),
        ("Wanted range starting at 5, but object was only 5 bytes long", errors.InvalidRangeError),
        ("invalid peer certificate: UnknownIssuer", errors.ConfigError),
        ("operation timed out", errors.UnavailableError),
        ("connection closed before message completed", errors.UnavailableError),
    ],
)
def test_what_the_library_says_is_understood(text: str, kind: type[HoldfastError]) -> None:
    assert type(from_obstore(RuntimeError(text), HERE)) is kind


def test_blocks_fit_the_body_and_the_memory() -> None:
    told = given()
    assert blocks.plan(None, told).reach == 50_000 * 8 * MIB
    assert blocks.plan(20 * MIB, told).part_size == 8 * MIB
    large = blocks.plan(100 * 1024 * 1024 * MIB, told)
    assert large.reach >= 100 * 1024 * 1024 * MIB
    assert large.part_size <= 4000 * MIB
    with pytest.raises(errors.TooLargeError):
        blocks.plan(50_000 * 4000 * MIB + 1, told)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 10_000])
def test_a_feed_is_cut_into_equal_blocks(size: int) -> None:
    data = bytes(range(256)) * 64

    async def story() -> list[bytes | memoryview]:
        async def source() -> AsyncIterator[bytes]:
            for at in range(0, size, 1000):
                yield data[at : min(at + 1000, size)]

        feed = Feed(Body.of_stream(source()), limit=1 << 30)
        return [block async for block in blocks.cut(feed, 4096)]

    found = asyncio.run(story())
    assert b"".join(found) == data[:size]
    assert [len(block) for block in found[:-1]] == [4096] * (len(found) - 1)
    assert all(found)


def identity(url: str, environ: dict[str, str] | None = None, **values: Any) -> Identity:
    told = given(account_key="", allow_http=True, **{"authority": url, **values})
    world = Environment(clock=ManualClock())
    return Identity("az", told, world, Http("az", world), environ or {})


def test_an_application_shows_its_secret_and_gets_a_token() -> None:
    async def story() -> None:
        async with directory() as gives:
            asking = identity(
                gives.url, credentials="client_secret", client_secret=CANARY, client_id="app", tenant_id="dir"
            )
            token = await asking.fetch()
            await asking._http.close()
        (asked,) = gives.asked
        assert (asked["path"], asked["client_id"], asked["client_secret"]) == (
            "/dir/oauth2/v2.0/token",
            "app",
            CANARY,
        )
        assert (asked["grant_type"], asked["scope"]) == (
            "client_credentials",
            "https://storage.azure.com/.default",
        )
        assert token.expires == 1_700_000_000_000_000 + 3600 * 1_000_000
        assert isinstance(token, Token)
        assert token.value not in repr(token)

    asyncio.run(story())


def test_a_workload_reads_its_token_file_each_time(tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "token"
        async with directory() as gives:
            environ = {
                "AZURE_CLIENT_ID": "app",
                "AZURE_TENANT_ID": "dir",
                "AZURE_FEDERATED_TOKEN_FILE": str(file),
                "AZURE_AUTHORITY_HOST": gives.url + "/",
            }
            asking = identity("", environ, credentials="workload_identity")
            for text in ("first", "second"):
                file.write_text(text + "\n")
                await asking.fetch()
            file.unlink()
            with pytest.raises(ConfigError, match="token_file cannot be read"):
                await asking.fetch()
            await asking._http.close()
        assert [asked["client_assertion"] for asked in gives.asked] == ["first", "second"]
        assert {asked["path"] for asked in gives.asked} == {"/dir/oauth2/v2.0/token"}

    asyncio.run(story())


def test_a_machine_asks_its_own_service() -> None:
    async def story() -> None:
        async with directory() as gives:
            machine = identity(gives.url + "/imds", credentials="managed_identity", client_id="mine")
            await machine.fetch()
            environ = {"IDENTITY_ENDPOINT": gives.url + "/app", "IDENTITY_HEADER": "word"}
            service = identity("", environ, credentials="managed_identity")
            await service.fetch()
            await machine._http.close()
            await service._http.close()
        first, second = gives.asked
        assert (first["path"], first["metadata"], first["client_id"]) == ("/imds", "true", "mine")
        assert (second["path"], second["x-identity-header"], second["api-version"]) == (
            "/app",
            "word",
            "2019-08-01",
        )
        assert first["resource"] == second["resource"] == "https://storage.azure.com/"

    asyncio.run(story())


def test_a_refused_identity_says_what_to_correct_and_no_secret() -> None:
    cases: list[tuple[int, Any, type[HoldfastError]]] = [
        (401, {"error": "invalid_client", "error_description": CANARY}, errors.UnauthenticatedError),
        (400, [CANARY], errors.UnauthenticatedError),
        (429, {}, errors.RateLimitedError),
        (503, {}, errors.UnavailableError),
        (404, {}, errors.UnavailableError),
        (200, {"access_token": CANARY}, errors.UnavailableError),
        (200, {"access_token": "", "expires_in": 5}, errors.UnavailableError),
        (200, {"access_token": CANARY, "expires_on": "1"}, errors.UnavailableError),
    ]

    async def story() -> None:
        async with directory() as gives:
            asking = identity(
                gives.url, credentials="client_secret", client_secret=CANARY, client_id="app", tenant_id="dir"
            )
            for status, body, kind in cases:
                gives.answers.append((status, body))
                with pytest.raises(kind) as caught:
                    await asking.fetch()
                assert CANARY not in "".join(traceback.format_exception(caught.value))
            missing = identity(gives.url, credentials="managed_identity")
            await missing.fetch()
            nobody = identity(gives.url, credentials="client_secret", client_secret=CANARY, tenant_id="dir")
            with pytest.raises(ConfigError, match="client_id or AZURE_CLIENT_ID"):
                await nobody.fetch()
            for one in (asking, missing, nobody):
                await one._http.close()

    asyncio.run(story())


def test_tokens_are_fetched_ahead_of_their_end_and_once_for_all() -> None:
    async def story() -> None:
        clock = ManualClock()
        async with directory() as gives:
            world = Environment(clock=clock)
            told = given(
                account_key="",
                allow_http=True,
                authority=gives.url,
                credentials="client_secret",
                client_secret=CANARY,
                client_id="app",
                tenant_id="dir",
            )
            http = Http("az", world)
            source = IdentitySource(Identity("az", told, world, http, {}).fetch, clock=clock)
            first = await asyncio.gather(*(source.current() for _ in range(64)))
            assert len(gives.asked) == 1
            assert len(set(first)) == 1
            clock.advance(3400)  # less than five minutes before the end
            assert await source.current() == first[0]
            renewal = source._running  # in the background: the old one still holds
            assert renewal is not None
            await renewal
            renewed = await asyncio.gather(*(source.renew(first[0]) for _ in range(64)))
            assert len(set(renewed)) == 1
            assert renewed[0] != first[0]
            assert len(gives.asked) == 2
            await http.close()

    asyncio.run(story())


def test_a_shared_access_source_carries_its_permission_into_a_copy() -> None:
    store = open_azure(
        "az",
        given(account_key="", credentials="sas", sas_token="?sv=1&sig=a%2Bb%3D&se=2030-01-01"),
        environment=Environment(),
    )
    url = asyncio.run(copying.own_source(store._client, "x/y"))
    assert url == "https://acct.blob.core.windows.net/box/x/y?sv=1&sig=a%2Bb%3D&se=2030-01-01"
    asyncio.run(store.close())


def test_the_server_for_tests_is_fetched_once_however_many_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = _fake_node(tmp_path, "mkdir -p node_modules/azurite/dist/src/blob; sleep 0.1; echo x >> $LOG")
    node.write_text(node.read_text() + "touch node_modules/azurite/dist/src/blob/main.js\n")
    log = tmp_path / "log"
    monkeypatch.setenv("LOG", str(log))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(azurite, "node", lambda: node)
    with ThreadPoolExecutor(4) as pool:
        folders = {future.result() for future in [pool.submit(azurite.installed) for _ in range(4)]}
    assert len(folders) == 1
    assert log.read_text() == "x\n"
    assert (folders.pop() / "package-lock.json").is_file()


def test_a_server_that_cannot_be_fetched_says_why_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    node = _fake_node(tmp_path, "echo the registry is far away >&2; mkdir node_modules; exit 1")
    monkeypatch.setattr(azurite, "node", lambda: node)
    with pytest.raises(ServerMissingError, match="the registry is far away"):
        azurite.installed()
    assert [path.suffix for path in (tmp_path / "cache" / "holdfast").iterdir()] == [".lock"]


def _fake_node(folder: Path, script: str) -> Path:
    path = folder / "node" / "bin" / "node"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_wrong_key_says_what_to_correct() -> None:
    error = from_answer(403, "AuthorizationFailure", Where("put", "az", "name"))
    assert all(
        word in error.message for word in ("account", "account_key", "container", "AuthorizationFailure")
    )
