"""Our signer against botocore's, byte for byte: header signatures and presigned URLs, on awkward keys and tokens."""

from __future__ import annotations

import datetime
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backends.object_store import sigv4
from holdfast.backends.object_store.credentials import Credentials

pytestmark = pytest.mark.unit

NOW = 1_795_231_496_603_870
MOMENT = datetime.datetime.fromtimestamp(NOW // 1_000_000, datetime.UTC).replace(tzinfo=None)
HOST = "bucket.s3.example.org:9000"
KEYS = [
    "plain",
    "a/b/c",
    "with space",
    "per%cent",
    "per%2Fcent",
    "plus+and=and&and?",
    "!$'()*+,:;=@_~-.",
    "a//b",
    "trailing/",
    "ключ/鍵/🔑",
    "#hash?query",
    "tab\tnewline\n",
    "x" * 1024,
]
QUERIES = [
    [],
    [("uploads", "")],
    [("list-type", "2"), ("prefix", "a b/+~*"), ("continuation-token", "1+/=")],
    [("partNumber", "10"), ("uploadId", "a.b~c_-="), ("B", "2"), ("a", "1"), ("a", "0")],
    [("response-content-disposition", "attachment; filename*=UTF-8''%D1%84.txt")],
]
TOKENS = [None, "token/with+odd=characters=="]


def ours(token: str | None) -> Credentials:
    return Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)


def theirs(token: str | None) -> BotoCredentials:
    return BotoCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)


def request(method: str, key: str, query: list[tuple[str, str]], headers: dict[str, str]) -> sigv4.Request:
    return sigv4.Request(method, HOST, "/bucket/" + sigv4.encode(key, keep="/"), query, headers)


def boto_request(mine: sigv4.Request) -> AWSRequest:
    query = sigv4.encode_query(mine.query)
    url = f"https://{HOST}{mine.path}{'?' + query if query else ''}"
    return AWSRequest(method=mine.method, url=url, headers=dict(mine.headers))


def compare_header(mine: sigv4.Request, token: str | None, payload: str) -> None:
    other = boto_request(mine)
    other.context["client_config"] = None
    other.context["payload_signing_enabled"] = payload != sigv4.UNSIGNED
    with mock.patch("botocore.auth.get_current_datetime", return_value=MOMENT):
        signer = S3SigV4Auth(theirs(token), "s3", "eu-north-1")
        with mock.patch.object(signer, "payload", return_value=payload):
            signer.add_auth(other)
    signed = sigv4.sign(mine, ours(token), region="eu-north-1", payload=payload, now=NOW)
    assert signed["authorization"] == other.headers["Authorization"]
    assert signed["x-amz-date"] == other.headers["X-Amz-Date"]
    assert signed.get("x-amz-security-token") == other.headers.get("X-Amz-Security-Token")


def compare_presigned(mine: sigv4.Request, token: str | None, seconds: int) -> None:
    other = boto_request(mine)
    with mock.patch("botocore.auth.get_current_datetime", return_value=MOMENT):
        S3SigV4QueryAuth(theirs(token), "s3", "eu-north-1", expires=seconds).add_auth(other)
    made = sigv4.presign(mine, ours(token), region="eu-north-1", expires_in=seconds, now=NOW)
    expected, found = urlsplit(other.url), urlsplit(f"https://{HOST}{made}")
    assert found.path == expected.path
    pairs = parse_qsl(found.query, keep_blank_values=True), parse_qsl(expected.query, keep_blank_values=True)
    assert sorted(pairs[0]) == sorted(pairs[1])


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("key", KEYS)
def test_the_header_signature_is_that_of_botocore(
    key: str, query: list[tuple[str, str]], token: str | None
) -> None:
    headers = {
        "X-Amz-Meta-B": "two  spaces ",
        "x-amz-meta-a": "1",
        "content-type": "text/plain; charset=utf-8",
    }
    compare_header(request("PUT", key, query, headers), token, "0f" * 32)
    compare_header(request("GET", key, query, {}), token, sigv4.UNSIGNED)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("key", KEYS)
def test_a_presigned_url_is_that_of_botocore(
    key: str, query: list[tuple[str, str]], token: str | None
) -> None:
    query = list(dict(query).items())  # botocore keeps one value per name when it presigns
    compare_presigned(request("GET", key, query, {}), token, 60)
    compare_presigned(request("PUT", key, query, {"content-type": "text/plain"}), token, 604_800)


@settings(max_examples=200, deadline=None)
@given(
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_any_key_and_query_value_sign_as_in_botocore(key: str, value: str) -> None:
    compare_header(request("POST", key, [("q", value)], {}), None, "ab" * 32)
    compare_presigned(request("GET", key, [("q", value)], {}), "t", 1)


def test_every_part_of_a_request_is_under_the_signature() -> None:
    base = request("GET", "key", [("a", "1")], {"x-amz-meta-a": "1"})
    variants = [
        base,
        request("PUT", "key", [("a", "1")], {"x-amz-meta-a": "1"}),
        request("GET", "kez", [("a", "1")], {"x-amz-meta-a": "1"}),
        request("GET", "key", [("a", "2")], {"x-amz-meta-a": "1"}),
        request("GET", "key", [("a", "1")], {"x-amz-meta-a": "2"}),
    ]
    signed = {sigv4.sign(v, ours(None), region="r", payload="00", now=NOW)["authorization"] for v in variants}
    signed.add(sigv4.sign(base, ours(None), region="r", payload="01", now=NOW)["authorization"])
    signed.add(sigv4.sign(base, ours(None), region="r", payload="00", now=NOW + 1_000_000)["authorization"])
    assert len(signed) == len(variants) + 2


def test_no_secret_is_in_a_repr() -> None:
    text = repr(ours("SESSION-CANARY"))
    assert "SESSION-CANARY" not in text
    assert "wJalr" not in text
    assert "AKIDEXAMPLE" in text
