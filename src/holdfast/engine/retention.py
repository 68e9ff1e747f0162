"""What keeps a version, and what its bucket's rules want of it, as one principal may see and change it.

Holds and locks are set by admins. A lock in governance mode is made shorter, or lifted, by who may `bypass_retention`, and
with a reason; one in compliance mode by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Actor, Aged
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.names import check_key
from holdfast.core.retention import MAX_LOCK, Keeping, LockMode
from holdfast.core.types import ObjectRef, Principal
from holdfast.engine.context import Context
from holdfast.engine.lifecycle import REASONS, Judged, Place, ageing
from holdfast.engine.permits import Permit
from holdfast.policy.lifecycle import DAY, Action, Planned, mismatch, plan

_REASON: Final = 500  #: characters
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A version of an object, and what keeps it."""

    ref: ObjectRef
    version_id: str
    keeping: Keeping


@dataclass(frozen=True, slots=True)
class Wished:
    """What one rule wants of a version: when (None: nobody can say yet), to which store, and why."""

    rule: str
    action: Action
    due: int | None
    why: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class LifeExplained:
    """What becomes of a version: `wishes` of the rules by time, `not_meant` the rules that are not about it, and why.

    `now` is what the next run would do; `refused` why it would not. `expires` is the bucket's own retention, by age.
    """

    ref: ObjectRef
    version_id: str
    keeping: Keeping
    wishes: Sequence[Wished]
    not_meant: Sequence[tuple[str, str]]
    now: Wished | None = None
    refused: str = ""
    expires: int | None = None


class Retention:
    """Holds, locks and rules of objects. `Session.retention` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit, principal: Principal, actor: Actor) -> None:
        self._context = context
        self._permit = permit
        self._principal = principal
        self._actor = actor

    async def keeping(self, bucket: str, key: str, *, version_id: str | None = None) -> Kept:
        """Return what keeps the current or a named version; `NotFoundError` when there is none."""
        await self._permit.enter("versions", bucket, key)
        ref = self._ref(bucket, key)
        return Kept(ref, *await self._context.catalog.keeping(ref, version_id))

    async def hold(
        self, bucket: str, key: str, on: bool, *, version_id: str | None = None, reason: str = ""
    ) -> Kept:
        """Set or clear the legal hold of a version; the audit keeps the `reason`."""
        await self._permit.enter("hold", bucket, key)
        ref = self._ref(bucket, key)
        found = await self._context.catalog.set_hold(
            ref, version_id, on, reason=_reason(reason), actor=self._actor
        )
        return Kept(ref, *found)

    async def lock(
        self,
        bucket: str,
        key: str,
        mode: LockMode | None,
        *,
        until: int | None = None,
        days: int | None = None,
        version_id: str | None = None,
        reason: str = "",
    ) -> Kept:
        """Lock a version until a time (microseconds) or for `days` from now; with `mode` None take its lock away.

        With a `reason`, a governance lock may be weakened; that needs `bypass_retention`, and the audit keeps the reason.

        Raises:
            ConflictError: a lock that holds would be weakened, or the bucket keeps no versions.
            InvalidRequestError: the mode and the time do not go together.
        """
        await self._permit.enter("lock", bucket, key)
        if reason:
            await self._permit.enter("bypass_retention", bucket, key)
        if days is not None:
            if until is not None or not 1 <= days <= MAX_LOCK // DAY:
                raise InvalidRequestError(f"a lock ends at a time, or after 1 to {MAX_LOCK // DAY} days")
            until = await self._context.catalog.now() + days * DAY
        ref = self._ref(bucket, key)
        found = await self._context.catalog.set_lock(
            ref, version_id, mode, until, reason=_reason(reason), actor=self._actor
        )
        return Kept(ref, *found)

    async def explain(self, bucket: str, key: str, *, version_id: str | None = None) -> LifeExplained:
        """Return what the rules of the bucket want of the current or a named version, when and why; nothing is done."""
        await self._permit.enter("versions", bucket, key)
        ref, catalog = self._ref(bucket, key), self._context.catalog
        held = await catalog.bucket(ref.tenant, bucket)
        ruled = await catalog.ruled_buckets(ref.tenant, bucket, limit=1)
        counting = ruled[0][1] if ruled else None
        ages = await ageing(self._context, held, counting)
        place, found = Place(key), None
        while found is None:
            grown = await catalog.aged(held, from_key=key, below=place.seq, limit=_PAGE)
            for number, aged in enumerate(grown.versions):
                if aged.version.ref.key != key:
                    raise _none(ref)
                below = grown.versions[number + 1] if number + 1 < len(grown.versions) else None
                if version_id in (None, aged.version.id):
                    if version_id is None and aged.version.delete_marker:
                        raise _none(ref)
                    item = place.item(aged, below, counting)
                    found = aged
                    break
                place = place.after(aged)
            if found is None and not grown.more:
                raise _none(ref)
        assert found is not None
        now = await catalog.now()
        rules = held.settings.lifecycle
        days = held.settings.retention_days
        wishes = sorted(plan(rules, item), key=lambda wish: wish.due if wish.due is not None else 1 << 62)
        judged = ages.judge(found, item, now)
        return LifeExplained(
            ref,
            found.version.id,
            found.keeping,
            [_wished(wish) for wish in wishes],
            [(rule.name, why) for rule in rules if (why := mismatch(rule, item))],
            _wished(judged.wish, judged) if judged.wish is not None else None,
            _why_not(judged, found, now),
            None if days is None else found.version.created + days * DAY,
        )

    def _ref(self, bucket: str, key: str) -> ObjectRef:
        return ObjectRef(self._principal.tenant, bucket, check_key(key))


def _wished(wish: Planned, judged: Judged | None = None) -> Wished:
    to = wish.to if judged is None or not judged.to else judged.to
    return Wished(wish.rule, wish.action, wish.due, wish.why, to)


def _why_not(judged: Judged, aged: Aged, now: int) -> str:
    """Say why what is due is not done, with the sum where it is about money."""
    if not judged.refused:
        return ""
    if judged.refused == "held":
        return aged.keeping.why(now)
    text = REASONS[judged.refused]
    return text if judged.money is None else f"{text} (a loss of {-judged.money:.6f} dollars while it lives)"


def _none(ref: ObjectRef) -> NotFoundError:
    return NotFoundError("there is no such object", name=str(ref))


def _reason(text: str) -> str:
    if len(text) > _REASON or not text.isprintable():
        raise InvalidRequestError(f"a reason has at most {_REASON} printable characters")
    return text
