"""Placement over HTTP: the rules, why an object is where it is, and what other rules would do. For operators.

Sizes come in as bytes or as text such as `64KB`, and go out as bytes. Amounts are US dollars, decimal numbers in text;
null means not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, MAX_RULES_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.models import Name, decode, encode
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import check_key
from holdfast.core.sizes import parse_size
from holdfast.core.types import ObjectRef
from holdfast.engine.explaining import Explained
from holdfast.engine.ruling import RulesInForce, Wanted
from holdfast.engine.simulating import Count, Priced, Simulation
from holdfast.policy.cost import Estimate, money
from holdfast.policy.placement import Facts, Plan, Rule
from holdfast.policy.rule_form import DEFAULT, rule_members, rule_of, rules_of

Words = Annotated[list[Name], Meta(max_length=200)]
Size = int | Annotated[str, Meta(max_length=40)] | None
Copies = int | Literal["all"]


class MatchForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rule is about: each that is given must hold, of several values one is enough; `*` and `?` in patterns."""

    tenants: Words = []
    buckets: Words = []
    content_types: Words = []
    keys: Words = []
    min_size: Size = None
    max_size: Size = None
    storage_classes: Words = []
    tags: dict[str, str] = {}


class RuleForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule. `inline` null: the size below which contents live in the catalog is that of bucket, tenant or service."""

    name: Name
    match: MatchForm = MatchForm()
    stores: Words
    acknowledge: Copies = 1
    inline: Size = None
    when_down: Literal["refuse", "fallback"] = "refuse"
    fallback: Words = []
    encrypt: bool = False


class DefaultForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where objects go that no rule matches."""

    stores: Words
    acknowledge: Copies = 1
    when_down: Literal["refuse", "fallback"] = "refuse"
    fallback: Words = []
    encrypt: bool = False


class RulesWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules of the catalog, in their order. With `generation`, only if that is what they are in now."""

    rules: Annotated[list[RuleForm], Meta(max_length=1000)]
    generation: int | None = None


class RulesAnswer(Struct, frozen=True, kw_only=True):
    """The rules in force, in the order in which they are written, and `default`, which comes last.

    `of_file`: they are those of the service's own file; then `kept`, those of the catalog, have no effect.
    """

    rules: list[RuleForm]
    default: RuleForm
    inline: int
    of_file: bool
    kept: list[RuleForm]
    generation: int


class FactsForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object that may not be there. `size` null: unknown, and larger than all that rules ask about."""

    bucket: Name
    key: Name
    tenant: Name | None = None
    size: Size = None
    content_type: Name = "application/octet-stream"
    storage_class: Annotated[str, Meta(max_length=64)] = ""
    tags: dict[str, str] = {}
    inline: Annotated[Size, Meta(description="the threshold of its bucket or tenant")] = None


class PlanForm(Struct, frozen=True, kw_only=True):
    """Where an object belongs. The store `catalog` is the catalog itself."""

    stores: list[str]
    acknowledge: int
    rule: str
    inline: bool
    fallback: list[str]
    encrypt: bool


class VerdictForm(Struct, frozen=True, kw_only=True):
    """Whether a rule matched, and if not, why."""

    rule: str
    matched: bool
    reason: str


class CopyForm(Struct, frozen=True, kw_only=True):
    """What one store has of a version: so many of its pieces; `suspect`: one of them failed a read."""

    store: str
    pieces: int
    whole: bool
    suspect: bool
    encrypted: bool


class ExplainAnswer(Struct, frozen=True, kw_only=True):
    """The plan, and every rule that was asked until one matched. Of an object that is there also where it is.

    `home`: it is exactly where the plan wants it; null: it was not looked for. `why_elsewhere`: what put other stores in
    the place of those of the rule: a tier of the version, moves of stores.
    """

    plan: PlanForm
    asked: list[VerdictForm]
    why_inline: str
    why_elsewhere: str
    of_file: bool
    facts: FactsForm
    version_id: str | None
    copies: list[CopyForm] | None
    home: bool | None
    owed: str | None


class SimulateWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A placement that is only supposed; what is not given is as it is now.

    `stores` are names of stores that do not exist yet, each with the key of its prices.
    """

    rules: Annotated[list[RuleForm], Meta(max_length=1000)] | None = None
    default: DefaultForm | None = None
    inline: Size = None
    supposed: dict[str, str] = msgspec.field(name="stores", default_factory=dict)


class CountForm(Struct, frozen=True, kw_only=True):
    """Objects (versions), the pieces that they are made of, and their bytes."""

    objects: int
    pieces: int
    bytes: int


class MoveForm(Struct, frozen=True, kw_only=True):
    """Objects that are in the stores `from` now and would be in those of `to`."""

    from_: list[str] = msgspec.field(name="from")
    to: list[str]
    objects: int
    pieces: int
    bytes: int


class StoreForm(Struct, frozen=True, kw_only=True):
    """What a store would hold, and the calls that bring it there: of the write class, of the read class, and deletes."""

    store: str
    price: str
    before: CountForm
    after: CountForm
    writes: int
    written: int
    reads: int
    read: int
    deletes: int


class RuleCount(Struct, frozen=True, kw_only=True):
    """What one rule would decide about."""

    rule: str
    objects: int
    pieces: int
    bytes: int


class AmountForm(Struct, frozen=True, kw_only=True):
    """Dollars. `total` null: something is not known; `known` leaves that out."""

    total: str | None
    known: str
    notes: list[str]


class SimulateAnswer(Struct, frozen=True, kw_only=True):
    """What other rules would do with all that is there. `lost`: no copy of it can be read, so it cannot be moved."""

    every: CountForm
    moving: CountForm
    lost: CountForm
    moves: list[MoveForm]
    rules: list[RuleCount]
    stores: list[StoreForm]
    once: AmountForm
    month_before: AmountForm
    month_after: AmountForm
    currency: str
    generation: int


# -- handlers ---------------------------------------------------------------------------------------------------------
async def show_rules(exchange: Exchange) -> None:
    """Answer with the placement rules."""
    await exchange.answer_json(200, encode(rules_answer(await exchange.session.admin.rules())))


async def put_rules(exchange: Exchange) -> None:
    """Replace the rules of the catalog, at once for this process and within seconds for all others."""
    wish = decode(RulesWish, await small_body(exchange, MAX_RULES_JSON))
    rules = rules_of(msgspec.to_builtins(wish.rules))
    made = await exchange.session.admin.change_rules(lambda _: rules, expected=wish.generation)
    await exchange.answer_json(200, encode(rules_answer(made)))


async def explain_object(exchange: Exchange) -> None:
    """Answer where an object that is there belongs and why, and where it is."""
    query = exchange.query
    ref = ObjectRef(
        query.get("tenant") or exchange.session.principal.tenant,
        _named(query, "bucket"),
        check_key(_named(query, "key")),
    )
    found = await exchange.session.admin.explain_object(ref, version_id=query.get("version_id") or None)
    await exchange.answer_json(200, encode(explain_answer(found)))


async def explain_facts(exchange: Exchange) -> None:
    """Answer where an object of these facts would belong, and why."""
    wish = decode(FactsForm, await small_body(exchange, MAX_JSON))
    found = await exchange.session.admin.explain(_facts(wish, exchange.session.principal.tenant))
    await exchange.answer_json(200, encode(explain_answer(found)))


async def simulate(exchange: Exchange) -> None:
    """Answer what another placement would do with all that is there, and what that costs. Nothing is changed."""
    wish = decode(SimulateWish, await small_body(exchange, MAX_RULES_JSON) or b"{}")
    made, priced = await exchange.session.admin.simulate(wanted(wish))
    await exchange.answer_json(200, encode(simulate_answer(made, priced)))


def _named(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise InvalidRequestError(f"name the object: ?bucket=…&key=…; {name} is missing")
    return query[name]


def _facts(wish: FactsForm, home: str) -> Facts:
    return Facts(
        ObjectRef(wish.tenant or home, wish.bucket, check_key(wish.key)),
        bytes_of("size", wish.size),
        wish.content_type,
        wish.storage_class,
        wish.tags,
        bytes_of("inline", wish.inline),
    )


def wanted(wish: SimulateWish) -> Wanted:
    """Return the placement that a wish supposes; `InvalidRequestError` for a rule that cannot be one."""
    default = None
    if wish.default is not None:
        default = rule_of({"name": DEFAULT, **msgspec.to_builtins(wish.default)})
    rules = None if wish.rules is None else rules_of(msgspec.to_builtins(wish.rules))
    return Wanted(rules, default, bytes_of("inline", wish.inline), wish.supposed)


def bytes_of(name: str, said: int | str | None) -> int | None:
    """Return a size that was said as bytes or as text; `InvalidRequestError` when it is none."""
    try:
        found = parse_size(said) if isinstance(said, str) else said
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {error}") from None
    if found is not None and found < 0:
        raise InvalidRequestError(f"{name} is a size from 0 on, not {found}")
    return found


# -- out --------------------------------------------------------------------------------------------------------------
def rules_answer(found: RulesInForce) -> RulesAnswer:
    """Return the rules as they travel."""
    return RulesAnswer(
        rules=_rules(found.rules),
        default=_rules([found.default])[0],
        inline=found.inline,
        of_file=found.of_file,
        kept=_rules(found.kept),
        generation=found.generation,
    )


def _rules(rules: Sequence[Rule]) -> list[RuleForm]:
    return msgspec.convert([rule_members(rule) for rule in rules], list[RuleForm])


def explain_answer(found: Explained) -> ExplainAnswer:
    """Return an explanation as it travels."""
    facts, told, version = found.facts, found.explanation, found.version
    return ExplainAnswer(
        plan=plan_form(told.plan),
        asked=[
            VerdictForm(rule=verdict.rule, matched=verdict.matched, reason=verdict.reason)
            for verdict in told.asked
        ],
        why_inline=told.why_inline,
        why_elsewhere=told.why_elsewhere,
        of_file=found.of_file,
        facts=FactsForm(
            tenant=facts.ref.tenant,
            bucket=facts.ref.bucket,
            key=facts.ref.key,
            size=facts.size,
            content_type=facts.content_type,
            storage_class=facts.storage_class,
            tags=dict(facts.tags),
            inline=facts.inline,
        ),
        version_id=None if version is None else version.id,
        copies=None
        if version is None
        else [
            CopyForm(
                store=copy.store,
                pieces=copy.segments,
                whole=copy.whole,
                suspect=copy.suspect,
                encrypted=copy.encrypted,
            )
            for copy in found.copies
        ],
        home=found.home,
        owed=None if version is None else version.owed,
    )


def plan_form(found: Plan) -> PlanForm:
    """Return a plan as it travels."""
    return PlanForm(
        stores=list(found.stores),
        acknowledge=found.acknowledge,
        rule=found.rule,
        inline=found.inline,
        fallback=list(found.fallback),
        encrypt=found.encrypt,
    )


def simulate_answer(found: Simulation, priced: Priced) -> SimulateAnswer:
    """Return a simulation as it travels: the largest moves first, stores and rules by name."""
    moves = sorted(found.moves.items(), key=lambda move: (-move[1].bytes, move[0]))
    return SimulateAnswer(
        every=_count(found.every),
        moving=_count(found.moving),
        lost=_count(found.lost),
        moves=[MoveForm(from_=list(held), to=list(goal), **_counted(count)) for (held, goal), count in moves],
        rules=[RuleCount(rule=name, **_counted(count)) for name, count in sorted(found.rules.items())],
        stores=[
            StoreForm(
                store=name,
                price=load.price,
                before=_count(load.before),
                after=_count(load.after),
                writes=load.writes,
                written=load.written,
                reads=load.reads,
                read=load.read,
                deletes=load.deletes,
            )
            for name, load in sorted(found.stores.items())
        ],
        once=_amount(priced.once),
        month_before=_amount(priced.before),
        month_after=_amount(priced.after),
        currency="USD",
        generation=found.generation,
    )


def _counted(count: Count) -> dict[str, Any]:
    return {"objects": count.objects, "pieces": count.blobs, "bytes": count.bytes}


def _count(count: Count) -> CountForm:
    return CountForm(**_counted(count))


def _amount(estimate: Estimate) -> AmountForm:
    return AmountForm(
        total=money(estimate.total), known=money(estimate.known) or "0", notes=list(estimate.notes)
    )
