"""Pages asked for early list what is there, whatever is expected, and ask for little in vain."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backends.object_store import listing, sigv4
from holdfast.backends.object_store.ahead import Ahead
from holdfast.backends.object_store.control import Answer
from holdfast.backends.object_store.errors import Where
from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError

pytestmark = pytest.mark.engine
PAGE = 3
KEYS = st.lists(st.text("abc-./", min_size=1, max_size=4), unique=True, max_size=40).map(sorted)


class Server:
    """MinIO as far as listings go: pages of three, which begin after a key, or where a token says."""

    def __init__(self, keys: list[str], *, fails: int = -1) -> None:
        self.environment, self.keys, self.fails = Environment.seeded(1), keys, fails
        self.asked: list[str] = []
        self.running = self.most = 0

    async def call(
        self,
        where: Where,
        method: str,
        key: str = "",
        *,
        query: sigv4.Query = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        said = dict(query)
        after = said.get("start-after") or said.get("continuation-token", "")
        number = len(self.asked)
        self.asked.append(after)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(1 + number * 7 % 5):  # answers overtake each other
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        if number == self.fails:
            raise UnavailableError("the store is gone")
        start = bisect_right(self.keys, after)
        page = self.keys[start : start + PAGE]
        more = start + PAGE < len(self.keys)
        return Answer(200, {"server": "MinIO"}, _body(page, more))


def _body(page: list[str], more: bool) -> bytes:
    items = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>0</ETag><Size>7</Size></Contents>"
        for key in page
    )
    token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
    ).encode()


class Memory:
    """What is remembered: with which keys pages ended, and whether they went on by key."""

    def __init__(self, ends: list[str], *, by_key: bool) -> None:
        self.ends, self.by_key = ends, by_key

    def every(self, count: int) -> list[str]:
        assert count == 1000  # of which those of the test are a thousandth, nearly
        return self.ends


def listed(server: Server, ends: list[str], most: int | None = None, *, by_key: bool = False) -> list[str]:
    async def story() -> list[str]:
        found = []
        seen = Memory(ends, by_key=by_key)
        pages = listing.objects(server, Where("list", "store", ""), "", seen=seen)
        try:
            async for page in pages:
                found += [info.name for info in page]
                if most is not None and len(found) >= most:
                    break
        finally:
            await pages.aclose()
        assert not server.running  # nothing goes on behind
        assert seen.by_key or len(found) <= PAGE
        return found

    return asyncio.run(asyncio.wait_for(story(), 20))


@given(KEYS, KEYS, st.booleans())
def test_what_is_listed_does_not_hang_on_what_was_expected(
    keys: list[str], before: list[str], by_key: bool
) -> None:
    server = Server(keys)
    assert listed(server, before[PAGE - 1 :: PAGE], by_key=by_key) == keys
    plain = Server(keys)
    assert listed(plain, []) == keys
    assert len(server.asked) <= len(plain.asked) + 3  # asked in vain


def test_what_is_as_it_was_is_asked_for_all_the_same_but_earlier() -> None:
    keys = [f"{number:04d}" for number in range(50)]
    server, plain = Server(keys), Server(keys)
    assert listed(server, keys[PAGE - 1 :: PAGE]) == listed(plain, []) == keys
    assert server.asked == plain.asked
    assert (server.most, plain.most) == (3, 1)
    eager = Server(keys)
    assert listed(eager, keys[PAGE - 1 :: PAGE], by_key=True) == keys
    assert sorted(eager.asked) == plain.asked
    assert eager.asked[0] == ""
    assert eager.most == 3


def test_a_key_that_came_meanwhile_ends_it() -> None:
    before = [f"{number:04d}" for number in range(30)]
    now = sorted([*before, "0004-"])
    server = Server(now)
    assert listed(server, before[PAGE - 1 :: PAGE]) == now
    assert server.asked[:5] == ["", "0002", "0005", "0008", "0004-"]
    assert server.asked[5:] == now[8:-1:PAGE]


@pytest.mark.parametrize("fails", range(6))
def test_a_page_that_fails_is_told_when_it_is_due(fails: int) -> None:
    keys = [f"{number:04d}" for number in range(PAGE * 6)]
    server = Server(keys, fails=fails)
    with pytest.raises(UnavailableError):
        listed(server, keys[PAGE - 1 :: PAGE])


@pytest.mark.parametrize("most", [1, 4, 10])
def test_who_has_seen_enough_leaves_nothing_behind(most: int) -> None:
    keys = [f"{number:04d}" for number in range(PAGE * 6)]
    assert listed(Server(keys), keys[PAGE - 1 :: PAGE], most) == keys[: -(-most // PAGE) * PAGE]


def test_no_key_is_expected_twice_and_none_by_token() -> None:
    async def story() -> None:
        asked: list[str] = []

        async def ask(query: sigv4.Query) -> Answer:
            asked.append(query[0][1])
            return Answer(200, {}, b"")

        ahead = Ahead(ask, islice("bdfh", None))
        ahead.expect("b")
        await ahead.answer([("start-after", "b")])
        assert asked == ["b", "d", "f"]
        ahead.expect("")  # from here on by token
        await ahead.answer([("continuation-token", "d")])
        ahead.expect("h")
        await ahead.answer([("start-after", "h")])
        assert asked == ["b", "d", "f", "d", "h"]
        await ahead.close()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_memory_that_repeats_itself_is_asked_for_once() -> None:
    keys = [f"{number:04d}" for number in range(12)]
    for by_key in (False, True):
        server = Server(keys)
        assert listed(server, ["0002"] * 100, by_key=by_key) == keys
        assert sorted(server.asked) == ["", "0002", "0005", "0008"]
