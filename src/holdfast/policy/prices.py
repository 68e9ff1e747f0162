"""The price book: what each kind of store asks for, since when, and who says so. Pure; the rows come from outside.

Prices are decimal numbers, US dollars, and of one unit of the row: its GB is 10^9 bytes unless `gib` says 2^30. A price
that is None is not known, which is something else than 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from holdfast.core.errors import ConfigError

FREE: Final = "free"  #: the price key of what an operator declares to cost nothing
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tier:
    """`price` per unit for what lies below `up_to` units in all; None: for all the rest."""

    up_to: Decimal | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """One row. What is None is not known; what does not exist at that provider is 0."""

    key: str
    storage: tuple[Tier, ...] | None = None  #: per GB and month
    write: Decimal | None = None  #: per 1,000 PUT, COPY, POST, LIST
    read: Decimal | None = None  #: per 1,000 GET, HEAD
    egress: tuple[Tier, ...] | None = None  #: per GB that leaves the provider
    retrieval: Decimal | None = _ZERO  #: per GB read
    fee: Decimal | None = _ZERO  #: per month, whatever is stored
    min_days: int = 0  #: an object is paid for so many days, however soon it goes
    min_size: int = 0  #: bytes; smaller objects are billed as this
    min_gb: Decimal = _ZERO  #: GB that are billed at least
    free_gb: Decimal = _ZERO  #: stored, each month
    free_writes: int = 0
    free_reads: int = 0
    free_egress_gb: Decimal = _ZERO
    free_egress_times: Decimal = _ZERO  #: this many times what is stored may leave for nothing
    round_gb: Decimal = _ZERO  #: GB are rounded up to a multiple of this; 0: they are not
    round_writes: int = 0
    round_reads: int = 0
    gib: bool = False
    as_of: str = ""  #: when the price was read, as the source dates it
    source: str = ""
    unsure: bool = False  #: check it before relying on it
    note: str = ""

    @property
    def unit(self) -> int:
        """The bytes of its GB."""
        return 1 << 30 if self.gib else 10**9


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Rows by key."""

    rows: Mapping[str, Price] = field(default_factory=dict)

    def find(self, key: str) -> Price | None:
        """Return the row of `key`, or None when nothing is known of it."""
        return self.rows.get(key)

    def key_of(self, store: str, price: str) -> str:
        """Return under which key a store is priced: its own `price`, else its name where that is a row; "": none.

        A name alone never makes a store cost nothing.
        """
        return price or (store if store != FREE and store in self.rows else "")


def parse(*books: Mapping[str, Mapping[str, Any]]) -> PriceBook:
    """Return the book that the tables of `books` mean; a row of a later one takes the place of one with its key.

    Raises:
        ConfigError: naming the row and what is wrong with it.
    """
    rows: dict[str, Price] = {}
    for book in books:
        for key, members in book.items():
            rows[key] = _row(key, members)
    return PriceBook(dict(sorted(rows.items())))


def _row(key: str, members: Mapping[str, Any]) -> Price:
    if not isinstance(members, Mapping):
        raise ConfigError(f'prices: {key} is not a table; write [prices."{key}"] and its prices below it')
    given = dict(members)
    if "disk" in given:
        given = _own_disk(key, given)
    known: dict[str, Any] = {}
    for name, value in given.items():
        read = _READERS.get(name)
        if read is None:
            raise ConfigError(f"prices: {key} has no {name}; it may have {', '.join(sorted(_READERS))}")
        known[name] = read(f"{key}, {name}", value)
    return Price(key, **known)


def _own_disk(key: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a disk of one's own: the price of its GB × copies ÷ how full it is kept."""
    disk = _amount(f"{key}, disk", given.pop("disk"))
    copies = _amount(f"{key}, copies", given.pop("copies", 1))
    fill = _amount(f"{key}, fill", given.pop("fill", 1))
    if disk is None or copies is None or not fill or fill > 1:
        raise ConfigError(f"prices: {key}: disk and copies are numbers, and fill is above 0 and at most 1")
    nothing = {"write": _ZERO, "read": _ZERO, "egress": _ZERO}
    return {**nothing, "storage": disk * copies / fill, **given}


def _amount(where: str, value: Any) -> Decimal | None:
    if value == "unknown":
        return None
    try:
        found = Decimal(str(value)) if not isinstance(value, bool) else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite() or found < 0:
        raise ConfigError(f'prices: {where} is a number from 0, or "unknown"')
    return found


def _sure(where: str, value: Any) -> Decimal:
    found = _amount(where, value)
    if found is None:
        raise ConfigError(f"prices: {where} is a number from 0")
    return found


def _whole(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"prices: {where} is a whole number from 0")
    return value


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"prices: {where} is true or false")
    return value


def _text(where: str, value: Any) -> str:
    return str(value)


def _tiers(where: str, value: Any) -> tuple[Tier, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        price = _amount(where, value)
        return None if price is None else (Tier(None, price),)
    tiers = [_tier(where, item) for item in value]
    bounds = [tier.up_to for tier in tiers[:-1]]
    rising = all(bound is not None for bound in bounds) and bounds == sorted(set(bounds), key=Decimal)  # type: ignore[arg-type]
    if not tiers or tiers[-1].up_to is not None or not rising:
        raise ConfigError(f"prices: {where}: tiers have rising up_to, and only the last has none")
    return tuple(tiers)


def _tier(where: str, item: Any) -> Tier:
    if not isinstance(item, Mapping) or "price" not in item or not item.keys() <= {"price", "up_to"}:
        raise ConfigError(
            f"prices: {where}: a tier is {{ up_to = GB, price = PRICE }}, the last one without up_to"
        )
    bound = item.get("up_to")
    return Tier(None if bound is None else _sure(where, bound), _sure(where, item["price"]))


_READERS: Final[dict[str, Any]] = {
    "storage": _tiers,
    "egress": _tiers,
    **dict.fromkeys(("write", "read", "retrieval", "fee"), _amount),
    **dict.fromkeys(("min_gb", "free_gb", "free_egress_gb", "free_egress_times", "round_gb"), _sure),
    **dict.fromkeys(
        ("min_days", "min_size", "free_writes", "free_reads", "round_writes", "round_reads"), _whole
    ),
    **dict.fromkeys(("gib", "unsure"), _flag),
    **dict.fromkeys(("as_of", "source", "note"), _text),
}
assert {item.name for item in fields(Price)} == {*_READERS, "key"}
