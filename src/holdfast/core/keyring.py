"""Where the encryption layer gets the key of a blob from, and what can be wrong with keys.

A blob's key is made when the blob is, wrapped by the key of its tenant, which is wrapped by a root key. A ring keeps the
wrapped ones and gives the unwrapped ones to nobody but the layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from holdfast.core.errors import ConfigError, NotFoundError

SECRET_BYTES: Final = (
    64  #: of a blob's key: 32 of the key itself, 32 of the random number that its header begins with
)


class LockedError(ConfigError):
    """A key is there, but the root key that opens it is not among ours."""


class LostKeyError(LockedError):
    """The key of a tenant is not in the catalog, or not as its root key wrapped it; no blob is to blame for that."""


class ShreddedError(NotFoundError):
    """The key was destroyed, and with it what it encrypted."""


@dataclass(frozen=True, slots=True)
class BlobKey:
    """The key of one blob. `wrapped` is how it is kept: with the blob too, so that it outlives the catalog."""

    secret: bytes = field(repr=False)
    generation: int
    wrapped: bytes = field(repr=False)


class KeyRing(Protocol):
    """The keys of blobs. Errors of its catalog pass through: `UnavailableError`, `DeadlineError`."""

    async def make(self, store: str, name: str) -> BlobKey:
        """Return a new key for the blob `name`; when this returns, it is kept, and takes the place of an earlier one.

        Raises:
            LockedError: no root key of ours opens the key of the tenant.
        """
        ...

    async def find(self, store: str, name: str) -> BlobKey | None:
        """Return the key of the blob `name` as it is kept; None when none is.

        Raises:
            LockedError, ShreddedError. CorruptedError: what is kept is not as it was written.
        """
        ...

    async def open(self, store: str, name: str, generation: int, wrapped: bytes) -> BlobKey:
        """Return the key that the blob `name` carries itself.

        Raises:
            LockedError, ShreddedError. CorruptedError: it is not the key of this blob, or was altered.
        """
        ...

    async def forget(self, store: str, name: str) -> None:
        """Keep the key of the blob `name` no longer; succeeds when none is kept."""
        ...
