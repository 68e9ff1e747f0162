"""Where a reader with a signed URL may be sent instead: to the store itself, by a URL of its own."""

from __future__ import annotations

from typing import Final

from holdfast.core.backend import Capability, StoreState
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Located, Principal, Span
from holdfast.engine.context import Context
from holdfast.engine.run import Health, Run
from holdfast.engine.signing import lifetime_left

_LONGEST: Final = 900  #: seconds that a store's URL holds; it is followed at once
EXTERNAL: Final = "external"


def sends(context: Context) -> bool:
    """Tell whether there is any store that readers may be sent to."""
    return context.settings.redirect_signed and any(
        EXTERNAL in store.labels and Capability.PRESIGN in store.backend.capabilities
        for store in context.stores.values()
    )


async def location(
    context: Context,
    health: Health,
    principal: Principal,
    located: Located,
    *,
    content_type: str,
    disposition: str,
) -> str | None:
    """Return a URL of the external store that holds the best copy of `located`; None when we serve it ourselves.

    That is so for every store that is not labelled `external` or signs no URLs, and for versions of several segments.
    The URL holds no longer than the one that it stands for.
    """
    left = min(_LONGEST, lifetime_left(principal, await context.catalog.now()))
    if left < 1 or len(located.segments) != 1 or not located.version.size:
        return None
    segment = located.segments[0]
    run = Run(context, health, located.version.ref, segment, Span(0, segment.size), located.replicas)
    best = run.best
    store = None if best is None else context.stores.get(best.store)
    if best is None or store is None or EXTERNAL not in store.labels or store.state is StoreState.DOWN:
        return None
    if Capability.PRESIGN not in store.backend.capabilities:
        return None
    try:
        signed = await store.backend.presign(
            "GET", best.blob, expires_in=left, content_type=content_type, content_disposition=disposition
        )
    except HoldfastError:
        return None
    return None if signed.headers else signed.url
