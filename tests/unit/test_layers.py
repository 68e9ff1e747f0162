"""Integrity, limit, metrics, read-only, faults, and the order of the stack."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from holdfast.backends.memory import MemoryBackend, MemorySettings
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, PutOptions
from holdfast.core.body import Body, FileSlice, Reader
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    ConflictError,
    CorruptedError,
    HoldfastError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.fetching import OtherSizeError
from holdfast.core.types import BlobInfo, ByteRange, Span
from holdfast.layers import stack
from holdfast.layers.base import Layer
from holdfast.layers.faults import Death, Effect, Fault, Faults, Plan, When
from holdfast.layers.integrity import Integrity
from holdfast.layers.limit import Limit, LimitSettings
from holdfast.layers.metrics import Metrics, StoreMetrics
from holdfast.layers.readonly import ReadOnly
from holdfast.layers.retry import Retry

pytestmark = pytest.mark.unit
BLOB = Body.of_bytes(b"0123456789")


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))


class Warped(Layer):
    """A store that answers other than it should, as told."""

    preserves = ~Capability.NONE

    def __init__(
        self,
        *,
        told: Callable[[BlobInfo], BlobInfo] = lambda info: info,
        answered: Callable[[Reader], Reader] = lambda reader: reader,
    ) -> None:
        super().__init__(MemoryBackend("memory"))
        self._told, self._answered = told, answered

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return self._told(await super().put(name, body, options=options, if_absent=if_absent))

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with super().get(name, range=range) as reader:
            yield self._answered(reader)


async def one(data: bytes) -> AsyncIterator[bytes]:
    yield data


# -- base -------------------------------------------------------------------------------------------------------------
def test_a_layer_offers_nothing_until_it_says_so() -> None:
    async def story() -> None:
        layer = Layer(MemoryBackend("memory"))
        assert layer.capabilities is Capability.NONE
        await layer.put("a", BLOB)
        for refused in (
            layer.copy("a", "b"),
            layer.presign("GET", "a", expires_in=1),
            layer.put("c", BLOB, if_absent=True),
        ):
            with pytest.raises(UnsupportedError, match="memory"):
                await refused
        with pytest.raises(UnsupportedError):
            layer.get("a", range=ByteRange(0))

    run(story)


def test_closing_the_outermost_closes_the_driver() -> None:
    class Closing(MemoryBackend):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    async def story() -> None:
        driver = Closing("memory")
        await stack.build(
            driver, environment=Environment(), metrics=StoreMetrics(CollectorRegistry())
        ).close()
        assert driver.closed == 1

    run(story)


# -- integrity --------------------------------------------------------------------------------------------------------
def test_a_store_that_holds_another_size_is_found_out() -> None:
    async def story() -> None:
        layer = Integrity(Warped(told=lambda info: info._replace(size=info.size - 1)))
        for body in (BLOB, Body.of_stream(one(b"0123456789"))):
            with pytest.raises(CorruptedError, match="10 bytes were sent, the store holds 9"):
                await layer.put("a", body)

    run(story)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_store_whose_md5_differs_is_found_out(streamed: bool) -> None:
    def body() -> Body:
        return Body.of_stream(one(b"0123456789")) if streamed else BLOB

    def telling(etag: str | None) -> Integrity:
        return Integrity(Warped(told=lambda info: info._replace(etag=etag)), md5_etags=True)

    async def story() -> None:
        for etag in (hashlib.md5(b"0123456789").hexdigest(), "0" * 32 + "-2", None, "opaque"):
            await telling(etag).put("a", body())
        with pytest.raises(CorruptedError, match="MD5"):
            await telling("0" * 32).put("a", body())

    run(story)


def test_a_stream_that_ends_early_or_late_is_never_silent() -> None:
    async def story() -> None:
        for data, kind in (
            (b"01234567", UnavailableError),
            (b"", UnavailableError),
            (b"0123456789x", CorruptedError),
        ):
            layer = Integrity(Warped(answered=lambda reader, data=data: replace(reader, chunks=one(data))))  # type: ignore[misc]
            await layer.put("a", BLOB)
            with pytest.raises(kind) as caught:
                async with layer.get("a") as reader:
                    await reader.read()
            assert (caught.value.operation, caught.value.store, caught.value.name) == ("get", "memory", "a")

    run(story)


def test_a_small_blob_that_comes_short_says_nothing_of_the_copy_and_one_too_long_is_not_read_on() -> None:
    pulled = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            pulled.append(1)
            yield b"0" * 4

    async def story() -> None:
        cases: list[tuple[Callable[[Reader], Reader], type[HoldfastError]]] = [
            (lambda reader: Reader(reader.info, reader.span, one(b"01234")), UnavailableError),
            (lambda reader: Reader(reader.info, reader.span, endless()), OtherSizeError),
            (lambda reader: Reader(reader.info._replace(size=11), reader.span, one(b"")), OtherSizeError),
        ]
        for answered, kind in cases:
            store = Integrity(Warped(answered=answered))
            await store.put("a", BLOB)
            with pytest.raises(kind) as caught:
                await store.fetch("a", 10)
            assert caught.value.retryable is (kind is UnavailableError)
        assert len(pulled) == 3

    run(story)


def test_another_part_than_asked_for_is_found_out_and_closed() -> None:
    async def story() -> None:
        layer = Integrity(Warped(answered=lambda reader: replace(reader, span=Span(0, 10))))
        await layer.put("a", BLOB)
        with pytest.raises(CorruptedError, match="not asked for"):
            async with layer.get("a", range=ByteRange(2, 3)):
                pass

    run(story)


class Defective(Layer):
    """A store whose driver has a defect in every verb."""

    preserves = ~Capability.NONE

    def __init__(self, error: Exception, *, late: bool = False) -> None:
        super().__init__(MemoryBackend("memory"))
        self._error, self._late = error, late

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        await super().put(name, body, options=options, if_absent=if_absent)
        raise self._error

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        if not self._late:
            raise self._error
        async with super().get(name, range=range) as reader:
            yield reader.through(self._broken)

    async def head(self, name: str) -> BlobInfo:
        raise self._error

    async def delete(self, name: str) -> None:
        raise self._error

    async def discard(self, name: str) -> None:
        raise self._error

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        yield await self.inner.head("a")
        raise self._error

    async def copy(self, source: str, target: str) -> BlobInfo:
        raise self._error

    async def _broken(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield (await anext(chunks))[:1]
        raise self._error


@pytest.mark.parametrize("error", [OverflowError("date"), RecursionError("deep"), TypeError("ours")])
def test_a_defect_of_a_driver_is_an_error_of_the_store_and_logged(error: Exception) -> None:
    async def story() -> None:
        far, late = Defective(error), Defective(error, late=True)
        await far.inner.put("a", BLOB)
        await late.inner.put("a", BLOB)
        store, slow = Integrity(far), Integrity(late)

        async def opened(layer: Integrity) -> bytes:
            async with layer.get("a") as reader:
                return await reader.read()

        async def listed() -> list[str]:
            return [info.name async for info in store.list()]

        async def streamed() -> BlobInfo:
            return await store.put("b", Body.of_stream(one(b"x")))

        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: store.put("b", BLOB),
            streamed,
            lambda: store.head("a"),
            lambda: store.delete("a"),
            lambda: store.discard("a"),
            lambda: store.copy("a", "b"),
            lambda: opened(store),
            lambda: opened(slow),
            listed,
        ]
        for call in calls:
            with structlog.testing.capture_logs() as logged, pytest.raises(UnavailableError) as caught:
                await call()
            assert (caught.value.__cause__, caught.value.store) == (error, "memory")
            assert [entry["exc_info"] for entry in logged] == [error]

    run(story)


def test_errors_of_those_who_send_or_read_are_no_errors_of_the_store() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"0"
        raise ZeroDivisionError

    async def story() -> None:
        store = Integrity(MemoryBackend("memory"))
        with structlog.testing.capture_logs() as logged:
            with pytest.raises(ZeroDivisionError):
                await store.put("a", Body.of_stream(broken()))
            await store.put("a", BLOB)
            with pytest.raises(ZeroDivisionError):
                async with store.get("a"):
                    raise ZeroDivisionError
        assert logged == []

    run(story)


def test_the_open_file_passes_through() -> None:
    async def story() -> None:
        file = FileSlice(0, 0, 10)
        driver = Warped(answered=lambda reader: replace(reader, file=file))
        backend = stack.build(driver, environment=Environment(), metrics=StoreMetrics(CollectorRegistry()))
        await backend.put("a", BLOB)
        async with backend.get("a") as reader:
            assert reader.file == file

    run(story)


def test_damage_in_transit_is_healed_by_the_retry_around_it() -> None:
    async def story() -> None:
        plan = Plan([Fault(1, Effect.TRUNCATE)])
        environment = Environment.seeded(1)
        memory = MemoryBackend("memory", environment=environment)
        below = [lambda inner: Faults(inner, plan=plan, environment=environment)]
        backend = stack.build(memory, environment=environment, below_limit=below)
        await backend.put("a", Body.of_bytes(b"0123456789"))
        assert len(plan.calls) == 2
        async with backend.get("a") as reader:
            assert await reader.read() == b"0123456789"

    run(story)


# -- limit ------------------------------------------------------------------------------------------------------------
class Counting(Layer):
    """Counts how many calls and streams are at the store at once."""

    preserves = ~Capability.NONE

    def __init__(self) -> None:
        super().__init__(MemoryBackend("memory"))
        self.now = self.most = 0

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        with self._here():
            await asyncio.sleep(0.001)
            return await super().put(name, body, options=options, if_absent=if_absent)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        with self._here():
            async with super().get(name, range=range) as reader:
                yield reader

    def _here(self) -> Counting:
        return self

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


def test_no_more_than_the_limit_at_once() -> None:
    async def story() -> None:
        store = Counting()
        layer = Limit(store, settings=LimitSettings(max_in_flight=8))
        await layer.put("a", BLOB)

        async def read() -> None:
            async with layer.get("a") as reader:
                await asyncio.sleep(0.001)
                await reader.read()

        await asyncio.gather(
            *(layer.put(f"b{number}", BLOB) for number in range(40)), *(read() for _ in range(40))
        )
        assert store.most == 8
        assert store.now == 0

    run(story)


def test_reads_or_writes_alone_take_three_quarters() -> None:
    async def story() -> None:
        store = Counting()
        layer = Limit(store, settings=LimitSettings(max_in_flight=8))
        await asyncio.gather(*(layer.put(f"b{number}", BLOB) for number in range(40)))
        assert store.most == 6

    run(story)


def test_copies_within_one_store_do_not_wait_for_each_other_for_ever() -> None:
    async def story() -> None:
        layer = Limit(Counting(), settings=LimitSettings(max_in_flight=4))
        for number in range(32):
            await layer.put(f"a{number}", BLOB)

        async def copy(number: int) -> None:
            async with layer.get(f"a{number}") as reader:
                await asyncio.sleep(0)
                await layer.put(f"b{number}", Body.of_stream(reader.chunks))

        await asyncio.gather(*(copy(number) for number in range(32)))

    run(story)


def test_who_waits_too_long_is_told() -> None:
    async def story() -> None:
        layer = Limit(MemoryBackend("memory"), settings=LimitSettings(max_in_flight=2, wait=0.02))
        await layer.put("a", BLOB)
        async with layer.get("a"):
            with pytest.raises(RateLimitedError, match="busy"):
                async with layer.get("a"):
                    pass
            assert (await layer.head("a")).size == 10
        async with layer.get("a") as reader:
            assert await reader.read() == b"0123456789"

    run(story)


def test_a_cancelled_wait_loses_no_permit() -> None:
    async def story() -> None:
        layer = Limit(MemoryBackend("memory"), settings=LimitSettings(max_in_flight=2))
        await layer.put("a", BLOB)
        for _ in range(10):
            async with layer.get("a"):
                waiting = asyncio.ensure_future(layer.get("a").__aenter__())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
        async with layer.get("a") as reader:
            assert await reader.read() == b"0123456789"

    run(story)


def test_a_failed_call_loses_no_permit() -> None:
    async def story() -> None:
        layer = Limit(MemoryBackend("memory"), settings=LimitSettings(max_in_flight=2))
        for _ in range(10):
            with pytest.raises(NotFoundError):
                async with layer.get("never"):
                    pass
            with pytest.raises(NotFoundError):
                await layer.head("never")

    run(story)


def test_who_came_first_is_served_first() -> None:
    async def story() -> None:
        layer = Limit(Counting(), settings=LimitSettings(max_in_flight=2))
        order: list[int] = []

        async def put(number: int) -> None:
            await layer.put(f"{number}", BLOB)
            order.append(number)

        await asyncio.gather(*(put(number) for number in range(20)))
        assert order == list(range(20))

    run(story)


def test_a_sleeping_retry_holds_no_permit() -> None:
    async def story() -> None:
        environment = Environment.seeded(1)
        free: list[bool] = []

        class Clock(ManualClock):
            async def sleep(self, seconds: float) -> None:
                await super().sleep(seconds)
                free.append(not limit._all.locked())

        environment.clock = Clock()
        plan = Plan([Fault(1, Effect.ERROR), Fault(2, Effect.ERROR)])
        limit = Limit(
            Faults(MemoryBackend("memory"), plan=plan, environment=environment),
            settings=LimitSettings(max_in_flight=2),
        )
        await Retry(limit, environment=environment).put("a", BLOB)
        assert free == [True, True]

    run(story)


# -- metrics ----------------------------------------------------------------------------------------------------------
def test_one_operation_counts_once_however_many_tries_it_takes() -> None:
    async def story() -> None:
        registry, environment = CollectorRegistry(), Environment.seeded(1)
        plan = Plan([Fault(1, Effect.ERROR), Fault(5, Effect.DELAY, seconds=2.0)])
        backend = stack.build(
            MemoryBackend("main", environment=environment),
            environment=environment,
            metrics=StoreMetrics(registry),
            below_limit=[lambda inner: Faults(inner, plan=plan, environment=environment)],
        )

        def figure(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(name, {"store": "main", **labels})

        await backend.put("a", BLOB)  # calls 1 and 2
        async with backend.get("a", range=ByteRange(0, 3)) as reader:  # 3
            assert figure("holdfast_store_in_flight", operation="get") == 1
            await reader.read()
        with pytest.raises(NotFoundError):
            await backend.head("never")  # 4
        await backend.delete("a")  # 5

        assert figure("holdfast_store_operations_total", operation="put", outcome="ok") == 1
        assert figure("holdfast_store_retries_total", operation="put", outcome="unavailable") == 1
        assert figure("holdfast_store_operations_total", operation="head", outcome="not_found") == 1
        assert figure("holdfast_store_bytes_total", direction="in") == 10
        assert figure("holdfast_store_bytes_total", direction="out") == 4
        assert figure("holdfast_store_in_flight", operation="get") == 0
        assert figure("holdfast_store_operation_seconds_sum", operation="delete") == 2.0

    run(story)


def test_two_stores_share_one_registry() -> None:
    async def story() -> None:
        registry = CollectorRegistry()
        metrics = StoreMetrics(registry)
        for name in ("one", "two"):
            await Metrics(MemoryBackend(name), environment=Environment(), metrics=metrics).put("a", BLOB)
        for name in ("one", "two"):
            assert (
                registry.get_sample_value("holdfast_store_bytes_total", {"store": name, "direction": "in"})
                == 10
            )

    run(story)


def test_what_is_cancelled_is_counted_as_such() -> None:
    async def story() -> None:
        registry = CollectorRegistry()
        memory = MemoryBackend("m", MemorySettings(latency=10))
        layer = Metrics(memory, environment=Environment(), metrics=StoreMetrics(registry))
        waiting = asyncio.ensure_future(layer.head("a"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        labels = {"store": "m", "operation": "head", "outcome": "cancelled"}
        assert registry.get_sample_value("holdfast_store_operations_total", labels) == 1
        assert registry.get_sample_value("holdfast_store_in_flight", {"store": "m", "operation": "head"}) == 0

    run(story)


# -- read-only --------------------------------------------------------------------------------------------------------
def test_a_read_only_store_refuses_changes_and_reads_on() -> None:
    async def story() -> None:
        memory = MemoryBackend("memory")
        await memory.put("a", BLOB)
        layer = ReadOnly(memory)
        for refused in (
            layer.put("b", BLOB),
            layer.delete("a"),
            layer.copy("a", "b"),
            layer.make_folder("b"),
            layer.presign("PUT", "a", expires_in=5),
        ):
            with pytest.raises(ConflictError, match="read-only"):
                await refused
        async with layer.get("a") as reader:
            assert await reader.read() == b"0123456789"
        assert [info.name async for info in layer.list()] == ["a"]

    run(story)


# -- faults -----------------------------------------------------------------------------------------------------------
def faulty(*faults: Fault) -> tuple[Faults, MemoryBackend]:
    environment = Environment.seeded(1)
    memory = MemoryBackend("memory", environment=environment)
    return Faults(memory, plan=Plan(faults), environment=environment), memory


def test_death_before_and_after_the_effect() -> None:
    async def story() -> None:
        for when, there in ((When.BEFORE, False), (When.AFTER, True)):
            layer, memory = faulty(Fault(1, Effect.DEATH, when))
            with pytest.raises(Death):
                await layer.put("a", BLOB)
            for call in (layer.head("a"), layer.delete("a"), layer.put("b", BLOB)):
                with pytest.raises(Death):  # the dead do nothing more
                    await call
            assert [info.name async for info in memory.list()] == (["a"] if there else [])

    run(story)


def test_errors_before_and_after_the_effect() -> None:
    async def story() -> None:
        for when, there in ((When.BEFORE, True), (When.AFTER, False)):
            layer, memory = faulty(Fault(2, Effect.ERROR, when))
            await layer.put("a", BLOB)
            with pytest.raises(UnavailableError):
                await layer.delete("a")
            assert bool([info async for info in memory.list()]) is there

    run(story)


def test_damaged_bytes_both_ways() -> None:
    async def story() -> None:
        layer, memory = faulty(Fault(1, Effect.FLIP), Fault(2, Effect.TRUNCATE), Fault(3, Effect.FLIP))
        await layer.put("a", BLOB)
        async with memory.get("a") as reader:
            assert await reader.read() == b"01234" + bytes([ord("5") ^ 1]) + b"6789"
        await memory.put("a", BLOB)
        for damaged in (b"01234", b"01234" + bytes([ord("5") ^ 1]) + b"6789"):
            async with layer.get("a") as reader:
                assert await reader.read() == damaged

    run(story)


def test_a_seeded_plan_is_the_same_every_time() -> None:
    async def calls(seed: int) -> list[str]:
        environment = Environment.seeded(1)
        plan = Plan.seeded(seed, calls=60, share=0.3, effects=[Effect.ERROR, Effect.DELAY])
        layer = Faults(MemoryBackend("m", environment=environment), plan=plan, environment=environment)
        outcomes = []
        for number in range(60):
            try:
                await layer.put(f"{number}", BLOB)
                outcomes.append("ok")
            except UnavailableError:
                outcomes.append("failed")
        return outcomes

    first = asyncio.run(calls(7))
    assert first == asyncio.run(calls(7))
    assert first != asyncio.run(calls(8))
    assert 3 < first.count("failed") < 30


def test_a_plan_numbers_calls_of_several_parts_together() -> None:
    async def story() -> None:
        plan, environment = Plan([Fault(3, Effect.ERROR)]), Environment.seeded(1)
        first, second = (
            Faults(MemoryBackend(name), plan=plan, environment=environment) for name in ("first", "second")
        )
        await first.put("a", BLOB)

        async def commit() -> str:
            return "done"

        assert await plan.around("commit", commit, environment.clock.sleep, store="catalog") == "done"
        with pytest.raises(UnavailableError):
            await second.put("a", BLOB)
        assert [(call.number, call.operation, call.store) for call in plan.calls] == [
            (1, "put", "first"),
            (2, "commit", "catalog"),
            (3, "put", "second"),
        ]

    run(story)


# -- stack ------------------------------------------------------------------------------------------------------------
def layers_of(backend: Backend) -> list[str]:
    inner = getattr(backend, "inner", None)
    return [type(backend).__name__, *(layers_of(inner) if inner is not None else [])]


def test_the_order_of_the_stack() -> None:
    class Above(Layer):
        preserves = ~Capability.NONE

    class Below(Layer):
        preserves = ~Capability.NONE

    backend = stack.build(
        MemoryBackend("m"),
        stack.StackSettings(read_only=True),
        environment=Environment(),
        metrics=StoreMetrics(CollectorRegistry()),
        above_retry=[Above],
        below_limit=[Below],
    )
    assert layers_of(backend) == [
        "Metrics",
        "ReadOnly",
        "Above",
        "Retry",
        "Integrity",
        "Limit",
        "Below",
        "MemoryBackend",
    ]
    assert backend.capabilities == MemoryBackend.capabilities


# -- memory -----------------------------------------------------------------------------------------------------------
def test_a_memory_store_may_be_full() -> None:
    async def story() -> None:
        memory = MemoryBackend("m", MemorySettings(max_bytes=15, max_blob_size=12))
        await memory.put("a", BLOB)
        with pytest.raises(QuotaExceededError):
            await memory.put("b", BLOB)
        await memory.put("a", Body.of_bytes(b"123456789012"))
        with pytest.raises(TooLargeError):
            await memory.put("a", Body.of_bytes(b"1234567890123"))
        await memory.delete("a")
        await memory.put("b", BLOB)
        assert [info.name async for info in memory.list()] == ["b"]

    run(story)
