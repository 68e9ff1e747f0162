"""A little of what `scripts/torture gc` and `scripts/torture scrub` do at length; and that they would notice."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest
import structlog

from holdfast.core.types import BlobInfo
from holdfast.engine.fsck import Inspection, Stretch
from tests.helpers import run
from torture.gc import tortured
from torture.scrub import ground_of, torture

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def test_nothing_live_goes_and_nothing_planted_stays_unseen() -> None:
    figures = run(tortured(50, 7))
    assert figures.sound, str(figures)


def test_a_look_that_overlooks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def overlook(self: Inspection, infos: Sequence[BlobInfo], seen: Stretch) -> None:
        return

    monkeypatch.setattr(Inspection, "_dark", overlook)
    assert not run(tortured(25, 7)).sound


@pytest.mark.parametrize("kind", ["local", "encrypted", "cached"])
def test_every_bit_is_found_and_none_is_served(kind: str) -> None:
    async def story() -> None:
        with ground_of(kind) as ground:
            figures = await torture(ground, 8, 3)
        assert figures.sound, str(figures)

    run(story())
