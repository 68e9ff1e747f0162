"""The driver for Google Cloud Storage while its fake has its bad days.

Looked for: bytes that are not what was put, a put that was acknowledged and is gone or older, a free name that two
writers were given, an error that is not ours, a call that does not end, uploads that are left open.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from holdfast.backends.object_store.gcs import GcsBackend, GcsSettings, open_gcs
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import CorruptedError
from holdfast.testing.fakes.gcs import FakeGcs, Fault
from torture.storm import Figures as Seen
from torture.storm import Storm

_PART = 5 << 20
_FAULTS = (
    *(Fault("status", status=status) for status in (500, 502, 503)),
    Fault("status", status=429, code="SlowDown", retry_after=2),
    Fault("status", status=401, code="AuthenticationRequired"),
    Fault("status", status=408, code="RequestTimeout"),
    *(Fault(kind) for kind in ("reset", "lost", "half", "short", "lie")),
)


@dataclass
class Figures(Seen):
    """What was seen."""

    title: ClassVar[str] = "gcs"
    renewed: int = 0  #: tokens that were fetched

    @property
    def more(self) -> str:
        """What a driver counts besides."""
        return f"{self.renewed:,} tokens, "


async def storm(faults: int, *, seed: int) -> Figures:
    """Return what happens while `faults` requests meet a fault."""
    figures, began, clock = Figures(), time.monotonic(), ManualClock()
    with FakeGcs(now=clock.now) as fake:
        values = {**fake.settings(), "part_size": _PART, "retries": 0, "read_timeout": 20}
        environment = Environment(clock=clock, random=random.Random(seed))  # noqa: S311 - repeatable, not secret
        backend = open_gcs("storm", GcsSettings.model_validate(values), environment=environment)
        assert isinstance(backend, GcsBackend)
        try:
            await _Storm(fake, clock, backend, figures, faults, seed).blow()
        finally:
            await backend.close()
        figures.renewed = len(fake.accounts.tokens)
    figures.seconds = time.monotonic() - began
    return figures


class _Storm(Storm):
    workers = 8
    large_share = 0.08
    piece = 1 << 20

    def __init__(
        self,
        fake: FakeGcs,
        clock: ManualClock,
        backend: GcsBackend,
        figures: Figures,
        faults: int,
        seed: int,
    ) -> None:
        super().__init__(backend, figures, faults, seed, part=_PART)
        self._fake, self._clock, self._bucket = fake, clock, backend

    async def blow(self) -> None:
        """Work until the faults are used up, then look at everything without any."""
        self._fake.faults.chance = self._fault
        await super().blow()
        self._clock.advance(1)
        await self._bucket.abort_stale_uploads(0)
        if self._fake.bucket.uploads:
            self._figures.wrong.append(f"{len(self._fake.bucket.uploads)} uploads stay open")

    def met(self) -> int:
        """Return how many faults there were."""
        return len(self._fake.faults.met)

    def calm(self) -> None:
        """End the bad days."""
        self._fake.faults.clear()

    def left_by(self, error: Exception) -> Sequence[str]:
        """Return nothing, or "": what the store calls other bytes than were sent is taken back."""
        return ("",) if isinstance(error, CorruptedError) else ()

    async def act(self, name: str, chance: random.Random) -> None:
        """Do one thing with `name`, or let the tokens grow old."""
        what = chance.random()
        if what < 0.5:
            await self._put(name, chance)
        elif what < 0.85:
            await self._look(name)
        elif what < 0.95:
            await self._remove(name)
        else:
            self._clock.advance(chance.choice((1, 600, 4000)))
            if chance.random() < 0.3:
                self._fake.accounts.end_all()

    def _fault(self, method: str, target: str) -> Fault | None:
        return self._chance.choice(_FAULTS) if self._chance.random() < 0.3 else None
