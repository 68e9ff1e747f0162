"""What a kind of job is: a spec that it checks, a forecast, parts, steps, an end.

A kind holds no state of its own: all that outlives a step is in its part's cursor, in the job's counters, and in what it
changed in the catalog and the stores. A step may be done twice (its process died before the checkpoint), so doing it again
must do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from holdfast.core.errors import InvalidRequestError
from holdfast.core.jobs import Counts, ItemFailure, Job, Part
from holdfast.engine.engine import Engine
from holdfast.policy.cost import Estimate

_NONE: Final = Counts()
_FREE: Final = Estimate()


class Gauge(Protocol):
    """Keeps the pace of a job. Both return when there is room, and raise `asyncio.CancelledError` when the job is to stop."""

    async def objects(self, count: int = 1) -> None:
        """Wait for the room to do `count` more objects."""
        ...

    async def bytes(self, count: int) -> None:
        """Wait for the room to move `count` more bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What a kind is given: the engine, the job as it stands, and the gauge of its pace.

    `stopping()` tells that the job is paused, cancelled or its process ends: a step then returns what it has done so far.
    `beat()` renews the lease of the part; a step that may take longer than a few seconds calls it now and then.
    """

    engine: Engine
    job: Job
    gauge: Gauge
    stopping: Callable[[], bool]
    beat: Callable[[], Awaitable[None]]

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the job is about, as its kind checked it."""
        return self.job.spec

    async def room(self, objects: int = 1, size: int = 0) -> bool:
        """Wait until the pace allows so much more; False: the job is to stop, and the step returns what it has done."""
        try:
            if objects:
                await self.gauge.objects(objects)
            if size:
                await self.gauge.bytes(size)
        except asyncio.CancelledError:
            if self.stopping():
                return False
            raise
        return True


@dataclass(frozen=True, slots=True)
class Range:
    """Where a part begins and ends ("": at the first, to the last), as the kind spells it.

    `items` and `bytes` are about what lies in it, where that is known: a job's total is their sum.
    """

    start: str = ""
    end: str = ""
    items: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did: where the part goes on, what to add to the counters, which items failed; `done`: the part is over."""

    cursor: str
    done: bool = False
    counts: Counts = _NONE
    failures: Sequence[ItemFailure] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """How a job ends: `result` for whoever asks; `again`: another round over these parts, `after` so many seconds."""

    result: Mapping[str, Any] = field(default_factory=dict)
    again: Sequence[Range] = ()
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a job would do: nothing of it is done. Amounts that are not known are None, never 0.

    `calls` counts requests by store and verb; `seconds` is a guess from the pace, or from what the stores did lately.
    `notes` say what is refused, left out or uncertain, each with its reason.
    """

    objects: int = 0
    bytes: int = 0
    calls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    once: Estimate = _FREE
    before: Estimate = _FREE  #: per month
    after: Estimate = _FREE  #: per month
    seconds: float | None = None
    moves: Mapping[tuple[str, str], int] = field(default_factory=dict)  #: versions by stores now and then
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A permission that a job needs, and where: as `policy.access.decide` is asked."""

    verb: str
    bucket: str = ""
    key: str | None = None
    prefix: str = ""


class Kind(Protocol):
    """One kind of job. `name` is what doors call it; `verb` is the permission that it needs (`policy.access`).

    The first line of its docstring is what doors say it is for. A kind that needs more than its verb on the bucket (and
    prefix) that its spec names has a method `asks(spec)`, which returns every `Ask`. A kind whose verb operators alone
    have works for the service; any other in one tenant, which the checked spec then names as `tenant`. A kind whose spec
    names buckets or stores has `async look(engine, spec)`, which raises `NotFoundError` for what is not there: it is
    asked when a job is about to be started, once that is allowed.
    """

    @property
    def name(self) -> str:
        """What doors call it."""
        ...

    @property
    def verb(self) -> str:
        """The permission that it needs."""
        ...

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `spec` in its usual form, defaults filled in; plain JSON values.

        Raises:
            InvalidRequestError: naming the member that is wrong, and what it may be.
        """
        ...

    async def forecast(self, work: Work) -> Forecast:
        """Return what the job would do."""
        ...

    async def split(self, work: Work) -> Sequence[Range]:
        """Return the parts of the first round: at least one, at most about a hundred."""
        ...

    async def step(self, work: Work, part: Part) -> Step:
        """Do a stretch of the part from its cursor: some hundred objects, some seconds.

        What it returns is counted, also when the job is to stop: then the cursor is where everything before it was
        done, and the counters are of what was done. What it raises is not counted.

        What goes wrong with one item is a failure in the answer. What is raised is tried again, later and later.

        Raises:
            HoldfastError: the step could not be done.
        """
        ...

    async def finish(self, work: Work) -> Finish:
        """Return how the job ends; called when every part is over, once or more."""
        ...


class Kinds:
    """The kinds of job that there are, by name."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    @property
    def names(self) -> Sequence[str]:
        """Their names, in order."""
        return sorted(self._kinds)

    def find(self, name: str) -> Kind:
        """Return the kind of that name; `InvalidRequestError` when there is none."""
        try:
            return self._kinds[name]
        except KeyError:
            known = ", ".join(self.names)
            raise InvalidRequestError(f"there is no kind of job {name!r:.80}; there are {known}") from None
