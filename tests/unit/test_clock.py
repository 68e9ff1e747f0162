"""Time, chance and ids."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.clock import Environment, ManualClock, SystemClock

pytestmark = pytest.mark.unit


@given(st.integers(0, (1 << 48) * 1000 - 1), st.integers())
def test_ids_are_version_7_and_carry_the_time(now: int, seed: int) -> None:
    environment = Environment.seeded(seed)
    environment.clock = ManualClock(now)
    made = UUID(environment.new_id())
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == now // 1000


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    environment, ids = Environment.seeded(1), []
    clock = environment.clock
    assert isinstance(clock, ManualClock)
    for _ in range(1000):
        ids.append(environment.new_id())
        clock.advance(0.001)
    assert ids == sorted(ids)
    assert len({Environment.seeded(1).new_id(), *ids}) == 1000
    real = Environment()
    assert len({real.new_id() for _ in range(10_000)}) == 10_000


def test_the_same_seed_gives_the_same_run() -> None:
    def story(seed: int) -> list[str]:
        environment = Environment.seeded(seed)
        return [environment.new_id() for _ in range(5)]

    assert story(3) == story(3)
    assert story(3) != story(4)


def test_a_manual_clock_moves_when_told_or_slept_on() -> None:
    clock = ManualClock(5_000_000)
    assert (clock.now(), clock.monotonic()) == (5_000_000, 0.0)
    clock.advance(2.5)
    asyncio.run(clock.sleep(1.5))
    assert (clock.now(), clock.monotonic(), clock.slept) == (9_000_000, 4.0, [1.5])


def test_the_machines_clock() -> None:
    clock = SystemClock()
    assert abs(clock.now() / 1e6 - time.time()) < 5
    before = clock.monotonic()
    asyncio.run(clock.sleep(0.01))
    assert 0.009 < clock.monotonic() - before < 5
