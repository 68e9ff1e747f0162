"""What would have to change so that the catalog is as it was described. Pure: two descriptions in, changes out.

A thing is described by some of its members; what the description does not name stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

HIDDEN: Final = "(secret)"


class Kind(StrEnum):
    """What is described, in the order in which it is made: each may need what comes before it."""

    STORE = "store"
    RULE = "rule"
    TENANT = "tenant"
    BUCKET = "bucket"


class Action(StrEnum):
    """What is done about it."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Secret:
    """Stands for secrets that must not be shown: equal when its fingerprint is."""

    fingerprint: str

    def __str__(self) -> str:
        return HIDDEN


Members = Mapping[str, Any]
#: Things by kind and name. The order of rules counts; a bucket is called TENANT/BUCKET.
Things = Mapping[tuple[Kind, str], Members]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a description says: things, the rules among them in their order; `said` are the kinds that it speaks of."""

    things: Things
    said: frozenset[Kind] = frozenset()

    def named(self, kind: Kind) -> list[str]:
        """Return the names of the things of that kind, in their order."""
        return [name for of, name in self.things if of is kind]


@dataclass(frozen=True, slots=True)
class Edit:
    """One member that gets another value; `old` is None where there was none."""

    member: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One thing made, changed or removed. `trouble`: why it cannot be done."""

    action: Action
    kind: Kind
    name: str
    edits: tuple[Edit, ...] = ()
    trouble: str = ""


def differences(wanted: Things, held: Things, *, removable: Mapping[tuple[Kind, str], str]) -> list[Change]:
    """Return the changes that bring `held` to `wanted`, in the order in which they can be made.

    Args:
        removable: things of `held` that go where `wanted` has none of that name, each with why it cannot, or "".
    """
    found: list[Change] = []
    for kind in Kind:
        for (of, name), members in wanted.items():
            if of is kind and (change := _difference(kind, name, members, held.get((kind, name)))):
                found.append(change)
    for kind in reversed(Kind):
        gone = [name for of, name in removable if of is kind and (of, name) not in wanted]
        found += [Change(Action.REMOVE, kind, name, trouble=removable[kind, name]) for name in sorted(gone)]
    return found


def merged_order(held: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return all names once: the wanted ones in their order, the others where they are among them."""
    known, common = set(held), iter([name for name in wanted if name in held])
    found = [next(common) if name in wanted else name for name in held]
    for place, name in enumerate(wanted):
        if name in known:
            continue
        after = next((found.index(other) + 1 for other in reversed(wanted[:place]) if other in found), None)
        if after is None:
            after = next((found.index(other) for other in wanted[place + 1 :] if other in found), len(found))
        found.insert(after, name)
    return found


def fingerprint(changes: Sequence[Change]) -> str:
    """Return what stands for these changes: the same changes of the same values have the same."""
    told = [
        [
            change.action,
            change.kind,
            change.name,
            change.trouble,
            [[edit.member, _told(edit.old), _told(edit.new)] for edit in change.edits],
        ]
        for change in changes
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def shown(value: Any) -> Any:
    """Return a value as it may be shown: secrets are not."""
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: shown(inner) for name, inner in value.items()}
    return [shown(inner) for inner in value] if isinstance(value, list | tuple) else value


def _difference(kind: Kind, name: str, wanted: Members, held: Members | None) -> Change | None:
    if held is None:
        edits = tuple(Edit(member, None, value) for member, value in wanted.items())
        return Change(Action.CREATE, kind, name, edits)
    edits = tuple(
        Edit(member, held.get(member), value)
        for member, value in wanted.items()
        if _plain(held.get(member)) != _plain(value)
    )
    return Change(Action.CHANGE, kind, name, edits) if edits else None


def _plain(value: Any) -> Any:
    """Return a value as it is compared: a list is a list, whatever holds it."""
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _told(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.fingerprint
    if isinstance(value, Mapping):
        return {str(name): _told(inner) for name, inner in value.items()}
    return [_told(inner) for inner in value] if isinstance(value, list | tuple) else value
