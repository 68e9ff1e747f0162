"""The suite itself: it catches what is broken, says how, and hides nothing."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import Capability
from holdfast.layers.base import Layer
from holdfast.testing.checks import CHECKS
from holdfast.testing.run import Outcome, State, run
from tests.conformance.mutants import MUTANTS, Mutant

pytestmark = pytest.mark.engine


def states(outcomes: list[Outcome]) -> dict[str, State]:
    return {outcome.name: outcome.state for outcome in outcomes}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_every_mutant_is_caught_by_the_promise_it_breaks(mutant: type[Mutant]) -> None:
    async def story() -> list[Outcome]:
        return await run(mutant(), only=[mutant.caught_by], timeout=5, close=True)

    (outcome,) = asyncio.run(story())
    assert outcome.state is State.BROKEN, f"{mutant.__name__} was not caught"
    assert outcome.reason


def test_there_are_enough_promises_and_each_is_a_sentence() -> None:
    assert len(CHECKS) >= 50
    for check in CHECKS.values():
        assert check.promise.endswith("."), check.name
        assert check.promise[0] == check.promise[0].upper(), check.name


def test_what_is_not_offered_is_said_and_never_left_out() -> None:
    outcomes = asyncio.run(run(Layer(MemoryBackend("bare")), close=True))
    assert [outcome.name for outcome in outcomes if outcome.state is State.BROKEN] == []
    assert len(outcomes) == len(CHECKS)
    missing = {outcome.name for outcome in outcomes if outcome.state is State.NOT_OFFERED}
    assert missing >= {check.name for check in CHECKS.values() if check.needs is not Capability.NONE}
    assert all(outcome.reason for outcome in outcomes if outcome.state is State.NOT_OFFERED)


def test_nothing_is_left_behind() -> None:
    async def story() -> list[str]:
        backend = MemoryBackend("memory")
        await run(backend)
        return [info.name async for info in backend.list()]

    assert asyncio.run(story()) == []


def test_a_check_that_hangs_is_broken_not_endless() -> None:
    class Hangs(Layer):
        preserves = ~Capability.NONE

        async def delete(self, name: str) -> None:
            await asyncio.Event().wait()

    outcomes = asyncio.run(run(Hangs(MemoryBackend("m")), only=["delete_removes"], timeout=0.2))
    assert states(outcomes) == {"delete_removes": State.BROKEN}
    assert "did not end" in outcomes[0].reason


def test_progress_is_told_as_it_happens() -> None:
    seen: list[Outcome] = []
    outcomes = asyncio.run(
        run(MemoryBackend("m"), only=["delete_removes", "an_empty_blob_round_trips"], progress=seen.append)
    )
    assert seen == outcomes
    assert len(seen) == 2
