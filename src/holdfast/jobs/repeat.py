"""Work that is done again and again, for as long as the process lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError

_log = structlog.get_logger("holdfast.jobs")


async def repeat(
    name: str, work: Callable[[], Awaitable[None]], interval: float, environment: Environment
) -> None:
    """Do `work` every `interval` seconds (jittered by a quarter, so that replicas spread out) until cancelled; 0: never.

    A failure is logged with `name`, and tried again the next time.
    """
    if interval <= 0:
        return
    while True:
        await environment.clock.sleep(interval * environment.random.uniform(0.75, 1.25))
        try:
            await work()
        except HoldfastError as error:
            _log.warning(f"{name} failed", code=error.code, error=error.message)
