"""Where a reader with a signed URL may be sent instead: to the store itself, by a URL of its own.

Only stores labelled `external` are ever shown to anybody. A URL of a store is signed when somebody comes for the
object, for the host that readers use (`public_endpoint`), and never while it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.core.adopted import is_foreign
from holdfast.core.backend import Capability, SignedUrl, Store, StoreState
from holdfast.core.errors import HoldfastError, PermissionDeniedError
from holdfast.core.names import is_sealed
from holdfast.core.types import Located, Principal, Replica, ReplicaState, Span
from holdfast.engine.context import Context
from holdfast.engine.run import Health, Run
from holdfast.engine.signing import lifetime_left

_LONGEST: Final = 900  #: seconds that a store's URL holds; it is followed at once
EXTERNAL: Final = "external"
INTERNAL: Final = "internal"


def outside(store: Store) -> bool:
    """Tell whether somebody outside may learn where `store` is; one labelled both ways counts as internal."""
    return EXTERNAL in store.labels and INTERNAL not in store.labels


async def presign(
    store: Store, name: str, *, expires_in: float, content_type: str, disposition: str
) -> SignedUrl:
    """Return a URL by which anybody reads the blob `name` at its store: the only place where one is made.

    Raises:
        PermissionDeniedError: the store is not labelled `external`. UnsupportedError: it signs no URLs.
    """
    if not outside(store):
        raise PermissionDeniedError(
            f"store {store.name!r} is internal: nobody outside is sent there",
            operation="presign",
            store=store.name,
        )
    return await store.for_blob(name).presign(
        "GET", name, expires_in=expires_in, content_type=content_type, content_disposition=disposition
    )


def sends(context: Context) -> bool:
    """Tell whether there is any store that readers may be sent to."""
    return context.settings.redirect_signed and any(_signs(store) for store in context.stores.values())


async def location(
    context: Context,
    health: Health,
    principal: Principal,
    located: Located,
    *,
    content_type: str,
    disposition: str,
) -> str | None:
    """Return a URL of an external store that holds a sound copy of `located`; None when we serve it ourselves.

    That is so where all copies are internal, in doubt, or at stores that sign no URLs or failed lately, and for
    versions of several segments. The URL holds no longer than the one that it stands for.
    """
    left = min(_LONGEST, lifetime_left(principal, await context.catalog.now()))
    if left < 1 or len(located.segments) != 1 or not located.version.size:
        return None
    segment, copies = located.segments[0], _outside(context, health, located.replicas)
    best = Run(context, health, located.version.ref, segment, Span(0, segment.size), copies).best
    if best is None:
        return None
    try:
        signed = await presign(
            context.store(best.store),
            best.blob,
            expires_in=left,
            content_type=content_type,
            disposition=disposition,
        )
    except HoldfastError:
        return None
    return None if signed.headers else signed.url


def _outside(context: Context, health: Health, copies: Sequence[Replica]) -> list[Replica]:
    """Return the copies that readers may be sent to."""
    found = []
    for copy in copies:
        store = context.stores.get(copy.store)
        if (
            store is None
            or not _signs(store)
            or is_sealed(copy.blob)
            or is_foreign(copy.blob)
            or health.failing(copy.store)
        ):
            continue
        if copy.state is ReplicaState.LIVE and store.state is not StoreState.DOWN:
            found.append(copy)
    return found


def _signs(store: Store) -> bool:
    return outside(store) and Capability.PRESIGN in store.backend.capabilities
