"""The audit of all tenants: sealed as it grows, listed, verified, pruned.

A row of a change is in the catalog when the change is; a record of any other request waits in `recorder`. `seal` moves
both into the chain of their tenant. It may run anywhere, by several at once and as often as one likes: what it seals is
gone from where it was in the same transaction, and whoever comes second finds nothing left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from operator import attrgetter
from typing import Final

from holdfast.catalog.auditing import SYSTEM
from holdfast.catalog.chain import MOST, Chain, Line, Pruned, pack
from holdfast.catalog.contract import Actor, Catalog
from holdfast.core.errors import ConflictError, CorruptedError, HoldfastError
from holdfast.core.types import AuditEntry
from holdfast.engine.recording import Recorder, by_tenant
from holdfast.engine.secrets import RootSecret
from holdfast.engine.verifying import Verdict, Verifier, told_of

_TRIES: Final = 10
_AT_ONCE: Final = 8  #: tenants; on SQLite their commits become one
_PAGE: Final = 1000
_PAGES: Final = 20  #: pages that one listing looks through for what a filter wants
_ALL: Final = 1 << 30
_AT: Final = attrgetter("at")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records are wanted; what is empty does not matter. Times are microseconds, `until` excluded."""

    bucket: str = ""
    prefix: str = ""
    principal: str = ""
    since: int = 0
    until: int = 1 << 62

    def wants(self, entry: AuditEntry) -> bool:
        """Return whether a record, of the right time, is one of them."""
        return (
            (not self.bucket or entry.bucket == self.bucket)
            and entry.key.startswith(self.prefix)
            and (not self.principal or entry.principal == self.principal)
        )


@dataclass(slots=True)
class SealReport:
    """What one sealing did: records sealed, and the tenants of which nothing could be sealed, with the reason."""

    sealed: int = 0
    failed: dict[str, HoldfastError] = field(default_factory=dict)


class Auditor:
    """Seals, reads and verifies. `recorder` takes what the doors saw."""

    def __init__(self, catalog: Catalog, secret: RootSecret) -> None:
        self.recorder = Recorder()
        self._catalog = catalog
        self._secret = secret

    def chain(self, tenant: str) -> Chain:
        """Return what makes and proves the MACs of one tenant."""
        return Chain(tenant, self._secret.derive("audit", tenant))

    # -- sealing --------------------------------------------------------------------------------------------------
    async def seal(self) -> SealReport:
        """Seal all that waits, of all tenants; what cannot be sealed now is kept, as far as there is room.

        Raises:
            UnavailableError: the catalog does not answer; everything is kept.
        """
        report = SealReport()
        waiting = await by_tenant(*self.recorder.take())
        try:
            tenants = {*waiting, *await self._catalog.audit_open_tenants()}
            gate = asyncio.Semaphore(_AT_ONCE)
            await asyncio.gather(*(self._try(tenant, waiting, report, gate) for tenant in sorted(tenants)))
        finally:
            for tenant, lines in waiting.items():
                self.recorder.keep(tenant, lines)
        return report

    async def _try(
        self, tenant: str, waiting: dict[str, list[Line]], report: SealReport, gate: asyncio.Semaphore
    ) -> None:
        async with gate:
            try:
                count = await self._seal(tenant, waiting)
                report.sealed += count
            except HoldfastError as error:
                report.failed[tenant] = error

    async def _seal(self, tenant: str, waiting: dict[str, list[Line]]) -> int:
        """Seal what one tenant has in `waiting`, which is emptied of it, and in open rows; return how many."""
        sealed, lost = 0, 0
        chain = self.chain(tenant)
        while True:
            ids, rows = await self._catalog.audit_open(tenant, limit=MOST)
            lines = waiting.get(tenant, [])
            if not ids and not lines:
                return sealed
            both = list(merge(rows, sorted(lines, key=_AT), key=_AT))
            packed = await asyncio.to_thread(pack, both)
            try:
                await self._catalog.seal_audit(tenant, chain, packed, taken=ids)
            except ConflictError:  # another sealer was first, or a late row lies between ours
                lost += 1
                if lost == _TRIES:
                    raise
                continue
            waiting.pop(tenant, None)
            sealed += len(both)
            if len(ids) < MOST:
                return sealed

    # -- reading --------------------------------------------------------------------------------------------------
    async def page(
        self, tenant: str, wanted: AuditFilter, *, after: int = 0, limit: int = 100
    ) -> tuple[Sequence[AuditEntry], int]:
        """Return records that are wanted, and after which number to go on; 0: there are no more.

        A page looks at so many records and no more; it may be empty and still not the last.
        """
        found: list[AuditEntry] = []
        for _ in range(_PAGES):
            page = await self._catalog.audit(
                tenant, after=after, limit=_PAGE, since=wanted.since, until=wanted.until
            )
            for entry in page:
                after = entry.number
                if wanted.wants(entry):
                    found.append(entry)
                    if len(found) == limit:
                        return found, after
            if len(page) < _PAGE:
                return found, 0
        return found, after

    async def records(self, tenant: str, wanted: AuditFilter) -> AsyncIterator[AuditEntry]:
        """Yield all records that are wanted, in order."""
        after, more = 0, True
        while more:
            page, after = await self.page(tenant, wanted, after=after, limit=_PAGE)
            for entry in page:
                yield entry
            more = after > 0

    # -- proving --------------------------------------------------------------------------------------------------
    async def verify(self, tenant: str, *, expected: str | None = None) -> Verdict:
        """Return whether the audit of a tenant is whole, and still holds `expected`, a head that was shown earlier.

        Raises:
            InvalidRequestError: `expected` is no such head.
        """
        return await Verifier(self._catalog, tenant, self.chain(tenant), expected).verdict()

    async def verify_all(self) -> Sequence[Verdict]:
        """Return the verdicts on every audit there is or should be: on the service's own first."""
        for _ in range(_TRIES):
            started = {*await self._catalog.audit_tenants()} - {SYSTEM}
            _, waiting = await self._catalog.audit_open(SYSTEM, limit=_ALL)
            verifier = Verifier(self._catalog, SYSTEM, self.chain(SYSTEM))
            verdict = await verifier.verdict()
            untold = started - verifier.begun - told_of(waiting)
            if not verdict.whole or not untold:
                break  # else it may have been pruned between our looks
        else:
            text = f"it does not tell that the audit of {min(untold)} began: what was before is gone"
            verdict = replace(verdict, problem="missing", text=text)
        found = [verdict]
        there = {*started, *await self._catalog.audit_open_tenants(), *verifier.begun}
        there |= {tenant.name for tenant in await self._catalog.tenants()}
        for tenant in sorted(there - {SYSTEM}):
            verdict = await self.verify(tenant)
            if verdict.whole and tenant in verifier.begun and not verdict.head:
                verdict = replace(verdict, problem="missing", text="this audit had begun, and is gone")
            if verdict.whole and tenant in verifier.begun_again:
                text = "this audit began more than once: what was before is gone"
                verdict = replace(verdict, problem="missing", text=text)
            found.append(verdict)
        return found

    async def prune(self, tenant: str, *, before: int, actor: Actor) -> Pruned:
        """Remove whole segments of records that are all older than `before`; audited.

        Raises:
            CorruptedError: the audit is not whole, so it must not be tidied up.
        """
        verdict = await self.verify(tenant)
        if not verdict.whole:
            raise CorruptedError(f"the audit is not whole and was left as it is: {verdict.text}")
        return await self._catalog.prune_audit(tenant, self.chain(tenant), before=before, actor=actor)

    async def restart(self, tenant: str, *, actor: Actor) -> Pruned:
        """Give up what is sealed of an audit that cannot be verified, so that sealing goes on; audited."""
        return await self._catalog.restart_audit(tenant, self.chain(tenant), actor=actor)
