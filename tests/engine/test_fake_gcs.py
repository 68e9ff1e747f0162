"""The fake of Google Cloud Storage does what its documentation says, clause by clause, seen by a plain HTTP client."""

from __future__ import annotations

import base64
import gc
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import Any
from urllib.parse import quote

import pytest

from holdfast.core.clock import ManualClock
from holdfast.testing.fakes.gcs import FakeGcs, Fault
from holdfast.testing.fakes.gcs.accounts import EMAIL

pytestmark = pytest.mark.engine

PIECE = 256 << 10
DAY = 86_400.0


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        found = re.search(rb"<Code>(\w+)</Code>", self.body)
        return found[1].decode() if found else ""

    def text(self, tag: str) -> list[str]:
        return [one.decode() for one in re.findall(rf"<{tag}>([^<]*)</{tag}>".encode(), self.body)]


class Client:
    """Says exactly what it is told to."""

    def __init__(self, fake: FakeGcs, clock: ManualClock) -> None:
        self.fake, self.clock = fake, clock
        self.token = fake.accounts.give()[0]

    def say(
        self, method: str, target: str, body: bytes = b"", *, token: str | None = None, **headers: Any
    ) -> Got:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        shown = self.token if token is None else token
        if shown:
            sent["authorization"] = f"Bearer {shown}"
        connection = http.client.HTTPConnection(self.fake.endpoint.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            found: dict[str, str] = {}
            for name, value in answer.getheaders():
                lowered = name.lower()
                found[lowered] = f"{found[lowered]}, {value}" if lowered in found else value
            return Got(answer.status, found, answer.read())
        finally:
            connection.close()


@pytest.fixture
def client() -> Iterator[Client]:
    clock = ManualClock()
    with FakeGcs(now=clock.now, least_part=100, rewrite_step=1000) as fake:
        yield Client(fake, clock)


def test_a_token_is_needed_that_holds(client: Client) -> None:
    assert (
        client.say("GET", "/blobs/x", token="").status,
        client.say("GET", "/blobs/x", token="?").status,
    ) == (401, 401)
    assert client.say("GET", "/blobs/x").status == 404
    client.clock.advance(3599)
    assert client.say("GET", "/blobs/x").status == 404
    client.clock.advance(1)
    assert (client.say("GET", "/blobs/x").status, client.say("GET", "/blobs/x").code) == (
        401,
        "AuthenticationRequired",
    )
    client.token = client.fake.accounts.give()[0]
    client.fake.accounts.end_all()
    assert client.say("GET", "/blobs/x").status == 401


def assertion(client: Client, **changed: object) -> str:
    now = client.clock.now() // 1_000_000
    claims = {"iss": EMAIL, "aud": f"{client.fake.endpoint}/token", "iat": now, "exp": now + 3600, **changed}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    proof = base64.urlsafe_b64encode(client.fake.accounts.sign(text)).rstrip(b"=")
    return f"{text.decode()}.{proof.decode()}"


def grant(client: Client, **form: str) -> Got:
    kind = form.pop("kind")
    body = "&".join(f"{name}={quote(value, safe='')}" for name, value in form.items())
    whole = f"grant_type={quote(kind, safe='')}&{body}".encode()
    return client.say("POST", "/token", whole, token="")


@pytest.mark.parametrize(
    "changed", [{"iss": "other"}, {"aud": "https://elsewhere"}, {"exp": 10**12}, {"iat": 0}, {"exp": 0}]
)
def test_an_account_proves_itself_by_a_signed_claim(client: Client, changed: dict[str, object]) -> None:
    kind = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    good = grant(client, kind=kind, assertion=assertion(client))
    assert good.status == 200
    assert client.say("GET", "/blobs/x", token=json.loads(good.body)["access_token"]).status == 404
    assert grant(client, kind=kind, assertion=assertion(client, **changed)).status == 400
    assert json.loads(grant(client, kind=kind, assertion=assertion(client) + "AA").body) == {
        "error": "invalid_grant"
    }


def test_other_grants(client: Client) -> None:
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    assert grant(client, kind="refresh_token", refresh_token="refresh-token").status == 200
    assert grant(client, kind="refresh_token", refresh_token="other").status == 400
    assert grant(client, kind=exchange, subject_token="subject-token", audience="a").status == 200
    assert grant(client, kind=exchange, subject_token="subject-token").status == 400
    assert json.loads(grant(client, kind="password").body) == {"error": "unsupported_grant_type"}
    client.fake.accounts.refusing = "access_denied"
    assert (
        json.loads(grant(client, kind="refresh_token", refresh_token="refresh-token").body)["error"]
        == "access_denied"
    )
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    assert client.say("GET", path, token="").status == 403
    assert json.loads(client.say("GET", path, token="", metadata_flavor="Google").body)["expires_in"] == 3600


def test_an_object_and_its_digests(client: Client) -> None:
    data = b"123456789"
    put = client.say("PUT", "/blobs/a%2Fb", data, content_type="text/plain", x_goog_meta_colour="red")
    etag = md5(data).hexdigest()
    assert (put.status, put.headers["etag"]) == (200, f'"{etag}"')
    assert put.headers["x-goog-hash"].startswith("crc32c=4waSgw==, md5=")  # the check value of CRC-32C
    for method, body in (("GET", data), ("HEAD", b"")):
        got = client.say(method, "/blobs/a/b")
        assert (got.status, got.body, got.headers["content-length"]) == (200, body, "9")
        assert (got.headers["content-type"], got.headers["x-goog-meta-colour"]) == ("text/plain", "red")
        assert got.headers["x-goog-generation"] == put.headers["x-goog-generation"]
    again = client.say("PUT", "/blobs/a%2Fb", b"")
    assert int(again.headers["x-goog-generation"]) > int(put.headers["x-goog-generation"])
    assert "x-goog-meta-colour" not in client.say("HEAD", "/blobs/a/b").headers
    assert client.say("DELETE", "/blobs/a/b").status == 204
    assert [client.say(method, "/blobs/a/b").status for method in ("DELETE", "GET", "HEAD")] == [404] * 3


def test_what_is_announced_is_compared(client: Client) -> None:
    wrong = {"x_goog_hash": "crc32c=AAAAAA=="}, {"content_md5": base64.b64encode(bytes(16)).decode()}
    for headers in wrong:
        assert client.say("PUT", "/blobs/x", b"data", **headers).code == "BadDigest"
    assert client.fake.bucket.objects == {}
    assert client.say("PUT", "/blobs/x", b"123456789", x_goog_hash="crc32c=4waSgw==").status == 200
    long = {"x_goog_meta_a": "m" * 4100, "x_goog_meta_b": "m" * 4100}
    assert client.say("PUT", "/blobs/x", b"", **long).code == "MetadataTooLarge"
    assert client.say("PUT", f"/blobs/{'n' * 1025}").code == "InvalidObjectName"
    assert client.say("PUT", "/blobs/y", b"", x_goog_copy_source="blobs/x").status == 501


def test_preconditions_go_by_generation(client: Client) -> None:
    first = client.say("PUT", "/blobs/x", b"1", x_goog_if_generation_match="0")
    assert first.status == 200
    assert client.say("PUT", "/blobs/x", b"2", x_goog_if_generation_match="0").status == 412
    number = first.headers["x-goog-generation"]
    assert client.say("PUT", "/blobs/x", b"3", x_goog_if_generation_match=number).status == 200
    assert client.say("DELETE", "/blobs/x", x_goog_if_generation_match=number).status == 412
    assert client.say("GET", f"/blobs/x?generation={number}").status == 404
    assert client.fake.bucket.objects["x"].data == b"3"


@pytest.mark.parametrize(
    ("wish", "status", "body"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_ranges(client: Client, wish: str, status: int, body: bytes | None) -> None:
    client.say("PUT", "/blobs/x", b"0123456789")
    got = client.say("GET", "/blobs/x", range=wish)
    assert got.status == status
    if body is None:
        assert got.code == "InvalidRange"
    else:
        assert (got.body, got.headers["content-range"].endswith("/10")) == (body, True)


def test_listings_are_in_byte_order_page_by_page(client: Client) -> None:
    names = ["a", "a b", "a/b", "z", "é", "𝄞"]
    for name in reversed(names):
        client.say("PUT", f"/blobs/{quote(name)}", b"x")
    asked, token, found = "/blobs?list-type=2&max-keys=4&encoding-type=url", "", []
    for _ in range(2):
        page = client.say("GET", asked + (f"&continuation-token={quote(token, safe='')}" if token else ""))
        found += page.text("Key")
        token = "".join(page.text("NextContinuationToken"))
    assert found == [quote(name) for name in names]
    assert (token, page.text("IsTruncated")) == ("", ["false"])
    assert client.say("GET", "/blobs?list-type=2&prefix=a&start-after=a").text("Key") == ["a b", "a/b"]
    assert client.say("GET", "/blobs?list-type=2&continuation-token=%3F").status == 400
    assert client.say("GET", "/other?list-type=2").code == "NoSuchBucket"


def test_an_upload_in_parts(client: Client) -> None:
    upload = "".join(client.say("POST", "/blobs/x?uploads", x_goog_meta_a="1").text("UploadId"))
    etags = [
        client.say("PUT", f"/blobs/x?partNumber={number}&uploadId={upload}", data).headers["etag"]
        for number, data in ((1, b"a" * 100), (2, b"b"))
    ]
    assert client.say("GET", "/blobs?uploads&prefix=x").text("UploadId") == [upload]
    assert client.say("GET", "/blobs/x").status == 404

    def complete(*parts: tuple[int, str]) -> Got:
        items = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>" for n, e in parts)
        body = f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>".encode()
        return client.say("POST", f"/blobs/x?uploadId={upload}", body)

    assert complete((2, etags[1]), (1, etags[0])).code == "InvalidPartOrder"
    assert complete((1, etags[1]), (2, etags[1])).code == "InvalidPart"
    assert complete().code == "InvalidPartOrder"
    done = complete((1, etags[0]), (2, etags[1]))
    assert done.status == 200
    assert re.fullmatch(r'(&quot;|")[0-9a-f]{32}-2(&quot;|")', "".join(done.text("ETag")))
    got = client.say("GET", "/blobs/x")
    assert (got.body, got.headers["x-goog-meta-a"]) == (b"a" * 100 + b"b", "1")
    assert "md5=" not in got.headers["x-goog-hash"]
    assert got.headers["x-goog-hash"] == done.headers["x-goog-hash"]
    assert complete((1, etags[0])).code == "NoSuchUpload"


def test_parts_have_rules(client: Client) -> None:
    assert client.say("POST", "/blobs/x?uploads", x_goog_if_generation_match="0").status == 400
    upload = "".join(client.say("POST", "/blobs/x?uploads").text("UploadId"))
    assert client.say("PUT", f"/blobs/x?partNumber=0&uploadId={upload}", b"p").status == 400
    assert client.say("PUT", f"/blobs/y?partNumber=1&uploadId={upload}", b"p").code == "NoSuchUpload"
    etag = client.say("PUT", f"/blobs/x?partNumber=1&uploadId={upload}", b"p").headers["etag"]
    small = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number in (1, 2))
    client.say("PUT", f"/blobs/x?partNumber=2&uploadId={upload}", b"p")
    body = f"<C>{small}</C>".encode()
    assert client.say("POST", f"/blobs/x?uploadId={upload}", body).code == "EntityTooSmall"
    assert client.say("POST", f"/blobs/x?uploadId={upload}", b"<").code == "MalformedXML"
    assert client.say("DELETE", f"/blobs/x?uploadId={upload}").status == 204
    assert client.say("DELETE", f"/blobs/x?uploadId={upload}").status == 404
    for key in ("b", "a", "a"):
        client.say("POST", f"/blobs/{key}?uploads")
    first = client.say("GET", "/blobs?uploads&max-uploads=2")
    assert (first.text("Key"), first.text("NextKeyMarker")) == (["a", "a"], ["a"])
    marker = "".join(first.text("NextUploadIdMarker"))
    second = client.say("GET", f"/blobs?uploads&key-marker=a&upload-id-marker={marker}")
    assert (second.text("Key"), second.text("IsTruncated")) == (["b"], ["false"])


def begun(client: Client, **headers: Any) -> str:
    answer = client.say("POST", "/blobs/x", x_goog_resumable="start", **headers)
    assert answer.status == 201
    return answer.headers["location"].removeprefix(client.fake.endpoint)


def test_a_session_goes_on_where_it_stands(client: Client) -> None:
    where = begun(client, content_type="text/plain")
    size = PIECE + 10
    assert client.say("PUT", where, content_range="bytes */*").status == 308
    more = client.say("PUT", where, b"a" * size, content_range=f"bytes 0-{size - 1}/*")
    assert (more.status, more.headers["range"]) == (308, f"bytes=0-{PIECE - 1}")
    assert client.say("PUT", where, content_range="bytes */*").headers["range"] == f"bytes=0-{PIECE - 1}"
    assert client.say("PUT", where, b"b", content_range=f"bytes {size}-{size}/*").status == 503
    assert client.say("PUT", where, b"b", content_range="bytes 0-5/*").status == 400
    end = PIECE + 2
    done = client.say("PUT", where, b"zz", content_range=f"bytes {PIECE}-{end - 1}/{end}")
    assert (done.status, client.fake.bucket.objects["x"].data) == (200, b"a" * PIECE + b"zz")
    again = client.say("PUT", where, content_range=f"bytes */{end}")
    assert (again.status, again.headers["x-goog-hash"]) == (200, done.headers["x-goog-hash"])


def test_a_session_has_a_condition_and_an_end(client: Client) -> None:
    where = begun(client, x_goog_if_generation_match="0")
    client.say("PUT", "/blobs/x", b"somebody else's")
    assert client.say("PUT", where, b"mine", content_range="bytes 0-3/4").status == 412
    assert client.fake.bucket.objects["x"].data == b"somebody else's"
    assert (
        client.say("POST", "/blobs/x", x_goog_resumable="start", x_goog_if_generation_match="0").status == 412
    )
    where = begun(client)
    assert client.say("DELETE", where).status == 499
    assert client.say("PUT", where, b"x", content_range="bytes 0-0/1").status == 404
    where = begun(client)
    client.clock.advance(7 * DAY + 1)
    client.token = client.fake.accounts.give()[0]
    assert client.say("PUT", where, b"x", content_range="bytes 0-0/1").status == 410


def test_a_copy_may_take_several_requests(client: Client) -> None:
    client.say("PUT", "/blobs/a%2Fb", b"x" * 2500, x_goog_meta_k="v")
    path = "/storage/v1/b/blobs/o/a%2Fb/rewriteTo/b/blobs/o/c"
    tokens: list[str] = []
    found: dict[str, Any] = {"done": False}
    while not found["done"]:
        query = f"?rewriteToken={tokens[-1]}" if tokens else ""
        found = json.loads(client.say("POST", path + query).body)
        tokens.append(found.get("rewriteToken", ""))
    assert (tokens, found["totalBytesRewritten"]) == (["token-1000", "token-2000", ""], "2500")
    copy = client.fake.bucket.objects["c"]
    assert (copy.data, copy.headers["x-goog-meta-k"]) == (b"x" * 2500, "v")
    missing = client.say("POST", "/storage/v1/b/blobs/o/none/rewriteTo/b/blobs/o/c")
    assert json.loads(missing.body)["error"]["errors"] == [{"reason": "notFound"}]
    assert missing.status == 404


def link(
    client: Client,
    method: str = "GET",
    *,
    life: int = 60,
    signed: str = "host",
    query: Mapping[str, str] | None = None,
) -> str:
    stamp = "20231114T221320Z"  # where a manual clock begins
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    pairs = {
        **(query or {}),
        "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
        "X-Goog-Credential": f"{EMAIL}/{scope}",
        "X-Goog-Date": stamp,
        "X-Goog-Expires": str(life),
        "X-Goog-SignedHeaders": signed,
    }
    text = "&".join(sorted(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in pairs.items()))
    values = {"host": client.fake.endpoint.removeprefix("http://"), "content-type": "text/plain"}
    lines = "".join(f"{name}:{values[name]}\n" for name in signed.split(";"))
    canonical = f"{method}\n/blobs/x\n{text}\n{lines}\n{signed}\nUNSIGNED-PAYLOAD"
    digest = sha256(canonical.encode()).hexdigest()
    proof = client.fake.accounts.sign(f"GOOG4-RSA-SHA256\n{stamp}\n{scope}\n{digest}".encode())
    return f"/blobs/x?{text}&X-Goog-Signature={proof.hex()}"


def test_a_link_opens_what_was_signed_and_nothing_else(client: Client) -> None:
    client.say("PUT", "/blobs/x", b"data")
    good = link(client)
    assert client.say("GET", good, token="").body == b"data"
    named = client.say("GET", link(client, query={"response-content-disposition": "inline"}), token="")
    assert named.headers["content-disposition"] == "inline"
    assert client.say("PUT", good, b"other", token="").code == "SignatureDoesNotMatch"
    assert client.say("GET", good.replace("Expires=60", "Expires=61"), token="").status == 403
    assert client.say("GET", good.replace("/x?", "/y?"), token="").status == 403
    assert client.say("GET", link(client, life=604_801), token="").status == 400
    typed = link(client, "PUT", signed="content-type;host")
    assert client.say("PUT", typed, b"new", token="").status == 403
    assert client.say("PUT", typed, b"new", token="", content_type="text/plain").status == 200
    client.clock.advance(61)
    assert client.say("GET", good, token="").code == "ExpiredToken"


def test_it_misbehaves_on_demand(client: Client) -> None:
    faults = client.fake.faults
    faults.add(Fault("status", status=429, code="SlowDown", retry_after=7, method="PUT"), times=2)
    busy = client.say("PUT", "/blobs/x", b"1")
    assert (busy.status, busy.code, busy.headers["retry-after"]) == (429, "SlowDown", "7")
    assert client.say("GET", "/blobs/x").status == 404  # not its method
    assert client.say("PUT", "/blobs/x", b"1").status == 429
    assert client.say("PUT", "/blobs/x", b"1").status == 200
    for kind, left in (("reset", b"1"), ("lost", b"2")):
        faults.add(Fault(kind, holds="/x"))  # type: ignore[arg-type]
        with pytest.raises((http.client.HTTPException, OSError)):
            client.say("PUT", "/blobs/x", b"2")
        assert client.say("GET", "/blobs/x").body == left
    client.say("PUT", "/blobs/x", b"z" * 10_000)
    faults.add(Fault("half"))
    with pytest.raises((http.client.HTTPException, OSError)):
        client.say("GET", "/blobs/x")
    faults.add(Fault("lie"))
    assert client.say("PUT", "/blobs/x", b"123456789").headers["x-goog-hash"] != "crc32c=4waSgw=="
    where = begun(client)
    faults.add(Fault("short"))
    kept = client.say("PUT", where, bytes(4 * PIECE), content_range=f"bytes 0-{4 * PIECE - 1}/*")
    assert kept.headers["range"] == f"bytes=0-{2 * PIECE - 1}"
    faults.chance = lambda method, target: Fault("status") if "never" not in target else None
    assert (client.say("GET", "/blobs/x").status, client.say("GET", "/blobs/never").status) == (503, 404)
    faults.clear()
    assert client.say("GET", "/blobs/x").status == 200
    assert len(faults.met) == 8


def test_large_contents_lie_in_files_that_go_with_them(client: Client) -> None:
    pieces = [bytes([number]) * ((5 << 20) + number) for number in range(3)]
    upload = client.say("POST", "/blobs/big?uploads").text("UploadId")[0]
    items = ""
    for number, piece in enumerate(pieces, 1):
        sent = client.say("PUT", f"/blobs/big?partNumber={number}&uploadId={upload}", piece)
        items += f"<Part><PartNumber>{number}</PartNumber><ETag>{sent.headers['etag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>".encode()
    assert client.say("POST", f"/blobs/big?uploadId={upload}", body).status == 200
    whole = b"".join(pieces)
    held = client.fake.bucket.objects["big"].content
    files = [piece._file for piece, _ in held._pieces if not isinstance(piece, bytes)]
    assert len(files) == 3
    assert not any(file.closed for file in files)
    assert client.say("GET", "/blobs/big").body == whole
    for first, last in ((0, 3 << 20), ((5 << 20) - 2, (5 << 20) + 2), ((5 << 20) - 1, len(whole) - 1)):
        part = client.say("GET", "/blobs/big", range=f"bytes={first}-{last}")
        assert (part.status, part.body) == (206, whole[first : last + 1])
    client.fake.faults.add(Fault("half"))
    with pytest.raises(http.client.IncompleteRead) as broken:
        client.say("GET", "/blobs/big")
    assert whole.startswith(broken.value.partial)
    assert 0 < len(broken.value.partial) <= len(whole) // 2
    assert client.say("DELETE", "/blobs/big").status == 204
    del held
    gc.collect()
    assert all(file.closed for file in files)
