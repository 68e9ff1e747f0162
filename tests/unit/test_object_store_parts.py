"""The pieces of the S3 backend that need no server: settings, errors, parts, XML, metadata, keys that expire."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import mmap
import weakref
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.backends.object_store import (
    Credentials,
    EnvironmentCredentials,
    RefreshingCredentials,
    S3Settings,
    control,
    library,
    listing,
    metadata,
    open_s3,
)
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.errors import KeysEndedError, Where, from_answer
from holdfast.backends.object_store.keys import Names
from holdfast.backends.object_store.multipart import composite_etag
from holdfast.backends.object_store.settings import MAX_PART, MIB
from holdfast.backends.object_store.upload import Feed, StoppedError, gather, parts, plan
from holdfast.backends.object_store.xml import SentPart, XmlError, completion, error_code, parse
from holdfast.core import errors
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock

pytestmark = pytest.mark.unit

CANARY = "canary-5f1c"
BASE = {"bucket": "b", "access_key": "k", "secret_key": CANARY}


# -- settings ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"endpoint": "http://host"}, "allow_http"),
        ({"endpoint": "ftp://host"}, "URL"),
        ({"endpoint": "https://user:pass@host"}, "access_key"),
        ({"secret_key": ""}, "secret_key"),
        ({"sse_c_key": "not base64!"}, "base64"),
        ({"sse_c_key": base64.b64encode(b"short").decode(), "sse": "sse-c"}, "32 bytes"),
        ({"sse": "sse-c"}, "sse_c_key"),
        ({"sse_kms_key_id": "x"}, "sse-kms"),
        ({"prefix": "a//b"}, "segments"),
        ({"prefix": "../up"}, "segments"),
        ({"part_size": 1}, "5242880"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError) as caught:
        S3Settings.model_validate({**BASE, **wrong})
    assert word in str(caught.value)
    assert CANARY not in str(caught.value)


# -- silence -------------------------------------------------------------------------------------------------------
def test_a_server_that_says_nothing_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        asked = 0

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = S3Settings.model_validate(
            {**BASE, "endpoint": endpoint, "allow_http": True, "read_timeout": 0.3}
        )
        backend = open_s3("far", settings, environment=Environment())
        try:
            for number, call in enumerate(
                (
                    lambda: backend.put("a", Body.of_bytes(b"x")),
                    lambda: backend.delete("a"),
                    lambda: backend.list().__anext__(),  # type: ignore[attr-defined]
                    lambda: backend.get("a").__aenter__(),
                ),
                1,
            ):
                with pytest.raises(errors.UnavailableError):
                    await call()
                assert asked == number
        finally:
            await backend.close()
            server.close()

    for module in (control, library):
        monkeypatch.setattr(module, "RETRIED", 0.1)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asyncio.run(story())


def test_sse_c_needs_tls() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    with pytest.raises(ValidationError, match="https"):
        S3Settings.model_validate(
            {**BASE, "endpoint": "http://h", "allow_http": True, "sse": "sse-c", "sse_c_key": key}
        )


def test_secrets_are_in_no_repr_and_no_dump() -> None:
    settings = S3Settings.model_validate({**BASE, "session_token": CANARY})
    backend = open_s3("s", settings, environment=Environment())
    for text in (repr(settings), str(settings.model_dump()), repr(backend), repr(vars(backend))):
        assert CANARY not in text


def test_a_missing_ca_file_and_a_missing_source_are_configuration_errors() -> None:
    with pytest.raises(errors.ConfigError, match="ca_file"):
        open_s3(
            "s", S3Settings.model_validate({**BASE, "ca_file": "/nonexistent/ca"}), environment=Environment()
        )
    with pytest.raises(errors.ConfigError, match="source"):
        open_s3("s", S3Settings(bucket="b", credentials="refreshing"), environment=Environment())


@pytest.mark.parametrize(
    ("extra", "url"),
    [
        ({}, "https://s3.us-east-1.amazonaws.com/b"),
        ({"endpoint": "https://h:443/"}, "https://h/b"),
        ({"endpoint": "https://h:8443/base"}, "https://h:8443/base/b"),
        ({"endpoint": "https://h:8443", "addressing": "virtual"}, "https://b.h:8443"),
        ({"endpoint": "https://[::1]:9000"}, "https://[::1]:9000/b"),
    ],
)
def test_addresses(extra: dict[str, object], url: str) -> None:
    assert Address.of(S3Settings.model_validate({**BASE, **extra})).url == url


def test_links_carry_the_public_endpoint() -> None:
    settings = S3Settings.model_validate({**BASE, "endpoint": "https://in", "public_endpoint": "https://out"})
    assert Address.of(settings, public=True).url == "https://out/b"


def test_checksums_follow_the_transport() -> None:
    def algorithm(**extra: object) -> str | None:
        return S3Settings.model_validate({**BASE, **extra}).checksum_algorithm

    assert algorithm() == "crc64nvme"
    assert algorithm(endpoint="http://h", allow_http=True) is None
    assert algorithm(endpoint="https://storage.googleapis.com") is None
    assert algorithm(checksum="when_required") is None
    assert algorithm(checksum="sha256") == "sha256"


# -- errors --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", errors.NotFoundError),
        (404, "", errors.NotFoundError),
        (404, "NoSuchBucket", errors.ConfigError),
        (404, "NoSuchUpload", errors.NotFoundError),
        (403, "AccessDenied", errors.PermissionDeniedError),
        (403, "", errors.PermissionDeniedError),
        (403, "InvalidAccessKeyId", errors.UnauthenticatedError),
        (403, "SignatureDoesNotMatch", errors.UnauthenticatedError),
        (400, "ExpiredToken", KeysEndedError),
        (403, "RequestTimeTooSkewed", errors.UnauthenticatedError),
        (401, "", errors.UnauthenticatedError),
        (412, "PreconditionFailed", errors.PreconditionFailedError),
        (409, "", errors.ConflictError),
        (409, "OperationAborted", errors.UnavailableError),
        (503, "SlowDown", errors.RateLimitedError),
        (429, "", errors.RateLimitedError),
        (503, "", errors.UnavailableError),
        (500, "InternalError", errors.UnavailableError),
        (408, "", errors.UnavailableError),
        (400, "EntityTooLarge", errors.TooLargeError),
        (413, "", errors.TooLargeError),
        (403, "QuotaExceeded", errors.QuotaExceededError),
        (507, "XMinioStorageFull", errors.QuotaExceededError),
        (400, "BadDigest", errors.CorruptedError),
        (416, "InvalidRange", errors.InvalidRangeError),
        (501, "NotImplemented", errors.UnsupportedError),
        (301, "PermanentRedirect", errors.ConfigError),
        (400, "Whatever", errors.InvalidRequestError),
    ],
)
def test_every_answer_has_its_kind(status: int, code: str, kind: type[errors.HoldfastError]) -> None:
    error = from_answer(status, code, Where("put", "store", "name"), retry_after=3)
    assert type(error) is kind
    assert (error.operation, error.store, error.name, error.retry_after) == ("put", "store", "name", 3)


@pytest.mark.parametrize(
    ("status", "code"), [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")]
)
def test_a_failed_condition_of_if_absent_means_taken(status: int, code: str) -> None:
    assert type(from_answer(status, code, Where("put", "s", "n", True))) is errors.AlreadyExistsError


# -- parts ---------------------------------------------------------------------------------------------------------
@given(st.integers(0, 5 << 40), st.integers(5 * MIB, 5 << 30), st.integers(1, 64))
def test_a_plan_holds_the_whole_body(size: int, part_size: int, concurrency: int) -> None:
    made = plan(size, part_size=part_size, concurrency=concurrency)
    assert made.reach >= size
    assert part_size <= made.part_size <= MAX_PART
    assert made.concurrency >= 1
    assert made.part_size * made.concurrency <= max(made.part_size, part_size * concurrency)


def test_an_unknown_length_reaches_far_and_too_much_is_refused() -> None:
    assert plan(None, part_size=8 * MIB, concurrency=4).reach >= 150 << 30
    assert plan(None, part_size=264 * MIB, concurrency=1).reach >= 5 << 40
    with pytest.raises(errors.TooLargeError):
        plan(MAX_PART * 10_001, part_size=8 * MIB, concurrency=4)


async def _pieces(sizes: list[int]) -> AsyncIterator[bytes]:
    for index, size in enumerate(sizes):
        yield bytes([index % 256]) * size


@given(st.lists(st.integers(1, 3 << 20), max_size=6), st.integers(1 << 19, 2 << 20))
def test_parts_are_equal_and_complete(sizes: list[int], part_size: int) -> None:
    async def collect() -> list[memoryview]:
        return [part async for part in parts(Feed(Body.of_stream(_pieces(sizes)), limit=1 << 40), part_size)]

    got = asyncio.run(collect())
    assert b"".join(got) == b"".join(bytes([i % 256]) * n for i, n in enumerate(sizes))
    assert all(len(part) == part_size for part in got[:-1])
    assert len(got) >= 1


def test_each_part_has_memory_of_its_own_that_nobody_writes_to() -> None:
    async def collect() -> list[memoryview]:
        return [
            part async for part in parts(Feed(Body.of_stream(_pieces([700, 700, 700])), limit=1 << 20), 512)
        ]

    got = asyncio.run(collect())
    assert [len(part) for part in got] == [512, 512, 512, 512, 52]
    assert all(part.readonly and isinstance(part.obj, mmap.mmap) for part in got)
    assert len({id(part.obj) for part in got}) == len(got)
    gone = weakref.ref(got[0].obj)
    del got[0]
    assert gone() is None  # its pages went back to the system


def test_a_feed_yields_at_most_one_mebibyte_and_counts() -> None:
    async def check() -> None:
        feed = Feed(Body.of_stream(_pieces([5 << 20, 3])), limit=1 << 40)
        lengths = [len(chunk) async for chunk in feed]
        assert max(lengths) == 1 << 20
        assert feed.size == sum(lengths) == (5 << 20) + 3

    asyncio.run(check())


@pytest.mark.parametrize(
    ("announced", "kind"), [(9, errors.DigestMismatchError), (11, errors.DigestMismatchError)]
)
def test_a_feed_of_another_length_is_an_error(announced: int, kind: type[Exception]) -> None:
    async def check() -> None:
        body = Body(lambda: _pieces([10]), announced, False)
        with pytest.raises(kind):
            [chunk async for chunk in Feed(body, limit=1 << 40)]

    asyncio.run(check())


def test_a_feed_past_the_limit_is_too_large() -> None:
    async def check() -> None:
        with pytest.raises(errors.TooLargeError, match="part_size"):
            [chunk async for chunk in Feed(Body.of_stream(_pieces([10, 10])), limit=15)]

    asyncio.run(check())


def test_a_stopped_feed_raises_also_while_it_waits_for_its_source() -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield b"x" * (1 << 20)
        await asyncio.sleep(60)

    async def check() -> None:
        feed = Feed(Body.of_stream(silent()), limit=1 << 40)
        await anext(feed)
        waiting = asyncio.ensure_future(_next(feed))
        await asyncio.sleep(0.01)
        feed.stop()
        with pytest.raises(StoppedError):
            await waiting
        with pytest.raises(StoppedError):
            await anext(feed)

    async def _next(feed: Feed) -> memoryview:
        return await anext(feed)

    asyncio.run(check())


def test_the_etag_of_parts_is_predicted() -> None:
    empty = "d41d8cd98f00b204e9800998ecf8427e"
    assert composite_etag([f'"{empty}"']) == "59adb24ef3cdbe0297f05b395827453f-1"
    assert composite_etag(["not-md5"]) is None


@given(st.lists(st.integers(1, 50), max_size=8), st.integers(0, 120))
def test_a_body_of_unknown_length_is_gathered_or_left_whole(sizes: list[int], limit: int) -> None:
    async def check() -> None:
        whole = b"".join(bytes([i % 256]) * n for i, n in enumerate(sizes))
        data, body = await gather(Body.of_stream(_pieces(sizes)), limit)
        assert (data is not None) == (len(whole) <= limit)
        assert (data if data is not None else await body.read()) == whole

    asyncio.run(check())


# -- names ---------------------------------------------------------------------------------------------------------
_GRAMMAR = st.from_regex(
    r"[A-Za-z0-9!$'()*+,.:;=@_~-]{1,3}(/[A-Za-z0-9!$'()*+,:;=@_~-]{1,3}){0,2}", fullmatch=True
)


@given(
    st.lists(_GRAMMAR.filter(lambda name: name.split("/")[0] not in (".", "..")), max_size=8), st.booleans()
)
def test_keys_keep_the_order_of_names_and_lead_back(names: list[str], terminated: bool) -> None:
    codec = Names("pre/", terminated=terminated)
    keys = sorted(codec.key(name) for name in names)
    assert [codec.name(key) for key in keys] == sorted(names)
    if terminated:
        assert not any(other.startswith(key + "/") for key in keys for other in keys)


@pytest.mark.parametrize(
    ("prefix", "possible"),
    [("", True), ("a/", True), ("..", False), ("a/../b", False), ("./", False), (".", True), ("..a", True)],
)
def test_prefixes_that_no_key_has(prefix: str, possible: bool) -> None:
    assert Names("").possible(prefix) is possible


# -- XML -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"\xff\xfe<\x00",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        "<!DOCTYPE x><x/>".encode("utf-16"),
        b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
    ],
)
def test_dangerous_or_broken_xml_is_refused(body: bytes) -> None:
    with pytest.raises(XmlError):
        parse(body)


def test_xml_is_read_without_namespaces_and_written_escaped() -> None:
    root = parse(b'<?xml version="1.0"?><E xmlns="urn:x"><Code>C</Code></E>')
    assert (root.tag, root.findtext("Code")) == ("E", "C")
    assert error_code(b"<Error><Code> SlowDown </Code></Error>") == "SlowDown"
    assert error_code(b"<html>") == ""
    assert b"<ETag>&lt;&amp;</ETag>" in completion([SentPart(1, "<&")])


# -- metadata ------------------------------------------------------------------------------------------------------
@given(st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,10}", fullmatch=True), st.text(max_size=50)))
def test_metadata_survives_as_ascii(values: dict[str, str]) -> None:
    sent = metadata.encode(values)
    assert all(value.isascii() and value.isprintable() for value in sent.values())
    assert metadata.decode(sent) == values


@pytest.mark.parametrize("name", ["", "A", "a b", "é", "a\r\nb", "-a"])
def test_a_metadata_name_that_no_header_can_have_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidRequestError):
        metadata.encode({name: "x"})


@pytest.mark.parametrize("value", ["", "a/b\r\nx: y", "é", "x" * 300])
def test_a_content_type_that_no_header_can_carry_is_refused(value: str) -> None:
    with pytest.raises(errors.InvalidRequestError):
        metadata.check_content_type(value)


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(errors.InvalidRequestError):
        metadata.encode({"a": "\ud800"})


# -- keys ----------------------------------------------------------------------------------------------------------
def test_keys_are_fetched_once_for_all_who_wait_and_again_ahead_of_their_end() -> None:
    clock = ManualClock()
    made: list[Credentials] = []

    async def fetch() -> Credentials:
        await asyncio.sleep(0.01)
        made.append(Credentials(f"k{len(made)}", "s", expires=clock.now() + 900_000_000))
        return made[-1]

    async def check() -> None:
        source = RefreshingCredentials(fetch, clock=clock)
        first = await asyncio.gather(*(source.current() for _ in range(20)))
        assert {keys.access_key for keys in first} == {"k0"}
        clock.advance(500)
        assert (await source.current()).access_key == "k0"
        clock.advance(150)  # less than five minutes left: the old ones still, new ones in the background
        assert (await source.current()).access_key == "k0"
        await asyncio.sleep(0.05)
        assert (await source.current()).access_key == "k1"
        assert len(made) == 2

    asyncio.run(check())


def test_a_failed_renewal_is_hidden_while_the_old_keys_hold_and_raised_after() -> None:
    clock = ManualClock()
    answers: list[Credentials | Exception] = [Credentials("k0", "s", expires=clock.now() + 400_000_000)]

    async def fetch() -> Credentials:
        answer = answers.pop(0) if answers else errors.UnavailableError("no keys")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def check() -> None:
        source = RefreshingCredentials(fetch, clock=clock)
        await source.current()
        clock.advance(200)
        assert (await source.current()).access_key == "k0"
        await asyncio.sleep(0)
        clock.advance(300)
        with pytest.raises(errors.UnavailableError):
            await source.current()
        answers.append(Credentials("k1", "s"))
        assert (await source.current()).access_key == "k1"

    asyncio.run(check())


def test_a_caller_that_gives_up_does_not_take_the_keys_from_the_others() -> None:
    async def fetch() -> Credentials:
        await asyncio.sleep(0.05)
        return Credentials("k", "s")

    async def check() -> None:
        source = RefreshingCredentials(fetch, clock=ManualClock())
        impatient = asyncio.ensure_future(source.current())
        patient = asyncio.ensure_future(source.current())
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert (await patient).access_key == "k"

    asyncio.run(check())


def test_environment_keys() -> None:
    environ: dict[str, str] = {}
    source = EnvironmentCredentials(environ)
    with pytest.raises(errors.ConfigError, match="AWS_ACCESS_KEY_ID"):
        asyncio.run(source.current())
    environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    assert asyncio.run(source.current()) == Credentials("a", "s", "t")


@pytest.mark.parametrize(
    "after", ["", "<Owner><ID>x</ID><DisplayName>y</DisplayName></Owner>", "<New>z</New>"]
)
@pytest.mark.parametrize(
    "key",
    [
        "plain",
        "a&amp;b",
        "a%2Bb+c",
        "&#252;",
        "&lt;x&gt;",
        "<![CDATA[x]]>",
        "x<!-- c -->y",
        "ü",
        "a&amp;lt;b",
    ],
)
@pytest.mark.parametrize("coded", [True, False])
def test_a_page_read_by_the_pattern_says_what_it_says_as_xml(key: str, after: str, coded: bool) -> None:
    item = (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-21T16:11:53.320Z</LastModified><ETag>&#34;abc-7&#34;</ETag>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>5</Size><StorageClass>STANDARD</StorageClass>{after}</Contents>"
    )
    encoding = "<EncodingType>url</EncodingType>" if coded else ""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>false</IsTruncated>{item}{item}{encoding}</ListBucketResult>"
    ).encode()
    where = Where("list", "s")
    root = listing._parse(body, where, "ListBucketResult")
    page, rest = listing._page(body, where)
    assert page == [listing._object(one, root, where) for one in root.iterfind("Contents")]
    assert rest.findtext("IsTruncated") == "false"
