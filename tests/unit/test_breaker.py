"""The breaker: leaves a store alone that does not answer, and finds out when it is back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.core.body import Body
from holdfast.core.circuit import Circuit, CircuitSettings, CircuitState, probing
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    DeadlineError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from holdfast.core.types import BlobInfo
from holdfast.layers import stack
from holdfast.layers.base import ALL, Layer
from tests.helpers import run

pytestmark = pytest.mark.unit
SETTINGS = CircuitSettings(failures=3, window=600, pause=5, longest=15)


class Moody(Layer):
    """Fails with `trouble` while there is any."""

    preserves = ALL
    trouble: BaseException | None = None
    calls = 0

    async def put(self, name: str, body: Body, **how: Any) -> BlobInfo:
        self._meet()
        return await super().put(name, body, **how)

    def get(self, name: str, **how: Any) -> Any:
        self._meet()
        return super().get(name, **how)

    async def head(self, name: str) -> BlobInfo:
        self._meet()
        return await super().head(name)

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        self._meet()
        return super().list(prefix, after=after)

    def _meet(self) -> None:
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble


class World:
    def __init__(self, attempts: int = 1) -> None:
        environment = Environment.seeded(1)
        assert isinstance(environment.clock, ManualClock)
        self.clock = environment.clock
        self.moody = Moody(open_memory("box", MemorySettings(), environment=environment))
        self.circuit = Circuit("box", self.clock, SETTINGS)
        self.backend = stack.build(
            self.moody,
            stack.StackSettings(attempts=attempts),
            environment=environment,
            circuit=self.circuit,
        )

    async def fails(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(HoldfastError):
                await self.backend.put("a", Body.of_bytes(b"x"))

    async def broken(self) -> None:
        self.moody.trouble = UnavailableError("gone", store="box")
        await self.fails(3)
        assert self.circuit.state is CircuitState.OPEN


def test_two_calls_in_a_row_that_hang_open_it() -> None:
    async def story() -> None:
        clock = ManualClock()
        circuit, gone = Circuit("box", clock), DeadlineError("silence")
        for state in (CircuitState.CLOSED, CircuitState.OPEN):
            clock.advance(90)
            trial, began = circuit.enter("put", "a"), circuit.now()
            clock.advance(45)
            circuit.failed(gone, trial, circuit.now() - began)
            assert circuit.state is state
        with pytest.raises(UnavailableError, match="left alone"):
            circuit.enter("put", "a")

    run(story())


def test_a_store_that_hangs_is_asked_twice_and_then_left_alone() -> None:
    async def story() -> None:
        environment = Environment.seeded(1)
        clock = environment.clock
        assert isinstance(clock, ManualClock)

        class Silent(Moody):
            def _meet(self) -> None:
                self.calls += 1
                clock.advance(45)
                raise UnavailableError("the store did not answer in time", store="box")

        silent = Silent(open_memory("box", MemorySettings(), environment=environment))
        circuit = Circuit("box", clock)
        backend = stack.build(silent, environment=environment, circuit=circuit)
        for _ in range(4):
            with pytest.raises(UnavailableError):
                await backend.put("a", Body.of_bytes(b"x"))
        assert (silent.calls, circuit.state, clock.monotonic()) == (2, CircuitState.OPEN, 90)

    run(story())


def test_failures_far_apart_count_when_nothing_succeeds_between_them() -> None:
    async def story() -> None:
        at = World()
        at.moody.trouble = UnavailableError("gone")
        for state in (CircuitState.CLOSED, CircuitState.CLOSED, CircuitState.OPEN):
            at.clock.advance(500)
            await at.fails()
            assert at.circuit.state is state

    run(story())


def test_it_opens_refuses_at_once_and_closes_when_the_store_is_back() -> None:
    async def story() -> None:
        at = World()
        at.moody.trouble = DeadlineError("slow")
        await at.fails(2)
        assert at.circuit.state is CircuitState.CLOSED
        await at.fails()
        assert (at.circuit.state, at.circuit.refuses) == (CircuitState.OPEN, True)
        calls = at.moody.calls
        for verb in (
            lambda: at.backend.put("a", Body.of_bytes(b"x")),
            lambda: at.backend.head("a"),
            lambda: at.backend.delete("a"),
            lambda: at.backend.discard("a"),
            lambda: at.backend.get("a").__aenter__(),
            lambda: at.backend.list().__anext__(),  # type: ignore[attr-defined]
        ):
            with pytest.raises(UnavailableError, match="left alone") as caught:
                await verb()
            assert caught.value.retry_after == 5
        assert at.moody.calls == calls
        at.clock.advance(5)
        assert (at.circuit.state, at.circuit.refuses) == (CircuitState.HALF_OPEN, False)
        await at.fails()
        assert (at.circuit.state, at.moody.calls) == (CircuitState.OPEN, calls + 1)
        at.clock.advance(9)
        assert at.circuit.state is CircuitState.OPEN  # the pause doubled
        at.clock.advance(1)
        at.moody.trouble = None
        await at.backend.put("a", Body.of_bytes(b"x"))
        assert at.circuit.state is CircuitState.CLOSED
        at.moody.trouble = UnavailableError("gone")
        await at.fails(2)
        assert at.circuit.state is CircuitState.CLOSED  # counted anew

    run(story())


def test_the_pause_has_a_longest() -> None:
    async def story() -> None:
        at = World()
        await at.broken()
        for pause in (5, 10, 15, 15):
            at.clock.advance(pause - 1)
            assert at.circuit.state is CircuitState.OPEN
            at.clock.advance(1)
            await at.fails()

    run(story())


def test_only_failures_in_a_row_and_close_together_count() -> None:
    async def story() -> None:
        at = World()
        for _ in range(4):
            at.moody.trouble = UnavailableError("gone")
            await at.fails(2)
            at.moody.trouble = None
            await at.backend.put("a", Body.of_bytes(b"x"))
        at.moody.trouble = UnavailableError("gone")
        for _ in range(5):
            at.clock.advance(601)
            await at.fails()
        assert at.circuit.state is CircuitState.CLOSED

    run(story())


@pytest.mark.parametrize(
    "answer", [NotFoundError("none"), RateLimitedError("later"), UnavailableError("gone", store="other")]
)
def test_what_is_an_answer_opens_nothing(answer: HoldfastError) -> None:
    async def story() -> None:
        at = World()
        at.moody.trouble = answer
        await at.fails(6)
        assert at.circuit.state is CircuitState.CLOSED

    run(story())


@pytest.mark.parametrize(
    "left", [asyncio.CancelledError(), InvalidRequestError("the client left"), MemoryError()]
)
def test_a_trial_that_shows_nothing_lets_another_one_find_out(left: BaseException) -> None:
    async def story() -> None:
        at = World()
        await at.broken()
        at.clock.advance(5)
        at.moody.trouble = left
        for call in (
            lambda: at.backend.head("a"),
            lambda: at.backend.get("a").__aenter__(),
            lambda: at.backend.list().__anext__(),  # type: ignore[attr-defined]
        ):
            with pytest.raises(type(left)):
                await call()
            assert (at.circuit.state, at.circuit.refuses) == (CircuitState.HALF_OPEN, False)
        at.moody.trouble = None
        assert [info async for info in at.backend.list()] == []
        assert at.circuit.state is CircuitState.CLOSED

    run(story())


def test_one_call_finds_out_while_the_others_are_refused() -> None:
    async def story() -> None:
        at = World()
        await at.broken()
        at.clock.advance(5)
        at.moody.trouble = None
        go = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            await go.wait()
            yield b"x"

        trial = asyncio.ensure_future(at.backend.put("a", Body.of_stream(slowly(), size=1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (at.circuit.state, at.circuit.refuses) == (CircuitState.HALF_OPEN, True)
        with pytest.raises(UnavailableError, match="left alone"):
            await at.backend.head("a")
        go.set()
        await trial
        assert (await at.backend.head("a")).size == 1

    run(story())


def test_a_call_counts_once_however_often_it_was_tried() -> None:
    async def story() -> None:
        at = World(attempts=3)
        at.moody.trouble = UnavailableError("gone")
        with pytest.raises(UnavailableError):
            await at.backend.head("a")
        assert (at.moody.calls, at.circuit.state) == (3, CircuitState.CLOSED)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await at.backend.head("a")
        assert (at.moody.calls, at.circuit.state) == (9, CircuitState.OPEN)
        slept = len(at.clock.slept)
        with pytest.raises(UnavailableError):
            await at.backend.head("a")
        assert len(at.clock.slept) == slept  # nothing is waited for

    run(story())


def test_calls_that_were_under_way_when_it_opened_change_nothing() -> None:
    clock = ManualClock()
    circuit = Circuit("box", clock, SETTINGS)
    gone = UnavailableError("gone")
    trials = [circuit.enter("put", "a") for _ in range(5)]
    for trial in trials:
        circuit.failed(gone, trial)
    assert circuit.state is CircuitState.OPEN
    clock.advance(5)
    assert circuit.enter("put", "a")
    circuit.failed(gone, False)  # a late one, which is not the trial
    circuit.left(False)
    assert circuit.refuses
    circuit.left(True)
    assert not circuit.refuses


def test_streams_that_break_in_a_row_open_it_and_one_that_ends_begins_anew() -> None:
    async def story() -> None:
        circuit, gone = Circuit("box", ManualClock(), SETTINGS), UnavailableError("it broke off")
        for _ in range(2):
            circuit.broke(gone)
        circuit.passed()  # opening streams says nothing of their end
        circuit.flowed()
        for _ in range(2):
            circuit.broke(gone)
        assert circuit.state is CircuitState.CLOSED
        circuit.broke(gone)
        assert (circuit.state, circuit.trouble) == (CircuitState.OPEN, "it broke off")

    run(story())


def test_while_it_is_watched_nobody_else_finds_out() -> None:
    async def story() -> None:
        at = World()
        await at.broken()
        at.circuit.watch(10)
        at.clock.advance(6)
        calls = at.moody.calls
        assert at.circuit.refuses
        with pytest.raises(UnavailableError, match="left alone"):
            await at.backend.head("a")
        assert at.moody.calls == calls
        at.moody.trouble = None
        with probing():
            await at.backend.put("a", Body.of_bytes(b"x"))
        assert (at.circuit.state, at.circuit.returns) == (CircuitState.CLOSED, 1)
        at.moody.trouble = UnavailableError("gone", store="box")
        await at.fails(3)
        at.clock.advance(11)  # whoever watched is gone: then it is as if nobody had
        assert not at.circuit.refuses

    run(story())


def test_pauses_sway_when_there_is_chance() -> None:
    async def story() -> None:
        waits = set()
        for seed in range(5):
            clock = ManualClock()
            circuit = Circuit("box", clock, SETTINGS, random.Random(seed))
            for _ in range(3):
                circuit.failed(UnavailableError("gone"), False)
            with pytest.raises(UnavailableError) as caught:
                circuit.enter("put", "a")
            assert caught.value.retry_after is not None
            assert 5 <= caught.value.retry_after <= 7.5
            waits.add(caught.value.retry_after)
        assert len(waits) == 5

    run(story())
