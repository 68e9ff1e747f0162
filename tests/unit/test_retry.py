"""Retry: how often, how long, and what is never sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    KINDS,
    AlreadyExistsError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from holdfast.layers.faults import Effect, Fault, Faults, Plan, When
from holdfast.layers.retry import Retry, RetrySettings

pytestmark = pytest.mark.unit


class Scene:
    """A retry layer over a store whose calls fail as told, in a world where no time passes."""

    def __init__(self, *faults: Fault, **settings: Any) -> None:
        self.environment = Environment.seeded(5)
        self.plan = Plan(faults)
        self.memory = MemoryBackend("memory", environment=self.environment)
        faulty = Faults(self.memory, plan=self.plan, environment=self.environment)
        self.seen: list[tuple[str, str]] = []
        self.retry = Retry(
            faulty,
            environment=self.environment,
            settings=RetrySettings(**settings),
            observe=lambda operation, error: self.seen.append((operation, error.code)),
        )

    @property
    def slept(self) -> list[float]:
        clock = self.environment.clock
        assert isinstance(clock, ManualClock)
        return clock.slept


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def failing(
    at: int, make: Callable[[], HoldfastError] = lambda: UnavailableError("down"), when: When = When.BEFORE
) -> Fault:
    return Fault(at, Effect.ERROR, when, make)


def test_three_tries_and_then_the_error() -> None:
    async def story() -> None:
        scene = Scene(failing(1), failing(2), failing(3))
        with pytest.raises(UnavailableError, match="down"):
            await scene.retry.head("name")
        assert len(scene.plan.calls) == 3
        assert len(scene.slept) == 2
        assert scene.seen == [("head", "unavailable")] * 2

    run(story)


def test_the_third_try_may_succeed() -> None:
    async def story() -> None:
        scene = Scene(failing(1), failing(2))
        await scene.retry.put("name", Body.of_bytes(b"x"))
        scene = Scene(failing(2), failing(3), failing(5), failing(6), failing(8), failing(9))
        await scene.retry.put("name", Body.of_bytes(b"data"))
        async with scene.retry.get("name") as reader:
            assert await reader.read() == b"data"
        await scene.retry.copy("name", "other")
        await scene.retry.delete("name")

    run(story)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_may_pass_is_tried_again(kind: type[HoldfastError]) -> None:
    async def story() -> None:
        scene = Scene(failing(1, lambda: kind("no")))
        try:
            await scene.retry.delete("name")
        except kind:
            assert not kind.retryable
        else:
            assert kind.retryable
        assert len(scene.plan.calls) == (2 if kind.retryable else 1)

    run(story)


def test_pauses_are_random_up_to_a_bound_that_doubles() -> None:
    async def story() -> None:
        pauses: list[list[float]] = [[] for _ in range(5)]
        for seed in range(200):
            scene = Scene(*(failing(number) for number in range(1, 7)), attempts=6, base=0.1, longest=0.5)
            scene.environment.random.seed(seed)
            with pytest.raises(UnavailableError):
                await scene.retry.head("name")
            for column, pause in zip(pauses, scene.slept, strict=True):
                column.append(pause)
        for column, bound in zip(pauses, (0.1, 0.2, 0.4, 0.5, 0.5), strict=True):
            assert 0 <= min(column) < bound * 0.1, "the jitter reaches down to nothing"
            assert bound * 0.9 < max(column) <= bound, "and up to the bound"

    run(story)


def test_a_store_that_says_when_is_not_asked_before() -> None:
    async def story() -> None:
        scene = Scene(failing(1, lambda: RateLimitedError("slow down", retry_after=7.0)))
        await scene.retry.delete("name")
        assert 7.0 <= scene.slept[0] <= 7.1

    run(story)


def test_a_store_that_asks_for_more_than_our_patience_is_left_alone() -> None:
    async def story() -> None:
        scene = Scene(failing(1, lambda: RateLimitedError("tomorrow", retry_after=3600.0)))
        with pytest.raises(RateLimitedError) as caught:
            await scene.retry.delete("name")
        assert caught.value.retry_after == 3600.0
        assert len(scene.plan.calls) == 1
        assert scene.slept == []

    run(story)


async def once(taken: list[bytes]) -> AsyncIterator[bytes]:
    taken.append(b"x")
    yield b"x"


def test_a_body_that_was_taken_from_is_not_sent_again() -> None:
    async def story() -> None:
        scene, taken = Scene(failing(1, when=When.AFTER)), list[bytes]()
        with pytest.raises(UnavailableError):
            await scene.retry.put("name", Body.of_stream(once(taken)))
        assert (len(scene.plan.calls), taken) == (1, [b"x"])

    run(story)


def test_a_body_that_was_not_touched_is_sent_again() -> None:
    async def story() -> None:
        scene, taken = Scene(failing(1), failing(2)), list[bytes]()
        await scene.retry.put("name", Body.of_stream(once(taken)))
        assert (len(scene.plan.calls), taken) == (3, [b"x"])

    run(story)


def test_a_body_that_can_be_replayed_is_sent_again() -> None:
    async def story() -> None:
        scene = Scene(failing(1, when=When.AFTER))
        info = await scene.retry.put("name", Body.of_bytes(b"12345"))
        assert (info.size, len(scene.plan.calls)) == (5, 2)

    run(story)


def test_a_name_taken_by_an_earlier_try_of_ours_is_no_proof() -> None:
    async def story() -> None:
        scene = Scene(failing(1, when=When.AFTER))  # stored, but the answer was lost
        with pytest.raises(UnavailableError) as caught:
            await scene.retry.put("name", Body.of_bytes(b"x"), if_absent=True)
        assert isinstance(caught.value.__cause__, AlreadyExistsError)
        with pytest.raises(AlreadyExistsError):
            await scene.retry.put("name", Body.of_bytes(b"x"), if_absent=True)

    run(story)


def test_a_try_that_was_turned_away_leaves_no_doubt() -> None:
    async def story() -> None:
        scene = Scene(failing(2, lambda: RateLimitedError("later")))
        await scene.retry.put("name", Body.of_bytes(b"x"))
        with pytest.raises(AlreadyExistsError):
            await scene.retry.put("name", Body.of_bytes(b"x"), if_absent=True)

    run(story)


def test_a_stream_that_breaks_is_not_opened_again_behind_the_readers_back() -> None:
    async def story() -> None:
        scene = Scene(failing(2, when=When.AFTER))
        await scene.retry.put("name", Body.of_bytes(b"12345678"))
        with pytest.raises(UnavailableError):
            async with scene.retry.get("name") as reader:
                await reader.read()
        assert len(scene.plan.calls) == 2

    run(story)


def test_an_error_of_the_reader_is_not_tried_again() -> None:
    async def story() -> None:
        scene = Scene()
        await scene.retry.put("name", Body.of_bytes(b"x"))
        with pytest.raises(UnavailableError, match="mine"):
            async with scene.retry.get("name"):
                raise UnavailableError("mine")
        assert [call.operation for call in scene.plan.calls] == ["put", "get"]

    run(story)


def test_a_listing_goes_on_behind_the_last_name() -> None:
    async def story() -> None:
        names = [f"{number}" for number in range(5)]
        scene = Scene(*(failing(number, when=When.AFTER) for number in range(6, 9)))
        for name in names:
            await scene.retry.put(name, Body.of_bytes(b"x"))
        assert [info.name async for info in scene.retry.list()] == names
        assert [call.operation for call in scene.plan.calls[5:]] == ["list"] * 4

    run(story)


def test_a_listing_that_gets_nowhere_ends_in_its_error() -> None:
    async def story() -> None:
        scene = Scene(*(failing(number) for number in range(1, 9)))
        with pytest.raises(UnavailableError):
            [info async for info in scene.retry.list()]
        assert len(scene.plan.calls) == 3

    run(story)


def test_what_can_not_be_helped_fails_at_once() -> None:
    async def story() -> None:
        scene = Scene()
        with pytest.raises(NotFoundError):
            await scene.retry.head("never")
        with pytest.raises(InvalidRequestError):
            await scene.retry.put("../x", Body.of_bytes(b"x"))
        assert scene.slept == []

    run(story)


def test_settings_out_of_bounds_are_refused() -> None:
    for wrong in ({"attempts": 0}, {"base": -1}, {"unknown": 1}):
        with pytest.raises(ValueError):
            RetrySettings(**wrong)
