"""The sealer: moves what happened into the sealed audit, for as long as the process lives."""

from __future__ import annotations

import asyncio

import structlog

from holdfast.catalog.chain import MOST
from holdfast.core.errors import HoldfastError
from holdfast.engine.audit import Auditor, SealReport
from holdfast.engine.engine import Engine

_log = structlog.get_logger("holdfast.audit")
_INTERVAL = 1.0  #: seconds, jittered so that processes do not meet
_LOOK = 0.1  #: seconds between looks whether so much waits that it must not wait longer
_MUCH = 16 * MOST
_AGAIN = 60.0  #: seconds after which a failure that goes on is told again
_LAST = 10.0  #: seconds that the end of the process waits for the last sealing
_KNOCK = (
    1.5  #: seconds that the catalog has at the end to show that it answers; else nothing is sealed any more
)


async def keep_sealing(engine: Engine) -> None:
    """Seal every second, or sooner when very much waits, until cancelled, and a last time then."""
    environment = engine.context.environment
    watch = _Watch(engine.audit)
    sealing: asyncio.Future[None] | None = None
    try:
        while True:
            await _wait(engine)
            sealing = asyncio.ensure_future(watch.seal(environment.clock.monotonic()))
            await asyncio.shield(sealing)  # broken off, it might seal twice
    finally:
        await _seal_last(engine, watch, sealing)


async def _seal_last(engine: Engine, watch: _Watch, sealing: asyncio.Future[None] | None) -> None:
    """End the sealing that runs and seal what came since; a catalog that does not answer ends it at once."""
    waiting = len(engine.audit.recorder)
    try:
        async with asyncio.timeout(_KNOCK):
            await engine.catalog.ping()
        async with asyncio.timeout(_LAST):
            if sealing is not None:
                await sealing
            await watch.seal(engine.context.environment.clock.monotonic())
    except (HoldfastError, TimeoutError):
        _log.error("the last audit records could not be sealed: the catalog does not answer", records=waiting)
    finally:
        if sealing is not None and not sealing.done():
            sealing.cancel()
            await asyncio.gather(sealing, return_exceptions=True)


async def _wait(engine: Engine) -> None:
    """Return after about a second, or once very much waits: each sealing is a commit, which readers notice."""
    environment = engine.context.environment
    until = environment.clock.monotonic() + _INTERVAL * environment.random.uniform(0.75, 1.25)
    while (left := until - environment.clock.monotonic()) > 0:
        await environment.clock.sleep(min(left, _LOOK))
        if engine.audit.recorder.fresh >= _MUCH:
            return


class _Watch:
    """Seals, and tells of what failed: once a minute, however often it fails."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor
        self._told: dict[str, float] = {}
        self._dropped = 0

    async def seal(self, now: float) -> None:
        """Seal what waits."""
        try:
            report = await self._auditor.seal()
        except HoldfastError as error:
            self._tell("", now, error)
        else:
            self._tell_of(report, now)
        dropped = self._auditor.recorder.dropped
        if dropped > self._dropped and self._due("dropped", now):
            _log.error(
                "audit records were dropped: there was no room for them", records=dropped - self._dropped
            )
            self._dropped = dropped

    def _tell_of(self, report: SealReport, now: float) -> None:
        for tenant, error in report.failed.items():
            self._tell(tenant, now, error)

    def _tell(self, tenant: str, now: float, error: HoldfastError) -> None:
        if self._due(f"failed {tenant}", now):
            _log.error("audit could not be sealed", tenant=tenant, code=error.code, error=error.message)

    def _due(self, what: str, now: float) -> bool:
        if now - self._told.get(what, float("-inf")) < _AGAIN:
            return False
        self._told[what] = now
        return True
