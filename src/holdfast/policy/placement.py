"""Where an object belongs: facts in, a plan with its reason out. Pure; the same facts always give the same plan.

Rules are asked by scope, and within a scope in the order in which they are written; the first that matches decides. A
rule that names tenants goes before one that names content types, and that before all others: a company's own wish beats
that of a kind of content, and both beat what holds for everybody. Last comes the default, which matches everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Final, Literal

from holdfast.core.names import AS_RULED
from holdfast.core.names import INLINE as INLINE
from holdfast.core.types import EMPTY, ObjectRef
from holdfast.policy import moving
from holdfast.policy.matching import Matches, any_like, plain_type

DEFAULT_INLINE: Final = 64 << 10  #: bytes; contents below it may live in the catalog
MAX_INLINE: Final = 4 << 20  #: bytes; the catalog takes no larger contents, whatever the thresholds say
LOOK: Final = MAX_INLINE  #: bytes; a writer looks no further into a body of unknown size


Acknowledge = int | Literal["all"]
ALL: Final = "all"  #: as many copies as there are stores


class WhenDown(StrEnum):
    """What is done with an object when a store that it must go to takes none."""

    REFUSE = "refuse"  #: the writer is told so
    FALLBACK = "fallback"  #: it goes to a store of `Rule.fallback`, visibly, and is owed to its own


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an object before its bytes are stored.

    `size` None: larger than every threshold of the rules (the writer has looked as far as the largest). `inline` is
    the threshold of its bucket, else of its tenant; None: neither says one. `apart` contents never live in the
    catalog: pieces of an upload, and what its bucket wants in stores that encrypt.
    """

    ref: ObjectRef
    size: int | None
    content_type: str
    storage_class: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    inline: int | None = None
    apart: bool = False
    tier: str = ""  #: what a version that is there says instead of its rule (`policy.moving`)


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule is about. Each that is given must hold; of several values one is enough; patterns have `*` and `?`."""

    tenants: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ()  #: `image/*`
    keys: tuple[str, ...] = ()  #: `*.zip`, `videos/*`; `*` also takes slashes
    min_size: int | None = None  #: bytes, included
    max_size: int | None = None  #: bytes, excluded: "below 64 KB"
    storage_classes: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)  #: each must be there with that value


@dataclass(frozen=True, slots=True)
class Rule:
    """Where objects that match belong.

    `stores` best first; `acknowledge` copies must be durable before the writer is answered, or all of them; a copy
    that a move asks for besides is owed. `inline` is the size in bytes below which contents live in the catalog instead (0: never; None: as bucket, tenant or service say).
    """

    name: str
    stores: tuple[str, ...]
    match: Match = Match()
    acknowledge: Acknowledge = 1
    inline: int | None = None
    when_down: WhenDown = WhenDown.REFUSE
    fallback: tuple[str, ...] = ()
    encrypt: bool = (
        False  #: contents are encrypted before they leave this process, and never live in the catalog
    )

    def needed(self, stores: int) -> int:
        """Return how many copies must be durable before the writer is answered when it has so many stores."""
        return stores if self.acknowledge == ALL else min(int(self.acknowledge), stores)


@dataclass(frozen=True, slots=True)
class Plan:
    """`stores` should hold a copy each; `acknowledge` of them must before the writer is answered; `rule` said so.

    With `encrypt` every copy is an encrypted blob. An inline plan has the single store `INLINE`. `fallback` are stores to use, visibly, when one of `stores` is down.
    """

    stores: tuple[str, ...]
    acknowledge: int
    rule: str
    fallback: tuple[str, ...] = ()
    encrypt: bool = False

    @property
    def inline(self) -> bool:
        """Whether the content lives in the catalog."""
        return self.stores == (INLINE,)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a rule was or was not the one: `reason` is empty for the one that decided."""

    rule: str
    matched: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The plan, and every rule that was asked until one matched, in the order in which they were asked."""

    plan: Plan
    asked: Sequence[Verdict]
    why_inline: str = ""
    why_elsewhere: str = ""  #: what put other stores in the place of those of the rule: a tier, moves


@dataclass(frozen=True)
class Placement:
    """The rules, the default, and the moves that hold for both.

    `inline` is the service's own threshold in bytes; 0: nothing goes into the catalog.
    """

    default: Rule
    rules: tuple[Rule, ...] = ()
    inline: int = 0
    moves: tuple[moving.Move, ...] = ()

    @classmethod
    def everything(cls, stores: Sequence[str], acknowledge: Acknowledge = 1, *, inline: int = 0) -> Placement:
        """Return the placement without rules: all objects go to the same stores."""
        return cls(Rule("default", tuple(stores), acknowledge=acknowledge), inline=inline)

    @cached_property
    def ordered(self) -> tuple[Rule, ...]:
        """The rules in the order in which they are asked, the default last."""
        return (*sorted(self.rules, key=_scope), self.default)

    @cached_property
    def stores(self) -> tuple[str, ...]:
        """Every store that some rule names, or that a move brings into its plan, `INLINE` not among them, each once."""
        named = [name for rule in (self.default, *self.rules) for name in (*rule.stores, *rule.fallback)]
        return tuple(dict.fromkeys((*named, *moving.apply(named, self.moves))))

    def stores_by(self, name: str) -> tuple[str, ...] | None:
        """Return the stores in which the rule called `name` wants copies; None when there is no such rule."""
        return self._named.get(name)

    @cached_property
    def _named(self) -> Mapping[str, tuple[str, ...]]:
        return {rule.name: plan.stores for rule, plan, _ in self._plans}

    def moved(self, rule: Rule) -> Rule:
        """Return `rule` with its stores as the moves leave them."""
        plan = self._plan_of(rule)
        if not self.moves:
            return rule
        return replace(rule, stores=plan.stores, fallback=plan.fallback, acknowledge=plan.acknowledge)

    @cached_property
    def thresholds(self) -> int:
        """The largest size that any rule asks about, at most `LOOK`: so far a writer looks into a body of unknown size."""
        sizes = [self.inline]
        for rule in self.ordered:
            sizes += (rule.inline or 0, rule.match.min_size or 0, rule.match.max_size or 0)
        return min(max(sizes), LOOK)

    def prepare(self) -> None:
        """Make now what is made of the rules when the first object is asked about; safe in another thread.

        It is put where the cached property keeps it: computing one holds a lock that placements in use wait for.
        """
        ordered = (*sorted(self.rules, key=_scope), self.default)
        vars(self).update(ordered=ordered, _matches=Matches([rule.match for rule in ordered]))

    @cached_property
    def _matches(self) -> Matches:
        return Matches([rule.match for rule in self.ordered])

    @cached_property
    def _plans(self) -> tuple[tuple[Rule, Plan, Plan], ...]:
        """Every rule as it is asked, its plan, and its plan for what is small."""
        return tuple((rule, self._plan_of(rule), Plan((INLINE,), 1, rule.name)) for rule in self.ordered)

    @cached_property
    def behind(self) -> frozenset[str]:
        """The stores that readers are sent to only after others."""
        return moving.behind(self.moves)

    def plan(self, facts: Facts) -> Plan:
        """Return where the object of `facts` belongs; the same as `explain` says, without asking every rule."""
        rule, plan, inline = self._plans[self._matches.first(facts)]
        if facts.tier:
            return self._tiered(rule, plan, facts)
        size = facts.size
        if size is None or size >= MAX_INLINE or facts.apart or rule.encrypt:
            return plan
        threshold = rule.inline
        if threshold is None:
            threshold = self.inline if facts.inline is None else facts.inline
        return inline if size < threshold else plan

    def explain(self, facts: Facts) -> Explanation:
        """Return the plan with its reasons."""
        asked = []
        for rule in self.ordered:
            reason = mismatch(rule.match, facts)
            asked.append(Verdict(rule.name, not reason, reason))
            if not reason:
                return Explanation(
                    self._plan(rule, facts), asked, self._why(rule, facts), self._why_elsewhere(rule, facts)
                )
        raise AssertionError("the default matches everything")

    def _plan(self, rule: Rule, facts: Facts) -> Plan:
        if facts.tier:
            return self._tiered(rule, self._plan_of(rule), facts)
        small = facts.size is not None and facts.size < self._threshold(rule, facts)[0]
        return Plan((INLINE,), 1, rule.name) if small else self._plan_of(rule)

    def _plan_of(self, rule: Rule) -> Plan:
        """Return the plan of `rule`, as the moves leave it, for what does not live in the catalog."""
        fallback = rule.fallback if rule.when_down is WhenDown.FALLBACK else ()
        if not self.moves:
            return Plan(rule.stores, rule.needed(len(rule.stores)), rule.name, fallback, rule.encrypt)
        stores = moving.apply(rule.stores, self.moves)
        spare = tuple(name for name in moving.apply(fallback, self.moves) if name not in stores)
        needed = min(rule.needed(len(rule.stores)), len(stores))  # a move asks for no more than the rule does
        return Plan(stores, needed, rule.name, spare, rule.encrypt)

    def _tiered(self, rule: Rule, plan: Plan, facts: Facts) -> Plan:
        """Return the plan of a version that says for itself where it belongs."""
        untiered = self.plan(replace(facts, tier="")).stores
        named = moving.apply((moving.store_of(facts.tier),), self.moves)
        besides = facts.tier.startswith(AS_RULED)
        stores = tuple(dict.fromkeys((*untiered, *named))) if besides else named
        return Plan(stores, 1, rule.name, (), plan.encrypt)

    def _why_elsewhere(self, rule: Rule, facts: Facts) -> str:
        reasons = []
        if facts.tier:
            reasons.append(f"the tier of the version is {facts.tier}")
        named = moving.tier_stores(facts.tier, rule.stores)
        reasons += [
            f"{move.source} is moved to {move.target} ({move.phase})"
            for move in self.moves
            if move.source in named and move.phase is not moving.Phase.BACK
        ]
        return "; ".join(reasons)

    def _threshold(self, rule: Rule, facts: Facts) -> tuple[int, str]:
        if facts.apart:
            return 0, "of contents that must be in a store"
        if rule.encrypt:
            return 0, "of a rule that encrypts"
        if rule.inline is not None:
            return min(rule.inline, MAX_INLINE), "of the rule"
        if facts.inline is not None:
            return min(facts.inline, MAX_INLINE), "of the bucket or tenant"
        return min(self.inline, MAX_INLINE), "of the service"

    def _why(self, rule: Rule, facts: Facts) -> str:
        threshold, whose = self._threshold(rule, facts)
        size = "unknown" if facts.size is None else f"{facts.size} bytes"
        below = facts.size is not None and facts.size < threshold
        return f"the size ({size}) is {'' if below else 'not '}below {threshold} bytes, the threshold {whose}"


def mismatch(match: Match, facts: Facts) -> str:
    """Return why `match` does not hold for `facts`; "" when it does."""
    ref, size = facts.ref, facts.size
    if match.tenants and not any_like(match.tenants, ref.tenant):
        return f"the tenant {ref.tenant} is not one of {', '.join(match.tenants)}"
    if match.buckets and not any_like(match.buckets, ref.bucket):
        return f"the bucket {ref.bucket} is not one of {', '.join(match.buckets)}"
    if match.content_types and not any_like(match.content_types, plain_type(facts.content_type)):
        return f"the content type {facts.content_type} is not one of {', '.join(match.content_types)}"
    if match.keys and not any_like(match.keys, ref.key):
        return f"the key {ref.key} is not like {', '.join(match.keys)}"
    if match.min_size is not None and size is not None and size < match.min_size:
        return f"the size of {size} bytes is below {match.min_size}"
    if match.max_size is not None and (size is None or size >= match.max_size):
        return f"the size {'is unknown and so not' if size is None else f'of {size} bytes is not'} below {match.max_size}"
    if match.storage_classes and facts.storage_class not in match.storage_classes:
        return f"the storage class {facts.storage_class or '(none)'} is not one of {', '.join(match.storage_classes)}"
    for name, value in match.tags.items():
        if facts.tags.get(name) != value:
            return f"the tag {name} is not {value}"
    return ""


def _scope(rule: Rule) -> int:
    return 0 if rule.match.tenants else 1 if rule.match.content_types else 2


@dataclass(frozen=True, slots=True)
class Copy:
    """What is known of one copy when a reader asks for it."""

    store: str
    suspect: bool
    external: bool
    failing: bool
    copy_number: int
    behind: bool = False  #: its store is being filled or left


def reading_order(copies: Sequence[Copy]) -> list[int]:
    """Return the indexes of `copies`, best first: sound before failing before suspect, then as moves say, near before far, first copy first."""

    def rank(index: int) -> tuple[bool, bool, bool, bool, int]:
        copy = copies[index]
        return copy.suspect, copy.failing, copy.behind, copy.external, copy.copy_number

    return sorted(range(len(copies)), key=rank)
