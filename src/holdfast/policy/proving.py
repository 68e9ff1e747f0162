"""What to believe of a look at a store: whether its listing can be trusted, and what may be removed by itself. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.core.adopted import is_foreign
from holdfast.core.names import ABOUT, blob_identity

SHRINK: Final = 0.2  #: share of a store's rows that a listing may leave out before it is not believed
FEW: Final = 10  #: so many may be missing whatever share that is: a small store has few rows
GAP: Final = 24 * 3600.0  #: seconds between two sightings, at least, before what is dark is quarantined
HOLD: Final = 7 * 86400.0  #: seconds of quarantine
YOUNG: Final = 3600.0  #: seconds; what is younger may be on its way

_ENOUGH: Final = 1000
_NEARLY_ALL: Final = 0.9

_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a store saw, so far or in all."""

    rows: int = 0  #: copies that are live, of those that were to be seen
    listed: int = 0  #: blobs of ours in the listing
    missing: int = 0  #: rows whose blob was not in the listing
    lost: int = 0  #: of these, those that are not there when asked for by name
    dark: int = 0
    foreign: int = 0  #: names that are none of ours
    adopted: bool = False  #: some rows are of blobs that others wrote


def tenant_of(name: str) -> str | None:
    """Return the tenant of a blob, or of the record beside it, if its name is one that is minted here; else None."""
    base = name.removesuffix(ABOUT)
    if is_foreign(name):
        return None
    tenant, identity = blob_identity(base)
    middle = base.split("/")[1:-1]
    if identity == base or not middle or not _TENANT.fullmatch(tenant) or ".." in tenant:
        return None
    return tenant


def minted_at(name: str) -> int:
    """Return when the name of a blob was minted, microseconds; 0 for one that was not."""
    _, identity = blob_identity(name.removesuffix(ABOUT))
    digits = identity.replace("-", "")[:12]
    try:
        return int(digits, 16) * 1000 if len(digits) == 12 else 0
    except ValueError:
        return 0


def disbelief(look: Look, expected: int, shrink: float) -> str:
    """Return why the listing of a store is not believed; "" when it is.

    `expected` is how many rows there are in all: while a look goes on, what is missing already is held against it.
    """
    bound = max(look.rows, expected)
    if look.rows >= _ENOUGH and look.missing > _NEARLY_ALL * look.rows:
        bound = look.rows  # no need to ask for the rest
    if look.missing > FEW and look.missing > shrink * bound:
        return (
            f"{look.missing} of {bound} blobs are not in the listing of the store, more than {shrink:.0%}: it may be"
            " another place than it was, or answer in part; nothing was changed"
        )
    return ""


def emptied(looked: int, absent: int, shrink: float) -> str:
    """Return why copies that were not there when read are not taken for lost: too many at once; "" when they are."""
    if absent > FEW and absent > shrink * looked:
        return (
            f"{absent} of {looked} blobs are not there, more than {shrink:.0%}: the store may be another place than it"
            " was, so it is left alone"
        )
    return ""


def reluctance(look: Look, shrink: float) -> str:
    """Return why what is dark is not quarantined by itself after a sound look; "" when it is."""
    if look.adopted:
        return "the store also holds what others wrote; quarantine by hand what is yours"
    if look.dark > FEW and look.dark > shrink * max(look.listed, 1):
        return (
            f"{look.dark} of {look.listed} blobs have no row, more than {shrink:.0%}: the catalog may be an old one, or"
            " the place shared with another; see `holdfast catalog rebuild`, or quarantine by hand"
        )
    return ""
