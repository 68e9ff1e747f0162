"""Kinds of job that only count, so that doors can be tried with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from holdfast.core.errors import InvalidRequestError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.jobs.kinds import Finish, Forecast, Kinds, Range, Step, Work
from holdfast.policy.cost import Estimate, Line


class Counting:
    """Count to a number, in one's own tenant.

    `count` items take `seconds` each; those in `bad` fail.
    """

    name = "counting"
    verb = "update_bucket"

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind`."""
        said = {"count": 3, "seconds": 0.0, "bad": [], "bucket": "", **spec}
        if not isinstance(said["count"], int) or said["count"] < 1:
            raise InvalidRequestError("count is a whole number from 1")
        return said

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind`."""
        unknown = Estimate((Line("some.price", "writes", Decimal(1), "1000", None),), notes=("no price",))
        return Forecast(
            objects=work.spec["count"],
            bytes=10 * work.spec["count"],
            calls={"local": {"put": work.spec["count"]}},
            once=unknown,
            after=Estimate((Line("some.price", "storage", Decimal(1), "GB", Decimal("1.25")),)),
            seconds=120.0,
            moves={("old", "new"): 2},
            notes=("nothing is moved",),
        )

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind`."""
        return [Range("0", str(work.spec["count"]), items=work.spec["count"])]

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind`. One item at a time."""
        place = int(part.cursor or part.start)
        await work.gauge.objects()
        await asyncio.sleep(work.spec["seconds"])
        failures = []
        if place in work.spec["bad"]:
            failures.append(ItemFailure("b", f"k{place}", "", "unavailable", f"number {place} is bad"))
        failed = len(failures)
        counts = Counts(1, 1 - failed, 0, failed, 10, {"counted": 1})
        return Step(str(place + 1), place + 1 >= int(part.end), counts, failures)

    async def finish(self, work: Work) -> Finish:
        """See `Kind`."""
        return Finish({"last": work.spec["count"]})


class Chores(Counting):
    """Count for the whole service."""

    name = "chores"
    verb = "operate"


def toys() -> Kinds:
    """Return these kinds."""
    return Kinds([Counting(), Chores()])
