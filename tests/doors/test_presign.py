"""Signed URLs by command and from Python; and readers who are sent on to an external store."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import holdfast
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.testing.servers import S3Server, moto_s3, require
from tests.doors.cli_tools import Server, embedded, noise, serving

pytestmark = pytest.mark.doors


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **more: object) -> None:
        return None


def fetch(
    url: str, method: str = "GET", body: bytes | None = None, *, follow: bool = True, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    handlers = [urllib.request.ProxyHandler({}), *([] if follow else [_Stay()])]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=20) as answer:
            return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): text for name, text in error.headers.items()}, error.read()


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder / "data") as running:
        with holdfast.open(running.url, token=running.token) as client:
            client.create_bucket("plain")
            client.put("plain", "a b/ü.txt", b"content")
        yield running


def test_the_command_prints_a_url(server: Server, tmp_path: Path) -> None:
    place = server.place(tmp_path)
    url = place.run("presign", "plain/a b/ü.txt").out.strip()
    assert fetch(url)[2] == b"content"
    made = place.run(
        "presign", "plain/new.png", "--put", "--expires", "10m", "--type", "image/png", "--once", "--json"
    ).records[0]
    assert (made["method"], made["headers"]) == ("PUT", {"Content-Type": "image/png"})
    assert fetch(made["url"], "PUT", PNG, Content_Type="image/png")[0] == 201
    assert fetch(made["url"], "PUT", PNG, Content_Type="image/png")[0] == 409
    assert place.run("cat", "plain/new.png").raw == PNG
    url = place.run("presign", "plain/big", "--upload", "--max-size", "1KB").out.strip()
    opened = fetch(
        url, "POST", json.dumps({"bucket": "plain", "key": "big"}).encode(), Content_Type="application/json"
    )
    assert opened[0] == 201
    assert place.run("presign", "plain/x", "--put", "--upload", status=None).status != 0
    assert place.run("presign", "plain/x", "--expires", "8d", status=None).status != 0
    assert place.run("presign", "plain/x", "--expires", "soon", status=None).status != 0


def test_from_python_with_and_without_a_server(server: Server, tmp_path: Path) -> None:
    with holdfast.open(server.url, token=server.token) as client:
        signed = client.presign("plain", "a b/ü.txt", expires_in=60)
        assert (signed.method, fetch(signed.url)[2]) == ("GET", b"content")
        put = client.presign("plain", "from-python", "PUT", max_size=4)
        assert fetch(put.url, "PUT", b"12345")[0] == 413
        assert fetch(put.url, "PUT", b"1234")[0] == 201
        with pytest.raises(InvalidRequestError):
            client.presign("plain", "x", "DELETE")

    async def story() -> None:
        async with holdfast.open_async(server.url, token=server.token) as client:
            signed = await client.presign("plain", "a b/ü.txt")
            assert fetch(signed.url)[2] == b"content"

    asyncio.run(story())


def test_a_process_beside_the_server_signs_for_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as running:
        place = embedded(tmp_path)
        place.run("mb", "plain")
        place.run("put", "-", "plain/key", stdin=b"content")
        refused = place.run("presign", "plain/key", status=None)
        assert refused.status != 0
        assert "public_url" in refused.err
        url = place.run("presign", "plain/key", HOLDFAST_PUBLIC_URL=running.url + "/").out.strip()
        assert url.startswith(running.url + "/api/v1/objects/plain/key?")
        assert fetch(url)[2] == b"content"
        place.run("tenant", "rotate-signing", "default")
        fresh = place.run("presign", "plain/key", HOLDFAST_PUBLIC_URL=running.url).out.strip()
        assert fetch(url.replace("hf_gen=1", "hf_gen=2"))[0] == 403
        assert "hf_gen=2" in fresh
        with holdfast.open(tmp_path / "data") as client:
            with pytest.raises(ConfigError):
                client.presign("plain", "key")
            with pytest.raises(InvalidRequestError):
                with holdfast.open(
                    settings=_settings(tmp_path / "data", public_url=running.url)
                ) as configured:
                    configured.presign("plain", "key", "DELETE")


def _settings(data: Path, **more: object) -> object:
    from holdfast.config import load

    return load(None, data=data, **more)


# -- external stores --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with require(moto_s3) as running:
        yield running


def _configured(folder: Path, s3: S3Server, labels: str, more: str = "") -> Path:
    folder.mkdir()
    config = folder / "holdfast.toml"
    config.write_text(
        f"""{more}
[stores.away]
driver = "s3"
labels = [{labels}]
endpoint = "{s3.endpoint}"
bucket = "{s3.bucket}"
prefix = "{folder.name}"
access_key = "{s3.access_key}"
secret_key = "{s3.secret_key}"
allow_http = true
"""
    )
    return config


@pytest.mark.parametrize(
    ("labels", "more", "sent_on"),
    [('"external"', "", True), ("", "", False), ('"external"', "redirect_signed = false", False)],
)
def test_readers_are_sent_on_to_external_stores_only(
    tmp_path: Path, s3: S3Server, labels: str, more: str, sent_on: bool
) -> None:
    folder = tmp_path / f"c{len(labels)}{len(more)}"
    config = _configured(folder, s3, labels, more)
    data = noise(300_000)
    with serving(folder / "data", "--config", str(config)) as running:
        with holdfast.open(running.url, token=running.token) as client:
            client.create_bucket("plain")
            client.put("plain", "f/ü.png", data, content_type="image/png")
            url = client.presign("plain", "f/ü.png", expires_in=120).url
            put = client.presign("plain", "new", "PUT").url
            upload = client.create_upload("plain", "two")
            parts = [client.put_part("plain", "two", upload.id, n, noise(5 << 20, n)) for n in (1, 2)]
            client.complete_upload("plain", "two", upload.id, [(part.number, part.etag) for part in parts])
            two = client.presign("plain", "two").url
            assert client.get("plain", "f/ü.png") == data  # with a token, nobody is sent anywhere
        status, headers, body = fetch(url, follow=False)
        if not sent_on:
            assert (status, body) == (200, data)
            return
        assert (status, body) == (307, b"")
        assert headers["cache-control"] == "no-store"
        away = urlsplit(headers["location"])
        assert f"{away.scheme}://{away.netloc}" == s3.endpoint
        assert int(parse_qs(away.query)["X-Amz-Expires"][0]) <= 120
        followed = fetch(url)
        assert (followed[0], followed[2]) == (200, data)
        assert followed[1]["content-type"] == "image/png"
        assert followed[1]["content-disposition"].startswith("attachment")
        assert fetch(url, Range="bytes=10-19")[2] == data[10:20]
        assert fetch(url, "HEAD", follow=False)[0] == 200
        etag = fetch(url, "HEAD")[1]["etag"]
        assert fetch(url, follow=False, If_None_Match=etag)[0] == 304
        assert fetch(two, follow=False)[0] == 200  # of several segments: sent from here
        assert fetch(put, "PUT", b"x", follow=False)[0] == 201
        assert fetch(url + "x", follow=False)[0] == 403
