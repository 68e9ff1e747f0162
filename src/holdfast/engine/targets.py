"""Where the copies of one write go now: the stores of its plan, or what its rule allows when one of them takes nothing.

A store takes nothing when an operator said so, when it is not configured, or when a write has just failed there. One
that failed lately is passed over while the rule names another, so that not every writer waits for it again. What went
anywhere but home is owed: the version says so, and `reconcile` brings it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Owed
from holdfast.core.errors import DeadlineError, HoldfastError, UnavailableError
from holdfast.core.types import EMPTY, Bucket, ObjectRef, Replica, Upload
from holdfast.engine.context import Context
from holdfast.engine.rules import encrypts
from holdfast.policy.placement import Plan

DOWN: Final = "down"
COPIES: Final = "copies"
_STORES: Final = "target.stores"
_RULE: Final = "target.rule"
_REASON: Final = "target.reason"
_ENCRYPT: Final = "target.encrypt"


@dataclass(frozen=True, slots=True)
class Target:
    """`stores` take a copy each before the writer is answered; `owed` says what that leaves to be done.

    `missed` are stores of the plan that were passed over for a fallback store.
    """

    stores: tuple[str, ...]
    owed: Owed | None = None
    missed: tuple[str, ...] = ()
    spare: bool = False  #: whether the rule names further stores, should one of these fail
    further: bool = False  #: whether one of those would take it now
    encrypt: bool = False  #: whether every copy is encrypted; else those are in stores that say so


def target_of(
    context: Context, plan: Plan, bucket: Bucket, *, failed: Mapping[str, str] = EMPTY, strict: bool = False
) -> Target:
    """Return where the copies go that `plan` wants acknowledged.

    `failed` are stores in which this write failed already, and why. With `strict` only the stores of the plan will do.

    Raises:
        UnavailableError: fewer stores take something now than must before the writer is answered.
    """
    troubles = {name: trouble_of(context, name) or failed.get(name, "") for name in plan.stores}
    others = [] if strict else [name for name in plan.fallback if name not in plan.stores]
    if bucket.settings.encryption != "none":  # as the plan itself was checked
        others = [name for name in others if plan.encrypt or encrypts(context.stores.get(name))]
    spare = [name for name in others if not (trouble_of(context, name) or failed.get(name, ""))]
    able = [name for name in plan.stores if not troubles[name]]
    now = context.environment.clock.monotonic()
    able_or_spare = sorted([*able, *spare], key=lambda name: context.outages.failing(name, now))  # stable
    chosen = able_or_spare[: plan.acknowledge]
    if len(chosen) < plan.acknowledge:
        raise _refusal(plan, troubles, len(chosen), strict=strict)
    at_home = tuple(name for name in plan.stores if name in chosen)
    away = tuple(name for name in spare if name in chosen)
    owed = None
    if away:
        owed = Owed(plan.rule, DOWN)
    elif len(at_home) < len(plan.stores):
        owed = Owed(plan.rule, COPIES)
    missed = tuple(name for name in plan.stores if name not in chosen)[: len(away)]
    more = bool(others) or len(plan.stores) > plan.acknowledge
    # for a store that failed lately no other is left because it is slow
    further = sum(not context.outages.failing(name, now) for name in able_or_spare) > plan.acknowledge
    return Target((*at_home, *away), owed, missed, spare=more, further=further, encrypt=plan.encrypt)


def trouble_of(context: Context, name: str) -> str:
    """Return why a store takes no new objects, "" when it does as far as is known."""
    store = context.stores.get(name)
    if store is None:
        return "is not configured"
    if store.refusal:
        return store.refusal
    if store.circuit is not None and store.circuit.refuses:
        return "does not answer"
    return ""


def _refusal(plan: Plan, troubles: Mapping[str, str], able: int, *, strict: bool) -> UnavailableError:
    told = "; ".join(f"store {name!r} {why}" for name, why in troubles.items() if why)
    first = next((name for name, why in troubles.items() if why), "")
    if plan.fallback and not strict:
        remedy = "none of its fallback stores takes it either"
    elif plan.fallback:
        remedy = (
            "pieces that are put together later do not fall back; send it in one upload, or try again later"
        )
    else:
        remedy = "the rule names no fallback; try again later, bring the store back, or give the rule another store"
    wanted = f"needs {plan.acknowledge} {'copy' if plan.acknowledge == 1 else 'copies'}, {able} can be made"
    return UnavailableError(
        f"the object takes no place now: rule {plan.rule!r} {wanted}: {told}; {remedy}",
        operation="put",
        store=first,
    )


def pending(
    context: Context, ref: ObjectRef, target: Target, version_id: str, segment_id: str, size: int | None
) -> list[Replica]:
    """Return the rows that announce the copies which must exist before the writer is answered.

    Raises:
        UnavailableError: one of the stores takes nothing (any more).
    """
    made = []
    for number, name in enumerate(target.stores):
        if why := trouble_of(context, name):
            raise UnavailableError(
                f"store {name!r} {why}; it takes no new objects", operation="put", store=name
            )
        store = context.store(name)
        made.append(
            context.replica(ref, store, version_id, segment_id, size or 0, number, sealed=target.encrypt)
        )
    return made


def blamed(context: Context, stores: Sequence[str], error: BaseException) -> str:
    """Return which of `stores` did not take its copy by this error, "" when that was not what went wrong."""
    if not isinstance(error, UnavailableError | DeadlineError) or error.store not in stores:
        return ""
    context.outages.failed(error.store, context.environment.clock.monotonic())
    return error.store


def accepted(context: Context, target: Target) -> None:
    """Note that the stores took their copies, and count what went elsewhere."""
    accepted_by(context, target.stores)
    fell_back(context, target)


def fell_back(context: Context, target: Target) -> None:
    """Count what goes elsewhere."""
    for name, taker in zip(target.missed, reversed(target.stores), strict=False):
        context.outages.fell_back(name, taker)


def accepted_by(context: Context, stores: Sequence[str]) -> None:
    """Note that these stores took something."""
    for name in stores:
        context.outages.well(name)


def told(error: HoldfastError) -> str:
    """Return what happened to a store, as it goes into a refusal."""
    return f"failed just now ({error.message})"


# -- uploads in pieces: all go where they would go when the upload is opened, whatever happens in between -------------
def pinned(target: Target) -> dict[str, str]:
    """Return the options by which an upload remembers where its pieces go."""
    kept = {_STORES: ",".join(target.stores)}
    if target.owed is not None:
        kept |= {_RULE: target.owed.rule, _REASON: target.owed.reason}
    if target.encrypt:
        kept[_ENCRYPT] = "yes"
    return kept


def target_in(options: Mapping[str, str]) -> Target | None:
    """Return where the pieces of an upload with these options go; None when it does not say."""
    if not options.get(_STORES):
        return None
    reason = options.get(_REASON)
    owed = None if reason is None else Owed(options.get(_RULE, ""), reason)
    return Target(tuple(options[_STORES].split(",")), owed, encrypt=bool(options.get(_ENCRYPT)))


def owed_since(target: Target, plan: Plan) -> Owed | None:
    """Return what a version owes that went to `target` when `plan` is what holds now: moves change while bytes travel."""
    missing = target.owed is None and not set(plan.stores) <= set(target.stores)
    return Owed(plan.rule, COPIES) if missing else target.owed


def owed_by(uploads: Sequence[Upload]) -> Owed | None:
    """Return what the version owes that is made of the pieces of these uploads: the worst of what any of them does."""
    found = [target.owed for upload in uploads if (target := target_in(upload.options)) and target.owed]
    return min(found, key=lambda owed: owed.reason != DOWN, default=None)
