"""URLs of the stores themselves, for callers who run the engine without a service that could sign its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from holdfast.core.adopted import is_foreign
from holdfast.core.backend import Capability, SignedUrl, Store, StoreState
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import is_sealed
from holdfast.core.types import Located, Principal, Replica, ReplicaState
from holdfast.engine.context import Context
from holdfast.engine.sending import outside, presign
from holdfast.policy.signing import MAX_LIFETIME

_SECOND: Final = 1_000_000


async def link(
    context: Context, principal: Principal, located: Located, *, expires_in: float
) -> SignedUrl | None:
    """Return a URL that reads the version from a store labelled `external`; None where no such store can give one.

    What lies in other stores, or in several pieces, has none. It is signed here and now, by the store's own keys, for
    the address by which the store is known outside; no request is made.

    Raises:
        InvalidRequestError: `expires_in` is not between a second and 7 days.
    """
    if not 1 <= expires_in <= MAX_LIFETIME:
        raise InvalidRequestError(f"a signed URL holds for 1 to {MAX_LIFETIME} seconds (7 days)")
    seconds = int(expires_in)
    if principal.expires is not None:
        seconds = min(seconds, (principal.expires - await context.catalog.now()) // _SECOND)
    if seconds < 1 or len(located.segments) != 1:
        return None
    for replica, store in _outside(context, located):
        signed = await presign(
            store,
            replica.blob,
            expires_in=seconds,
            content_type=located.version.content_type,
            disposition=_attachment(located.version.ref.key),
        )
        if not signed.headers:  # a plain URL is what a reader can follow
            return signed
    return None


def _outside(context: Context, located: Located) -> Iterator[tuple[Replica, Store]]:
    """Yield the copies that a reader outside may be led to."""
    for replica in located.replicas:
        store = context.stores.get(replica.store)
        if (
            store is not None
            and replica.state is ReplicaState.LIVE
            and outside(store)
            and store.state is not StoreState.DOWN
            and not is_sealed(replica.blob)
            and not is_foreign(replica.blob)  # a URL cannot say which content is meant
            and Capability.PRESIGN in store.backend.capabilities
        ):
            yield replica, store


def _attachment(key: str) -> str:
    name = re.split(r"[/\\]", key)[-1].strip() or "download"
    return f"attachment; filename*=UTF-8''{quote(name.encode()[:600].decode('utf-8', 'ignore'), safe='!#$&+-.^_`|~')}"
