"""What a bucket asks of a write: looked up at most once a second, checked before bytes travel.

What is looked up may be a second old, so these checks are for the usual case. What must hold exactly (quotas, when a
version is to be removed) is settled in the transaction that makes the version visible, from the bucket as it is then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from holdfast.catalog.contract import Catalog
from holdfast.core.backend import Store
from holdfast.core.clock import Clock
from holdfast.core.errors import InvalidRequestError, TooLargeError, UnsupportedError
from holdfast.core.names import FOLDER
from holdfast.core.types import Bucket
from holdfast.policy import media

_FRESH: Final = 1.0  #: seconds
_REMEMBERED: Final = 4096  #: buckets
HEAD: Final = 64 << 10  #: bytes of a content that tell what it is
ENCRYPTED: Final = "encrypted"  #: the label of a store that encrypts what it holds


class Rules:
    """The buckets that were written to lately, with their settings."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Bucket]] = {}
        self._inline: dict[str, tuple[float, int | None]] = {}

    async def bucket(self, tenant: str, name: str) -> Bucket:
        """Return a bucket as it was at most a second ago, or raise `NotFoundError`."""
        known = self._known.get((tenant, name))
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        found = await self._catalog.bucket(tenant, name)
        self.learn(found)
        return found

    async def inline(self, bucket: Bucket) -> int | None:
        """Return the size below which contents of `bucket` live in the catalog, as it or its tenant says; None: neither."""
        if bucket.settings.inline is not None:
            return bucket.settings.inline
        known = self._inline.get(bucket.tenant)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        found = (await self._catalog.tenant(bucket.tenant)).settings.inline
        if len(self._inline) >= _REMEMBERED:
            self._inline.clear()
        self._inline[bucket.tenant] = (self._clock.monotonic() + _FRESH, found)
        return found

    def learn(self, bucket: Bucket) -> None:
        """Remember a bucket as it is now."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[bucket.tenant, bucket.name] = (self._clock.monotonic() + _FRESH, bucket)

    def forget(self, tenant: str, name: str) -> None:
        """Look a bucket up when it is asked for next."""
        self._known.pop((tenant, name), None)


def largest(bucket: Bucket, limit: int | None) -> int | None:
    """Return the bytes that an object of `bucket` may have where the service takes `limit`; None: any number."""
    own = bucket.settings.max_object_size
    return own if limit is None else limit if own is None else min(own, limit)


def check_size(bucket: Bucket, size: int, limit: int | None = None) -> None:
    """Raise `TooLargeError` when an object of `size` bytes is more than the bucket, or the service, takes."""
    most = largest(bucket, limit)
    if most is not None and size > most:
        raise too_large(most)


def too_large(limit: int) -> TooLargeError:
    """Return the error for a body over the limit."""
    return TooLargeError(f"the object is larger than the {limit} bytes that are allowed here")


def check_type(bucket: Bucket, key: str, content_type: str) -> None:
    """Raise `InvalidRequestError` when the bucket does not take this type under this name."""
    patterns = bucket.settings.allowed_types
    if patterns and not _is_folder(key, content_type) and not media.allowed(patterns, key, content_type):
        raise InvalidRequestError(
            f"bucket {bucket.name} takes {', '.join(patterns)}; not {content_type} under this name", name=key
        )


def _is_folder(key: str, content_type: str) -> bool:
    """Tell whether this is the marker of a folder, which any bucket takes as long as it is empty."""
    return content_type == FOLDER and key.endswith("/")


def check_content(bucket: Bucket, key: str, content_type: str, head: bytes) -> None:
    """Raise `InvalidRequestError` when the bucket does not take a content with these first bytes: `HEAD`, or all."""
    if bucket.settings.allowed_types and (head or not _is_folder(key, content_type)):
        decision = media.check(bucket.settings.allowed_types, key, content_type, head)
        if not decision.allowed:
            raise InvalidRequestError(f"bucket {bucket.name}: {decision.reason}", name=key)


def must_encrypt(bucket: Bucket) -> bool:
    """Tell whether the bucket wants its contents in stores that encrypt, and so not in the catalog."""
    return bucket.settings.encryption != "none"


def encrypts(store: Store | None) -> bool:
    """Tell whether what is written to `store` is encrypted: by us, or by itself as its label says."""
    return store is not None and (store.encrypt or ENCRYPTED in store.labels)


def check_encryption(
    bucket: Bucket, stores: Mapping[str, Store], planned: Sequence[str], *, encrypt: bool = False
) -> None:
    """Raise `UnsupportedError` when the bucket asks for encryption and a planned store does not say that it encrypts.

    With `encrypt` we encrypt ourselves whatever goes there.
    """
    if not must_encrypt(bucket) or encrypt:
        return
    for name in planned:
        if name in stores and not encrypts(stores[name]):
            raise UnsupportedError(
                f"bucket {bucket.name} asks for stores that encrypt, and {name} has no label {ENCRYPTED!r}; "
                "give it the label if its storage is encrypted, let the rule or the store encrypt (encrypt = true),"
                " or set the bucket's encryption to none",
                store=name,
            )
