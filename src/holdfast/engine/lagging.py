"""What stores are behind: copies that they should have and do not have yet."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.names import INLINE
from holdfast.engine.context import Context
from holdfast.policy.lag import Lag, lags


async def lagging(context: Context) -> Mapping[str, Lag]:
    """Return what each store is behind, by name; of debts at most 100,000 are looked at.

    Raises:
        UnavailableError: the catalog does not answer.
    """
    found = lags(await context.placing.fresh(), await context.catalog.owed_groups())
    known = [name for name in context.stores if name != INLINE]
    return {name: found.get(name, Lag()) for name in sorted({*known, *found})}
