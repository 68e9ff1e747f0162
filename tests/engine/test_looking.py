"""Listings without what moves bytes: what a server may answer, and what is not imported for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from holdfast.backends.object_store import Credentials, S3Settings, open_listing, open_s3
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.looking import LookingClient
from holdfast.backends.object_store.onward import Onward
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    ConfigError,
    HoldfastError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.types import BlobInfo

pytestmark = pytest.mark.engine
MOMENT = "2026-01-02T03:04:05.678Z"
#: What a page is made of, and what it means.
KEYS = {
    "in/a": "in/a",
    "in/b%20c%2Bd+e": "in/b c+d e",
    "in/b%26amp;": "in/b&amp;",
    "in/c&amp;d": "in/c&d",
    "in/%C3%BC": "in/ü",
}


def page(keys: list[str], token: str = "", *, etag: str = "&#34;0af1&#34;") -> bytes:
    items = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{MOMENT}</LastModified><ETag>{etag}</ETag><Size>7</Size></Contents>"
        for key in keys
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    end = more if token else "<IsTruncated>false</IsTruncated>"
    head = '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{head}<EncodingType>url</EncodingType>{items}{end}</ListBucketResult>".encode()


Answer = Callable[
    [dict[str, str]], tuple[int, bytes, int]
]  #: of a query: status, body, and the length that is told


@contextmanager
def server(answer: Answer, name: str = "another", *, closing: bool = False) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            status, body, length = answer(query)
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            if closing:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = closing or length != len(body)

        def version_string(self) -> str:
            return name

        def log_message(self, *_: object) -> None:
            return None

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def whole(body: bytes, status: int = 200) -> tuple[int, bytes, int]:
    return status, body, len(body)


def settings(url: str, **more: Any) -> S3Settings:
    return S3Settings(
        endpoint=url, bucket="b", allow_http=True, access_key="k", secret_key="s", **{"retries": 1, **more}
    )


async def listed(url: str, below: str = "in/", **more: Any) -> list[BlobInfo]:
    listing = open_listing("store", settings(url, **more), environment=Environment.seeded(1))
    try:
        return [info async for found in listing.pages(below) for info in found]
    finally:
        await listing.close()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def test_a_page_whose_elements_have_a_prefix_is_read_as_any() -> None:
    plain = page(list(KEYS)).decode()
    prefixed = re.sub(r"<(/?)(?=\w)", r"<\1s3:", plain).replace("xmlns=", "xmlns:s3=").encode()

    async def story(url: str) -> None:
        assert [info.name for info in await listed(url)] == list(KEYS.values())

    with server(lambda _: whole(prefixed)) as url:
        run(story(url))


@pytest.mark.parametrize("etag", ["&#34;0af1&#34;", "&quot;0af1&quot;", '"0af1"', "0af1"])
def test_pages_are_those_that_the_store_itself_lists(etag: str) -> None:
    keys = list(KEYS)

    def answer(query: dict[str, str]) -> tuple[int, bytes, int]:
        last = "continuation-token" in query
        return whole(page(keys[3:] if last else keys[:3], "" if last else "next", etag=etag))

    async def story(url: str) -> None:
        found = await listed(url)
        assert [info.name for info in found] == list(KEYS.values())
        assert {(info.etag, info.size) for info in found} == {("0af1", 7)}
        backend = open_s3("store", settings(url), environment=Environment.seeded(1))
        assert [info async for some in backend.pages("in/") for info in some] == found
        await backend.close()
        below = await listed(url, "", prefix="in")
        assert [f"in/{info.name}" for info in below] == list(KEYS.values())

    with server(answer) as url:
        run(story(url))


PAGES = [["in/a", "in/b"], ["in/c", "in/d"], ["in/e"]]


@pytest.mark.parametrize(
    ("name", "knows", "wanted"),
    [
        ("MinIO", True, ["", "in/b", "in/d"]),  # the last key of the page before
        ("MinIO", False, ["", "in/b", "1", "2"]),  # it lists from the beginning again: tokens after all
        ("another", True, ["", "1", "2"]),
    ],
)
def test_minio_goes_on_by_key_as_long_as_it_goes_on(name: str, knows: bool, wanted: list[str]) -> None:
    asked = []

    def answer(query: dict[str, str]) -> tuple[int, bytes, int]:
        after, token = query.get("start-after", ""), query.get("continuation-token", "")
        asked.append(token or after)
        number = int(token) if token else sum(keys[-1] <= after for keys in PAGES) if knows else 0
        return whole(page(PAGES[number], str(number + 1) if number < 2 else ""))

    async def story(url: str) -> None:
        assert [info.name for info in await listed(url)] == [key for keys in PAGES for key in keys]
        assert asked == wanted

    with server(answer, name) as url:
        run(story(url))


def test_minio_goes_on_by_token_when_the_listing_takes_long() -> None:
    clock, found = ManualClock(), [BlobInfo("in/a", 1, 1)]
    onward = Onward("in/", "", clock)
    for moment, query in ((0.6, ("start-after", "in/a")), (0.6, ("continuation-token", "next"))):
        onward.query()
        clock.advance(moment)
        assert onward.follows(found, {"server": "MinIO"}, ends=False)
        onward.more("next", found, {"server": "MinIO"})
        assert onward.query() == [query]
        found = [BlobInfo("in/b", 1, 1)]


def test_the_end_that_minio_tells_of_inside_a_folder_is_asked_for_again() -> None:
    asked, keys = [], ["in/a-b", "in/a/1", "in/a/2", "in/c"]

    def answer(query: dict[str, str]) -> tuple[int, bytes, int]:
        after, token = query.get("start-after", ""), query.get("continuation-token", "")
        asked.append(token or after)
        if after.startswith(
            "in/a/"
        ):  # it counts `in/a-b`, leaves it out, and takes the page for the last one
            return whole(page([key for key in keys if key > after][:1]))
        number = int(token or 0)
        return whole(page(keys[number : number + 2], str(number + 2) if number < 2 else ""))

    async def story(url: str) -> None:
        assert [info.name for info in await listed(url)] == keys
        assert asked == ["", "in/a/1", "2"]
        asked.clear()
        backend = open_s3("store", settings(url, prefix="in"), environment=Environment.seeded(1))
        assert [info.name async for info in backend.list(after="a/1")] == ["a/2", "c"]
        assert asked == ["in/a/1", "", "in/a/1", "2"]
        await backend.close()

    with server(answer, "MinIO") as url:
        run(story(url))


def test_an_answer_that_fails_for_a_moment_is_asked_for_again() -> None:
    answers = iter([whole(b"", 503), whole(page(["in/a"]))])

    async def story(url: str) -> None:
        assert [info.name for info in await listed(url)] == ["in/a"]

    with server(lambda _: next(answers)) as url:
        run(story(url))


def test_connections_that_the_server_has_closed_meanwhile_are_let_go_of_together() -> None:
    async def story(url: str) -> None:
        client = LookingClient("store", settings(url, retries=1), Keys(), Environment.seeded(1))
        where = Where("list", "store", "")
        answers = await asyncio.gather(*(client.call(where, "GET") for _ in range(3)))
        assert [answer.status for answer in answers] == [200] * 3
        for connection in client._idle:
            connection.sock.shutdown(socket.SHUT_RDWR)  # what the end of the other side looks like
        assert (await client.call(where, "GET")).status == 200
        assert len(client._idle) == 1
        await client.close()

    slow = threading.Barrier(3)

    def answer(_: dict[str, str]) -> tuple[int, bytes, int]:
        with contextlib.suppress(threading.BrokenBarrierError):
            slow.wait(1)  # three at once, so three connections
        return whole(page([]))

    with server(answer) as url:
        run(story(url))


class Keys:
    """The same keys for ever."""

    async def current(self) -> Credentials:
        return Credentials("k", "s")


BROKEN = page(["in/a", "in/b"])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, BROKEN[:-40], len(BROKEN)), UnavailableError),
        ((200, BROKEN, len(BROKEN) + 1), UnavailableError),
        (whole(b"<html>"), UnavailableError),
        (whole(page(["in/b", "in/a"])), UnsupportedError),
        (whole(b"<Error><Code>AccessDenied</Code></Error>", 403), PermissionDeniedError),
        (whole(b"<Error><Code>NoSuchBucket</Code></Error>", 404), ConfigError),
        (whole(b"", 307), ConfigError),
    ],
)
def test_what_is_no_whole_listing_is_an_error(
    answer: tuple[int, bytes, int], kind: type[HoldfastError]
) -> None:
    async def story(url: str) -> None:
        with pytest.raises(kind):
            await listed(url, retries=0)

    with server(lambda _: answer) as url:
        run(story(url))


def test_a_server_that_is_not_there_falls_silent_or_has_no_certificate_is_an_error(tmp_path: Path) -> None:
    woken, answered = threading.Event(), threading.Event()

    def silent(_: dict[str, str]) -> tuple[int, bytes, int]:
        woken.wait(10)
        answered.set()
        return whole(page([]))

    async def story(url: str) -> None:
        with pytest.raises(UnavailableError, match="in time"):
            await listed(url, retries=0, read_timeout=0.2)
        task = asyncio.ensure_future(listed(url))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()
        assert not answered.is_set()  # the thread did not wait for the server

    with server(silent) as url:
        run(story(url))
        woken.set()
    with pytest.raises(UnavailableError, match="reached"):
        asyncio.run(listed(url, retries=0))
    with pytest.raises(ConfigError, match="ca_file"):
        asyncio.run(listed(url.replace("http:", "https:"), retries=0, ca_file=tmp_path / "none"))


def test_a_push_that_sends_nothing_imports_nothing_that_moves_bytes(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with server(lambda _: whole(page([]))) as url:
        variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "holdfast", "push", "tree", "s3://b/x"],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0 sent" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "holdfast.backends.object_store.looking" in imported
    assert not imported & {
        "aiohttp",
        "configparser",
        "msgspec",
        "obstore",
        "pydantic",
        "rich",
        "sqlalchemy",
        "xml.sax",
        "holdfast.backends._credentials.url",
        "holdfast.backends.object_store.backend",
        "holdfast.core.backend",
        "holdfast.core.types",
    }
