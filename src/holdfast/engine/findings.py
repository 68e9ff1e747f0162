"""Findings and proofs as one principal may look after them. Every change is audited where it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.findings import Finding, FindingKind, FindingState, Proven
from holdfast.engine import adopting
from holdfast.engine.context import Context
from holdfast.engine.permits import Permit
from holdfast.policy.proving import HOLD

_SECOND: Final = 1_000_000
_PAGE: Final = 1000
_LONGEST: Final = 3660 * 86400.0


@dataclass(frozen=True, slots=True)
class ProvenStores:
    """How far the copies of each store are proved; `since` is the time that was asked about."""

    since: int
    stores: Sequence[Proven]


class Findings:
    """Verbs on findings. `Administration.findings` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit, actor: Actor) -> None:
        self._context, self._permit, self._actor = context, permit, actor

    async def all(
        self,
        *,
        store: str = "",
        kind: str = "",
        state: str = "",
        after: tuple[str, str, str] = ("", "", ""),
        limit: int = 100,
    ) -> Sequence[Finding]:
        """Return findings by store, blob and kind, behind `after`; "" for those of all.

        Raises:
            InvalidRequestError: there is no such kind or state.
        """
        self._permit.allow("operate")
        _check(kind, FindingKind, "kind")
        _check(state, FindingState, "state")
        return await self._context.catalog.findings(
            store=store, kind=kind, state=state, after=after, limit=min(max(limit, 1), _PAGE)
        )

    async def of_blob(self, store: str, blob: str) -> Sequence[Finding]:
        """Return what is told of one blob; `NotFoundError` when nothing is."""
        self._permit.allow("operate")
        page = await self._context.catalog.findings(store=store, after=(store, blob, ""), limit=_PAGE)
        found = [finding for finding in page if (finding.store, finding.blob) == (store, blob)]
        if not found:
            raise NotFoundError(
                "nothing is told of this blob; see: holdfast findings list", store=store, name=blob
            )
        return found

    async def quarantine(self, store: str, blob: str, *, hold: float | None = None) -> Finding:
        """Have dark bytes removed `hold` seconds from now, without a second sighting.

        Raises:
            NotFoundError: they are not told of. ConflictError: they are quarantined, or removed.
            InvalidRequestError: they are not dark, or `hold` is no time.
        """
        finding = await self._dark(store, blob)
        seconds = HOLD if hold is None else hold
        if not 0 <= seconds <= _LONGEST:
            raise InvalidRequestError("hold is a number of seconds from 0 to ten years")
        if finding.state not in (FindingState.SEEN, FindingState.RELEASED):
            raise ConflictError(f"it is {finding.state} already", store=store, name=blob)
        return await self._context.catalog.change_finding(
            finding, FindingState.QUARANTINED, hold=int(seconds * _SECOND), actor=self._actor
        )

    async def release(self, store: str, blob: str) -> Finding:
        """Leave dark bytes alone from now on, whatever is seen of them.

        Raises:
            NotFoundError: they are not told of. ConflictError: they are removed already.
        """
        finding = await self._dark(store, blob)
        if finding.state is FindingState.RELEASED:
            return finding
        if finding.state is FindingState.REMOVED:
            raise ConflictError("it was left to the sweep already", store=store, name=blob)
        return await self._context.catalog.change_finding(finding, FindingState.RELEASED, actor=self._actor)

    async def remove(self, store: str, blob: str) -> Finding:
        """Leave quarantined bytes to the sweep now.

        Raises:
            NotFoundError: they are not told of. ConflictError: they are not quarantined, or a row knows them by now.
        """
        finding = await self._dark(store, blob)
        catalog = self._context.catalog
        if finding.state is not FindingState.QUARANTINED:
            raise ConflictError(
                f"it is {finding.state}, not quarantined; quarantine it first", store=store, name=blob
            )
        known_as = await adopting.aliases(self._context.store(store), blob)
        over = await catalog.change_finding(finding, FindingState.QUARANTINED, hold=0, actor=self._actor)
        row_id = self._context.environment.new_id()
        if not await catalog.remove_finding(over, row_id, names=known_as, actor=self._actor):
            await catalog.change_finding(over, FindingState.RELEASED, actor=self._actor)
            raise ConflictError("a row knows these bytes by now, so they stay", store=store, name=blob)
        return await catalog.finding(store, blob, FindingKind.DARK.value)

    async def proved(self, *, days: float = 30.0) -> ProvenStores:
        """Return how far copies are proved, store by store; looks at all of them."""
        self._permit.allow("operate")
        if not 0 <= days <= 36600:
            raise InvalidRequestError("days is a number from 0 to 36,600")
        since = await self._context.catalog.now() - int(days * 86400 * _SECOND)
        return ProvenStores(since, await self._context.catalog.proven(since=since))

    async def _dark(self, store: str, blob: str) -> Finding:
        self._permit.allow("operate")
        try:
            return await self._context.catalog.finding(store, blob, FindingKind.DARK.value)
        except NotFoundError:
            found = await self.of_blob(store, blob)
        raise InvalidRequestError(
            f"it is {found[0].kind}, not dark: a row knows it, so nothing of it is removed",
            store=store,
            name=blob,
        )


def _check(text: str, kinds: type[FindingKind] | type[FindingState], name: str) -> None:
    known = [one.value for one in kinds]
    if text and text not in known:
        raise InvalidRequestError(f"there is no {name} {text!r:.80}; there are {', '.join(known)}")
