"""When a request is sent again, and how long is waited before."""

from __future__ import annotations

import math
import random
from typing import Final

from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError

RETRIED: Final = (
    10.0  #: seconds after which a request that failed is not sent again: silence is not met twice
)
LONGEST_PAUSE: Final = 20.0


def swaying(environment: Environment, tries: int) -> float:
    """Return how many seconds to wait after so many tries: longer each time, by chance more or less."""
    chance = random.Random(environment.random.getrandbits(64)).random()  # noqa: S311  # jitter, not a secret
    return 0.1 * 2.0**tries * (0.5 + chance)


async def pause(
    environment: Environment, tries: int, asked: float | None, *, longest: float = LONGEST_PAUSE
) -> None:
    """Wait before the next try: as long as the server asked, else longer each time."""
    own = swaying(environment, tries)
    await environment.clock.sleep(min(own if asked is None else asked, longest))


class Tries:
    """The tries of one request: how many there were, and whether another may help."""

    def __init__(
        self,
        environment: Environment,
        further: int,
        *,
        slow: float = math.inf,
        longest: float = LONGEST_PAUSE,
    ) -> None:
        """`further` tries follow the first, none after one that took more than `slow` seconds."""
        self._environment, self._further = environment, further
        self._slow, self._longest = slow, longest
        self._made, self._began = 0, 0.0

    def begin(self) -> None:
        """Count a try."""
        self._made, self._began = self._made + 1, self._environment.clock.monotonic()

    def forget(self) -> None:
        """Do not count this try: it failed for a reason that is mended."""
        self._made -= 1

    async def failed(self, error: HoldfastError) -> None:
        """Wait until it is time for the next try; raises `error` when there is to be none."""
        if not error.retryable or self._made > self._further:
            raise error
        if self._environment.clock.monotonic() - self._began > self._slow:
            raise error
        await pause(self._environment, self._made, error.retry_after, longest=self._longest)
