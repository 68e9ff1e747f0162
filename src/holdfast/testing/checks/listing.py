"""What is there, in order."""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast.testing.harness import Harness, holds_true, promise, same

_MANY: Final = 1_050  #: more than one page of any store that is known


async def _put_all(h: Harness, tails: list[str]) -> None:
    gate = asyncio.Semaphore(16)

    async def one(tail: str) -> None:
        async with gate:
            await h.put(tail, b"x")

    await asyncio.gather(*(one(tail) for tail in tails))


@promise()
async def a_listing_of_nothing_is_empty(h: Harness) -> None:
    """Where nothing is, a listing ends at once."""
    same(await h.names(), [], "the listing")
    same(await h.names("some/folder/"), [], "the listing of a folder")


@promise()
async def a_listing_is_in_byte_order(h: Harness) -> None:
    """Names come in the order of their bytes, whatever the folders: `a-` before `a/b` before `a0`."""
    tails = [
        "a/b",
        "a-",
        "a0",
        "a",
        "a.b",
        "a/",
        "B",
        "b",
        "a/b/c",
        "a/b-c",
        "~",
        "!",
        "a~",
        "a/0",
        "Z/z",
        "z/Z",
    ]
    tails = [tail for tail in tails if not tail.endswith("/")]
    await _put_all(h, tails)
    same(await h.names(), sorted(tails), "the listing")


@promise()
async def a_prefix_is_a_plain_string(h: Harness) -> None:
    """A prefix may end anywhere in a name, and a slash in it means nothing."""
    tails = ["abc", "abd", "ab/c", "ab/cd", "ab/d", "b", "a"]
    await _put_all(h, tails)
    for prefix in ("", "a", "ab", "ab/", "ab/c", "ab/cd", "abc", "abcd", "b", "ab/c/", "c", "A"):
        same(await h.names(prefix), sorted(t for t in tails if t.startswith(prefix)), f"prefix {prefix!r}")


@promise()
async def a_prefix_may_be_any_text(h: Harness) -> None:
    """A prefix that no name can have finds nothing, and is no error."""
    await h.put("blob", b"x")
    for prefix in (
        "..",
        "../",
        "/",
        "//",
        "a//b",
        "%",
        "#",
        "^",
        "?",
        "\\",
        " ",
        "blob/",
        "blob/..",
        "ä",
        "x" * 300,
        ".",
    ):
        same(await h.names(prefix), [], f"prefix {prefix!r}")


@promise()
async def after_goes_on_behind_a_name(h: Harness) -> None:
    """`after` leaves out that name and all before it, whether it exists or not."""
    tails = ["a", "a/b", "a/c", "ab", "b/a", "b/b/a", "b/b/b", "c"]
    await _put_all(h, tails)
    ordered = sorted(tails)
    for after in (*ordered, "!", "a-", "a/", "a/bb", "b", "b/b", "b/b/", "b/b/a/x", "bb", "d", "~~~"):
        same(await h.names(after=after), [t for t in ordered if t > after], f"after {after!r}")


@promise()
async def after_and_prefix_work_together(h: Harness) -> None:
    """`after` may lie before, inside or behind the prefix."""
    tails = ["a/1", "a/2", "a/2/x", "a/3", "b/1", "b/2", "c"]
    await _put_all(h, tails)
    for prefix in ("a/", "a/2", "b", ""):
        for after in ("", "a", "a/1", "a/2", "a/2/x", "a/9", "b", "b/1", "z"):
            wanted = sorted(t for t in tails if t.startswith(prefix) and (not after or t > after))
            found = await h.names(prefix, after=after) if after else await h.names(prefix)
            same(found, wanted, f"prefix {prefix!r} after {after!r}")


@promise()
async def a_listing_of_many_is_complete(h: Harness) -> None:
    """More names than fit on one page all come, once, in order, and `after` finds its place among them."""
    tails = [f"{number % 7}/{number:05}" for number in range(_MANY)]
    await _put_all(h, tails)
    ordered = sorted(tails)
    same(await h.names(), ordered, "the listing")
    same(await h.names(after=ordered[1000]), ordered[1001:], "the listing behind the thousandth")


@promise()
async def a_listing_tells_sizes(h: Harness) -> None:
    """Every item has its name, its size and its time."""
    for size in (0, 1, 5000):
        await h.put(f"size-{size:05}", b"x" * size)
    items = [info async for info in h.backend.list(h.prefix)]
    same([info.size for info in items], [0, 1, 5000], "the sizes")
    holds_true(all(info.modified > 0 for info in items), "an item has no time")


@promise()
async def a_listing_may_be_left_early(h: Harness) -> None:
    """Who stops in the middle of a listing, often, leaves nothing behind that hinders others."""
    await _put_all(h, [f"{number}" for number in range(10)])
    for _ in range(50):
        async for _info in h.backend.list(h.prefix):
            break
    same(len(await h.names()), 10, "the items of a listing afterwards")


@promise()
async def several_listings_run_at_once(h: Harness) -> None:
    """Listings do not disturb each other."""
    tails = [f"{number:02}" for number in range(30)]
    await _put_all(h, tails)
    for names in await asyncio.gather(*(h.names() for _ in range(10))):
        same(names, tails, "one of ten listings")


@promise()
async def a_listing_bears_changes_meanwhile(h: Harness) -> None:
    """What is there from the beginning to the end of a listing is listed once, whatever comes and goes meanwhile."""
    stay = [f"{number:03}-stay" for number in range(0, 100, 2)]
    go = [f"{number:03}/go" for number in range(1, 100, 2)]
    await _put_all(h, stay + go)

    async def disturb() -> None:
        for tail in go:
            await h.delete(tail)
            await h.put(tail.replace("go", "new"), b"x")
            await asyncio.sleep(0)

    disturbing = asyncio.ensure_future(disturb())
    try:
        while not disturbing.done():
            names = await h.names()
            same([name for name in names if name.endswith("stay")], stay, "what stayed")
            same(names, sorted(set(names)), "the order")
            await asyncio.sleep(
                0.001
            )  # lets the threads of a disk work, which a loop that spins keeps from it
    finally:
        await disturbing


@promise()
async def an_item_can_be_used_while_the_listing_goes_on(h: Harness) -> None:
    """Items may be read and deleted as they come."""
    tails = [f"{number:03}" for number in range(40)]
    await _put_all(h, tails)
    seen = []
    async for info in h.backend.list(h.prefix):
        async with h.backend.get(info.name) as reader:
            same(await reader.read(), b"x", "the bytes of an item")
        await h.backend.delete(info.name)
        seen.append(info.name.removeprefix(h.prefix))
    same(seen, tails, "the items")
    same(await h.names(), [], "what is left")
