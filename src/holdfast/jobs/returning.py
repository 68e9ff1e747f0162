"""Stores that do not answer, watched until they do: then they are used again at once, and what is owed is made good.

Each process watches the stores that it has given up itself. While it does, none of its clients waits for a store to find
out whether it is back. What is owed is in the catalog: whichever process sees a store return makes all debts due, so
that those are paid that had been put off for hours.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from holdfast.core.circuit import CircuitState, probing
from holdfast.core.errors import HoldfastError
from holdfast.engine.engine import Engine
from holdfast.engine.probe import Probe, probe
from holdfast.jobs.reconcile import pay

_log = structlog.get_logger("holdfast.returning")
_LOOK: Final = 0.25  #: seconds between two looks at the breakers of this process
_WATCH: Final = 10.0  #: seconds for which clients rely on us
_FIRST: Final = 1.0  #: seconds until a store is asked, then twice that, and so on
_LONGEST: Final = 30.0
_SETTLED: Final = 5.0  #: seconds after which debts are made due once more
_RELAPSE: Final = 60.0  #: seconds within which a store that fails again was not well


@dataclass(slots=True)
class _Absent:
    """A store that is left alone: when it is asked next, and the question that is under way.

    `silent`: it was asked, and did not answer. One that answers and fails all the same is asked later and later.
    """

    at: float
    pause: float = _FIRST
    silent: bool = False
    over: float | None = None  #: when it was used again
    settled: bool = True  #: debts that failed while it came back were made due, too
    asking: asyncio.Task[Probe] | None = None


class Watch:
    """Asks stores that this process passes over whether they are back. `look` again and again; `close` in the end."""

    def __init__(self, engine: Engine, *, pays: bool = True) -> None:
        self._engine, self._pays = engine, pays
        self._absent: dict[str, _Absent] = {}
        self._returns: dict[str, int] = {}
        self._paying: asyncio.Task[None] | None = None
        self._due: set[str] = set()  # stores that are back, and whose debts are still put off

    def look(self) -> None:
        """Look once at every store that is open here; what takes time goes on beside."""
        for name, store in self._engine.stores.open_ones().items():
            circuit = store.circuit
            if circuit is None:
                continue
            returned = circuit.returns != self._returns.setdefault(name, circuit.returns)
            absent = self._absent.get(name)
            answered = absent is not None and self._heard(absent)
            if circuit.state is not CircuitState.CLOSED:
                circuit.watch(_WATCH)
                self._ask(name, circuit.trouble)
            elif answered or returned:
                self._returns[name] = circuit.returns
                self._back(name)
            elif self._engine.avoids(name):
                self._ask(name, "it failed just now")
            elif absent is not None and absent.over is not None and not absent.settled:
                self._once_more(name, absent, absent.over)

    async def close(self) -> None:
        """End what is under way."""
        tasks: list[asyncio.Task[Probe] | asyncio.Task[None]] = [
            one.asking for one in self._absent.values() if one.asking is not None
        ]
        if self._paying is not None:
            tasks.append(self._paying)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _heard(self, absent: _Absent) -> bool:
        """Tell whether a question was answered since the last look."""
        asking = absent.asking
        if asking is None or not asking.done():
            return False
        absent.asking = None
        if not asking.cancelled() and asking.exception() is None and asking.result().usable:
            return True
        absent.silent = True
        self._later(absent)
        return False

    def _later(self, absent: _Absent) -> None:
        environment = self._engine.context.environment
        absent.pause = min(2 * absent.pause, _LONGEST)
        absent.at = environment.clock.monotonic() + absent.pause * environment.random.uniform(0.75, 1.25)

    def _ask(self, name: str, why: str) -> None:
        environment = self._engine.context.environment
        now = environment.clock.monotonic()
        absent = self._absent.get(name)
        if absent is None or (absent.over is not None and (absent.silent or now - absent.over > _RELAPSE)):
            _log.warning("a store is passed over", store=name, reason=why)
            absent = self._absent[name] = _Absent(now + _FIRST * environment.random.uniform(0.75, 1.25))
        elif absent.over is not None:  # it said that it was well, and was not
            absent.over = None
            self._later(absent)
        if absent.asking is None and now >= absent.at:
            absent.asking = asyncio.ensure_future(self._probe(name))

    def _once_more(self, name: str, absent: _Absent, over: float) -> None:
        """What was under way when the store came back has ended by now, and was perhaps put off again."""
        if self._engine.context.environment.clock.monotonic() - over > _SETTLED:
            absent.settled = True
            self._hurry(name)

    async def _probe(self, name: str) -> Probe:
        with probing():
            return await probe(self._engine.stores[name].backend, self._engine.context.environment)

    def _back(self, name: str) -> None:
        _log.info("a store answers again", store=name)
        if (absent := self._absent.get(name)) is not None:
            absent.over, absent.settled = self._engine.context.environment.clock.monotonic(), False
        self._engine.returned(name)
        self._hurry(name)

    def _hurry(self, name: str) -> None:
        self._due.add(name)
        if self._paying is None or self._paying.done():
            self._paying = asyncio.ensure_future(self._pay())

    async def _pay(self) -> None:
        """Make debts due that were put off for stores which are back, and pay; once more when another returned meanwhile."""
        while self._due:
            try:
                await self._engine.catalog.hurry_debts(store=self._due.pop())
                if self._pays:
                    report = await pay(self._engine)
                    _log.info("made good", versions=report.moved, blobs=report.copied, failed=report.failed)
            except HoldfastError as error:
                _log.warning("what is owed was not made good", code=error.code, error=error.message)


async def keep_watching(engine: Engine, *, pays: bool = True) -> None:
    """Watch until cancelled. Without `pays` debts are only made due, for other processes."""
    watch = Watch(engine, pays=pays)
    try:
        while True:
            await engine.context.environment.clock.sleep(_LOOK)
            with suppress(HoldfastError):
                watch.look()
    finally:
        await watch.close()
