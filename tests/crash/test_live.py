"""A store left while it is written to, its follower killed now and then; `scripts/torture live` does much more of it."""

from __future__ import annotations

import asyncio

import pytest

from torture.live import Seen, trial

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_follower_loses_nothing_and_brings_nothing_back(seed: int) -> None:
    seen = Seen()
    asyncio.run(trial(seed, seen, kills=1, workers=2))
    assert seen.sound, str(seen)
    assert seen.kills == 1
