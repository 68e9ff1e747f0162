"""Where an object belongs: facts in, a plan with its reason out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.types import ObjectRef


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an object before its bytes are stored."""

    ref: ObjectRef
    size: int | None
    content_type: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`stores` should hold a copy each; `acknowledge` of them must before the writer is answered; `rule` said so."""

    stores: tuple[str, ...]
    acknowledge: int
    rule: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The rules. So far one: everything goes to the same stores."""

    stores: tuple[str, ...]
    acknowledge: int = 1

    def plan(self, facts: Facts) -> Plan:
        """Return where the object of `facts` belongs."""
        return Plan(self.stores, min(self.acknowledge, len(self.stores)), "default")


@dataclass(frozen=True, slots=True)
class Copy:
    """What is known of one copy when a reader asks for it."""

    store: str
    suspect: bool
    external: bool
    failing: bool
    copy_number: int


def reading_order(copies: Sequence[Copy]) -> list[int]:
    """Return the indexes of `copies`, best first: sound before failing before suspect, near before far, first copy first."""

    def rank(index: int) -> tuple[bool, bool, bool, int]:
        copy = copies[index]
        return copy.suspect, copy.failing, copy.external, copy.copy_number

    return sorted(range(len(copies)), key=rank)
