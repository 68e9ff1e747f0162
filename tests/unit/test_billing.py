"""What stores are asked, counted as providers bill it: tries, parts, pages, bytes that came."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.backends.object_store import upload
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import NotFoundError
from holdfast.core.ledger import Entry, Ledger
from holdfast.core.types import ByteRange
from holdfast.layers import stack
from holdfast.layers.faults import Effect, Fault, Faults, Plan

pytestmark = pytest.mark.unit


def asked(ledger: Ledger) -> dict[str, Entry]:
    return {entry.verb: entry for entry in ledger.take()}


def test_every_verb_is_counted_with_its_bytes() -> None:
    async def story() -> None:
        world, ledger = Environment.seeded(1), Ledger()
        backend = stack.build(MemoryBackend("m", environment=world), environment=world, ledger=ledger)
        await backend.put("a", Body.of_bytes(b"x" * 1000))
        await backend.head("a")
        async with backend.get("a", range=ByteRange(0, 99)) as reader:
            assert len(await reader.read()) == 100
        async with backend.get("a") as reader:
            async for _ in reader.chunks:
                break
        await backend.copy("a", "b")
        assert [info.name async for info in backend.list()] == ["a", "b"]
        await backend.delete("a")
        with pytest.raises(NotFoundError):
            await backend.head("a")
        found = asked(ledger)
        assert found["write"] == Entry("m", "write", 1, 0, 1000, 0)
        assert found["read"][:4] == ("m", "read", 4, 1)
        assert found["read"].received in (1100, 100)  # what was left unread may have come in one piece
        assert found["copy"].calls == found["list"].calls == found["delete"].calls == 1
        assert not ledger.take()

    asyncio.run(story())


def test_each_try_is_billed() -> None:
    async def story() -> None:
        world, ledger = Environment.seeded(1), Ledger()
        plan = Plan([Fault(1, Effect.ERROR), Fault(2, Effect.ERROR)])
        memory = MemoryBackend("m", environment=world)
        backend = stack.build(
            memory,
            environment=world,
            ledger=ledger,
            below_limit=[lambda inner: Faults(inner, plan=plan, environment=world)],
        )
        await backend.put("a", Body.of_bytes(b"12345"))
        assert asked(ledger)["write"] == Entry("m", "write", 3, 2, 5, 0)

    asyncio.run(story())


def test_a_long_listing_takes_a_request_for_each_thousand() -> None:
    async def story() -> None:
        world, ledger = Environment.seeded(1), Ledger()
        memory = MemoryBackend("m", environment=world)
        for number in range(2001):
            await memory.put(f"{number:05}", Body.of_bytes(b""))
        backend = stack.build(memory, environment=world, ledger=ledger)
        assert len([info async for info in backend.list()]) == 2001
        async with aclosing(backend.list()) as some:
            assert (await anext(some)).name == "00000"
        assert asked(ledger)["list"] == Entry("m", "list", 4, 0, 0, 0)

    asyncio.run(story())


@pytest.mark.parametrize(("size", "requests"), [(0, 1), (8, 1), (9, 2 + 2), (16, 2 + 2), (17, 3 + 2)])
def test_parts_of_a_large_upload_are_billed(size: int, requests: int) -> None:
    plan = upload.Plan(8, 1, 100)
    assert upload.requests(size, plan, around=2) == requests


def test_what_could_not_be_written_down_counts_again() -> None:
    ledger = Ledger()
    ledger.add("m", "read", received=5)
    taken = ledger.take()
    ledger.add("m", "read", received=7)
    ledger.give_back(taken)
    assert ledger.take() == [Entry("m", "read", 2, 0, 0, 12)]
