"""Many at once."""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast.core.backend import Capability
from holdfast.core.errors import AlreadyExistsError, HoldfastError
from holdfast.testing.harness import (
    Broken,
    Harness,
    holds_true,
    noise,
    pieces,
    promise,
    refused,
    same,
    same_bytes,
)

_MIB: Final = 1 << 20


@promise()
async def many_operations_at_once_do_not_mix(h: Harness) -> None:
    """32 writers and readers at once each get their own bytes."""

    async def one(number: int) -> None:
        data = noise(40_000 + number, number)
        await h.put(f"blob-{number:02}", data)
        await h.holds(f"blob-{number:02}", data)

    await asyncio.gather(*(one(number) for number in range(32)))
    same(len(await h.names()), 32, "the number of blobs")


@promise()
async def many_large_blobs_at_once_do_not_mix(h: Harness) -> None:
    """Eight blobs of several chunks flow in and out at once."""

    async def one(number: int) -> None:
        data = noise(2 * _MIB + number, number)
        await h.put(f"blob-{number}", data)
        same_bytes(await h.read(f"blob-{number}"), data, f"blob {number}")

    await asyncio.gather(*(one(number) for number in range(8)))


@promise()
async def of_two_writers_one_wins_whole(h: Harness) -> None:
    """Writers of one name at once leave the content of one of them, whole."""
    for round_ in range(3):
        contents = [noise(300_000 + number, number + round_) for number in range(6)]
        await asyncio.gather(*(h.put("name", data) for data in contents))
        holds_true(await h.read("name") in contents, "the content is none of those that were written")


@promise()
async def readers_see_one_whole_content_while_it_is_overwritten(h: Harness) -> None:
    """A reader of a name that is being overwritten gets all of one content: never a mix, a part or nothing."""
    contents = [bytes([letter]) * (200_000 + letter) for letter in range(65, 75)]
    await h.put("name", contents[0])
    done = False

    async def watch() -> int:
        count = 0
        while not done or count == 0:
            holds_true(await h.read("name") in contents, "a reader saw what nobody wrote")
            count += 1
            await asyncio.sleep(0)
        return count

    watching = [asyncio.ensure_future(watch()) for _ in range(3)]
    try:
        for data in contents[1:]:
            await h.put("name", data)
            await asyncio.sleep(0)
    finally:
        done = True
        await asyncio.gather(*watching)


@promise()
async def a_reader_never_mixes_two_contents(h: Harness) -> None:
    """A reader that was open before an overwrite goes on with the old content, or fails; it never changes over."""
    old, new = b"o" * (6 * _MIB), b"n" * (6 * _MIB)
    await h.put("name", old)
    try:
        async with h.backend.get(h.name("name")) as reader:
            chunks = aiter(reader)
            first = await anext(chunks)
            await h.put("name", new)
            rest = b"".join([chunk async for chunk in chunks])
        same_bytes(first + rest, old, "what the reader saw")
    except HoldfastError:
        pass
    await h.holds("name", new)


@promise()
async def a_reader_outlives_a_delete_or_fails(h: Harness) -> None:
    """A reader that was open before a delete gets all bytes, or an error; never a silent short read."""
    data = noise(6 * _MIB)
    await h.put("name", data)
    try:
        async with h.backend.get(h.name("name")) as reader:
            chunks = aiter(reader)
            first = await anext(chunks)
            await h.delete("name")
            rest = b"".join([chunk async for chunk in chunks])
        same_bytes(first + rest, data, "what the reader saw")
    except HoldfastError:
        pass
    await h.absent("name")


@promise()
async def a_reader_may_be_left_early(h: Harness) -> None:
    """Who stops reading, often, leaves nothing behind that hinders others."""
    data = noise(4 * _MIB)
    await h.put("name", data)
    for number in range(50):
        async with h.backend.get(h.name("name")) as reader:
            if number % 2:
                await anext(aiter(reader))
    await h.holds("name", data)


@promise()
async def open_readers_do_not_block_others(h: Harness) -> None:
    """With eight readers open, everything else still works."""
    await h.put("name", noise(2 * _MIB))
    opened = [h.backend.get(h.name("name")) for _ in range(8)]
    readers = [await one.__aenter__() for one in opened]
    try:
        await h.put("other", b"x")
        await h.holds("other", b"x")
        same(await h.names(), ["name", "other"], "the listing")
        await h.delete("other")
        for reader in readers:
            same_bytes(await reader.read(), noise(2 * _MIB), "an open reader")
    finally:
        for one in opened:
            await one.__aexit__(None, None, None)


@promise()
async def an_error_in_the_reading_block_passes(h: Harness) -> None:
    """An error that the caller raises while reading comes out as it is, and the reader is closed."""
    await h.put("name", noise(2 * _MIB))

    class Own(Exception):
        pass

    try:
        async with h.backend.get(h.name("name")):
            raise Own
    except Own:
        pass
    else:
        raise Broken("the caller's own error was swallowed")
    await h.holds("name", noise(2 * _MIB))


@promise()
async def many_deletes_of_one_name_succeed(h: Harness) -> None:
    """Deletes of one name at once all succeed."""
    await h.put("folder/name", b"x")
    await asyncio.gather(*(h.delete("folder/name") for _ in range(10)))
    await h.absent("folder/name")


@promise()
async def writers_and_deleters_do_not_disturb_neighbours(h: Harness) -> None:
    """Blobs that come and go in a folder do not make a put beside them fail."""

    async def churn(number: int) -> None:
        for turn in range(8):
            await h.put(f"folder/deep/{number}", bytes([turn]))
            same_bytes(
                await h.read(f"folder/deep/{number}"), bytes([turn]), "a blob among others that come and go"
            )
            await h.delete(f"folder/deep/{number}")

    await asyncio.gather(*(churn(number) for number in range(8)))
    same(await h.names(), [], "what is left")


@promise()
async def two_prefixes_are_apart(h: Harness) -> None:
    """What happens under one prefix is not seen under another."""
    await h.put("one/name", b"1")
    await h.put("two/name", b"2")
    await h.delete("one/name")
    await h.absent("one/name")
    await h.holds("two/name", b"2")
    same(await h.names("one/"), [], "the first prefix")
    same(await h.names("two/"), ["two/name"], "the second prefix")


@promise(needs=Capability.IF_ABSENT)
async def if_absent_stores_under_a_free_name(h: Harness) -> None:
    """`if_absent` stores when nothing is there, also after a delete, in one piece or as a stream."""
    await h.put("name", b"first", if_absent=True)
    await h.delete("name")
    data = noise(7 * _MIB)
    await h.put_stream("name", pieces(data, 500_000), if_absent=True)
    await h.holds("name", data)


@promise(needs=Capability.IF_ABSENT)
async def if_absent_refuses_a_taken_name(h: Harness) -> None:
    """`if_absent` raises `AlreadyExistsError` when the name is taken, and changes nothing."""
    await h.put("name", b"first")
    with refused(AlreadyExistsError, "a second put"):
        await h.put("name", b"second", if_absent=True)
    with refused(AlreadyExistsError, "a second put of a long stream"):
        await h.put_stream("name", pieces(noise(7 * _MIB), 500_000), if_absent=True)
    await h.holds("name", b"first")


@promise(needs=Capability.IF_ABSENT)
async def if_absent_lets_one_of_many_win(h: Harness) -> None:
    """Of many writers at once, exactly one succeeds, and its content stays."""
    contents = [noise(70_000, number) for number in range(12)]
    outcomes = await asyncio.gather(
        *(h.put("name", data, if_absent=True) for data in contents), return_exceptions=True
    )
    winners = [
        data
        for data, outcome in zip(contents, outcomes, strict=True)
        if not isinstance(outcome, BaseException)
    ]
    losers = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    same(len(winners), 1, "the number of winners")
    holds_true(all(isinstance(one, AlreadyExistsError) for one in losers), f"a loser got {losers!r}")
    await h.holds("name", winners[0])


@promise(last=True)
async def closing_twice_is_harmless(h: Harness) -> None:
    """A backend may be closed again; what was stored is not touched by closing."""
    await h.backend.close()
    await h.backend.close()
