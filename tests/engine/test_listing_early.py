"""Pages that are fetched before anybody lists: each used for its own request, none asked for twice, none needed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.backends.object_store import Credentials, early, open_listing
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.usual import Usual, usual
from holdfast.cli import early as command_line
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import HoldfastError, NotFoundError, UnavailableError
from holdfast.library.syncing import opening
from tests.engine.test_looking import page, server, settings, whole

pytestmark = pytest.mark.engine
PAGE = 2
KEYS = [f"in/{number:03d}" for number in range(22)]


class Store:
    """A bucket of `KEYS`, listed by key. `spoil` may answer in its place, told how many requests came before."""

    def __init__(self, spoil: Callable[[int], tuple[int, bytes, int] | None] = lambda _: None) -> None:
        self.asked: list[str] = []
        self._spoil, self._lock = spoil, threading.Lock()

    def __call__(self, query: dict[str, str]) -> tuple[int, bytes, int]:
        after = query.get("start-after", query.get("continuation-token", ""))
        with self._lock:
            number = len(self.asked)
            self.asked.append(after)
        if (spoiled := self._spoil(number)) is not None:
            return spoiled
        rest = [key for key in KEYS if key > after]
        return whole(page(rest[:PAGE], rest[PAGE - 1] if len(rest) > PAGE else ""))


def reach(url: str, **more: str) -> Usual:
    found = usual({"bucket": "b", "endpoint": url, "credentials": "environment", "allow_http": True, **more})
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")


def begin(url: str, prefix: str = "in/") -> None:
    early.begin(reach(url), Credentials("k", "s"), prefix, SystemClock())


def wait_for(store: Store, count: int) -> None:
    """Return when so much was asked for, and no more is."""
    until = time.monotonic() + 20
    while len(store.asked) < count and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.06)
    assert len(store.asked) == count


def listed(url: str, prefix: str = "in/") -> list[str]:
    async def story() -> list[str]:
        listing = open_listing("store", reach(url), environment=Environment())
        try:
            return [info.name async for found in listing.pages(prefix) for info in found]
        finally:
            await listing.close()

    return asyncio.run(asyncio.wait_for(story(), 20))


def test_what_was_fetched_is_what_is_listed_and_nothing_is_asked_for_twice() -> None:
    plain, store = Store(), Store()
    with server(plain, "MinIO") as url:
        assert listed(url) == KEYS
    for count in (8, 0):  # it has come, and: it is on its way
        store = Store()
        with server(store, "MinIO") as url:
            begin(url)
            if count:
                wait_for(store, count)
            assert listed(url) == KEYS
            assert len(store.asked) <= len(plain.asked) + 1  # one may have been on its way, unasked for
    assert set(store.asked) >= {"", *KEYS[PAGE - 1 : -1 : PAGE]}


def test_a_server_that_closes_each_connection_is_asked_over_others(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[object] = []
    monkeypatch.setattr(threading, "excepthook", broken.append)
    store = Store()
    with server(store, "MinIO", closing=True) as url:
        begin(url)
        wait_for(store, 8)
        assert listed(url) == KEYS
    assert broken == []


def test_where_no_thread_can_start_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = Store()
    with server(store, "MinIO") as url:
        with monkeypatch.context() as patched, pytest.raises(RuntimeError):
            patched.setattr(threading.Thread, "start", full)
            begin(url)
        assert listed(url) == KEYS


def test_what_came_early_is_not_for_a_store_with_keys_of_its_own() -> None:
    async def story(url: str) -> list[str]:
        listing = open_listing("store", settings(url), environment=Environment())
        try:
            return [info.name async for found in listing.pages("in/") for info in found]
        finally:
            await listing.close()

    store = Store()
    with server(store, "another") as url:
        begin(url)
        wait_for(store, 1)
        assert asyncio.run(asyncio.wait_for(story(url), 20)) == KEYS
    assert store.asked.count("") == 2


def test_of_another_server_only_the_first_page_is_fetched() -> None:
    store = Store()
    with server(store, "another") as url:
        begin(url)
        wait_for(store, 1)
        assert listed(url) == KEYS
        assert store.asked == ["", *KEYS[PAGE - 1 : -1 : PAGE]]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "answer",
    [(503, b"", 0), (200, b"<html>", 6), (200, page(KEYS[:2])[:-30], len(page(KEYS[:2]))), (500, b"x", 9)],
)
def test_what_failed_early_is_asked_for_again(answer: tuple[int, bytes, int], first: bool) -> None:
    store = Store(lambda number: answer if number == (0 if first else 1) else None)
    with server(store, "MinIO") as url:
        begin(url)
        wait_for(store, 1 if first else 2)
        if answer[1] == b"<html>":  # an answer like any other: it is told, not hidden
            with pytest.raises(UnavailableError):
                listed(url)
        else:
            assert listed(url) == KEYS


def test_a_refusal_is_told_as_ever() -> None:
    refused = whole(b"<Error><Code>NoSuchBucket</Code></Error>", 404)
    store = Store(lambda _: refused)
    with server(store, "MinIO") as url:
        begin(url)
        wait_for(store, 1)
        with pytest.raises(HoldfastError) as told:
            listed(url)
        assert not isinstance(told.value, NotFoundError | UnavailableError)
        assert len(store.asked) == 1


def test_it_is_for_the_same_bucket_and_prefix_alone_and_given_once() -> None:
    store = Store()
    with server(store, "MinIO") as url:
        begin(url, "other/")
        assert listed(url) == KEYS
        begin(url)
        assert early.of(Address.of(reach(url, bucket="c"))) is None
        assert early.of(Address.of(reach(url))) is None
        begin(url)
        mine = early.of(Address.of(reach(url)))
        assert mine is not None
        assert early.of(Address.of(reach(url))) is None
        assert mine.take("/b?nothing") is None


def test_nobody_there_is_no_failure_of_its_own() -> None:
    with server(Store()) as url:
        pass
    begin(url)
    with pytest.raises(UnavailableError):
        listed(url)


def test_a_command_line_begins_what_it_plainly_names(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, str]] = []
    monkeypatch.setattr(command_line, "list_early", lambda *said: begun.append(said))
    for arguments in (
        ["push", ".", "bucket/x"],
        ["push", "--help", "s3://b/x"],
        ["pull", "s3://b/x", "s3://c"],
        ["push"],
        ["push", ".", "store:x", "--exclude", "s3://b/x"],
    ):
        command_line.begin(arguments)
    assert begun == []
    command_line.begin(["push", ".", "s3://b/x/y/"])
    command_line.begin(["pull", "s3://b", "-n", "here"])
    assert begun == [("b", "x/y/"), ("b", "")]


def test_settings_that_are_wrong_or_not_plain_begin_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(early, "begin", lambda reach, keys, prefix, clock: begun.append(prefix))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for bucket, prefix in (("b", "/x/y/"), ("b", "")):
        opening.begin(bucket, prefix)
    assert begun == ["x/y/", ""]
    opening.begin("", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://[")
    opening.begin("b", "x")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a\nb")
    opening.begin("b", "x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    opening.begin("b", "x")
    assert begun == ["x/y/", ""]


def test_a_prefix_that_is_no_utf_8_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    opening.begin("b", "\udcff")
    assert early.of(Address.of(reach("http://127.0.0.1:9"))) is None
