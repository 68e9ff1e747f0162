"""The driver for Azure Blob while the way to a real blob server has its bad days.

Looked for: bytes that are not what was put, a put that was acknowledged and is gone or older, a free name that two
writers were given, an error that is not ours, a call that does not end.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

from holdfast.backends.object_store.azure import AzureBackend, AzureSettings, open_azure
from holdfast.core.clock import Environment
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.proxy import Answer, Cut, Fault, Flip, Proxy, Refuse, Truncate
from torture.storm import Figures as Seen
from torture.storm import Hasty, Storm

_BLOCK = 1 << 20


@dataclass
class Figures(Seen):
    """What was seen."""

    title: ClassVar[str] = "azure"

    @property
    def sound(self) -> bool:
        """Whether nothing was found, and there was something to look at."""
        return super().sound and self.failed > 0


async def storm(faults: int, *, seed: int, server: AzureServer | None = None) -> Figures:
    """Return what happens while `faults` requests meet a fault; on `server`, else on one that is started for it."""
    if server is None:
        with azurite() as running:
            return await storm(faults, seed=seed, server=running)
    figures, began = Figures(), time.monotonic()
    async with Proxy("127.0.0.1", server.port) as proxy:
        settings = AzureSettings.model_validate(
            {
                "account": server.account,
                "account_key": server.account_key,
                "container": server.container,
                "endpoint": f"http://127.0.0.1:{proxy.port}/{server.account}",
                "allow_http": True,
                "part_size": _BLOCK,
                "retries": 1,
                "prefix": f"storm-{seed}",
            }
        )
        environment = Environment(clock=Hasty(), random=random.Random(seed))  # noqa: S311 - repeatable, not secret
        backend = open_azure("storm", settings, environment=environment)
        try:
            await _Storm(proxy, backend, figures, faults, seed).blow()
        finally:
            await backend.close()
    figures.seconds = time.monotonic() - began
    return figures


class _Storm(Storm):
    parts = 2

    def __init__(self, proxy: Proxy, backend: AzureBackend, figures: Figures, faults: int, seed: int) -> None:
        super().__init__(backend, figures, faults, seed, part=_BLOCK)
        self._proxy = proxy

    def met(self) -> int:
        """Return how many faults there were."""
        return sum(self._proxy.done.values())

    def calm(self) -> None:
        """End the bad days."""
        left = self._proxy.pending
        self._proxy.clear()
        assert left <= self.workers, "faults pile up unused"

    async def act(self, name: str, chance: random.Random) -> None:
        """Do one thing with `name`."""
        if self._proxy.pending < self.workers:
            self._proxy.script(_fault(chance))
        what = chance.random()
        if what < 0.5:
            await self._put(name, chance)
        elif what < 0.85:
            await self._look(name)
        elif chance.random() < 0.5:  # it makes an empty blob for a moment, and may be kept from removing it
            await self._remove(name, discard=True, left=(sha256(b"").hexdigest(),))
        else:
            await self._remove(name)


def _fault(chance: random.Random) -> Fault:
    return chance.choice(
        (
            Answer(503, code="ServerBusy", retry_after=0),
            Answer(500, code="OperationTimedOut", after_effect=True),
            Answer(500, code="InternalError"),
            Answer(409, code="BlobBeingRehydrated", match=lambda head: head.method == "GET"),
            Refuse(),
            Cut(after=chance.randrange(2_000)),
            # All of a body would take effect some time after the connection is gone; that proves nothing.
            Cut(after=chance.randrange(2_000), upward=True, match=lambda head: head.length > 2_000),
            Truncate(length=chance.randrange(10), match=lambda head: head.method == "GET"),
            # Lists of blocks are not among them: the emulator does not compare their MD5.
            Flip(
                offset=chance.randrange(10),
                upward=True,
                match=lambda head: head.length > 10 and "blocklist" not in head.target,
            ),
        )
    )
