"""Whether an audit is whole: every link of its chain, its ends, and nothing beyond them."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from struct import error as StructError
from typing import Any, Final

from holdfast.catalog.auditing import BEGUN, KNOWN, SYSTEM
from holdfast.catalog.chain import AuditHead, Chain, Line, Sealed, unpack
from holdfast.catalog.contract import Catalog
from holdfast.core.errors import CorruptedError, InvalidRequestError, NotFoundError

_PAGE: Final = 64  #: segments
_BEFORE_ALL: Final = -(1 << 63)
_WRONG_KIND: Final = (TypeError, ValueError, OverflowError, StructError)
_TRIES: Final = 20  #: times that a chain which changes under us is looked at anew


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at one audit found.

    Attributes:
        problem: "" when it is whole; else altered, missing, moved, inserted, truncated, head, mark or
            rolled-back.
        segment: the first that does not fit, 0 when it is the head.
        text: what is wrong, in words.
        head: where the chain ends, to be kept elsewhere: `NUMBER:MAC`.
    """

    tenant: str
    segments: int = 0
    records: int = 0
    pruned: int = 0
    open: int = 0
    head: str = ""
    problem: str = ""
    segment: int = 0
    text: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


class _BrokenError(Exception):
    def __init__(self, problem: str, segment: int, text: str) -> None:
        super().__init__(text)
        self.found = (problem, segment, text)


class _ChangedError(Exception):
    """The chain was pruned or begun anew while it was read."""


def head_token(head: AuditHead) -> str:
    """Return what stands for the whole chain up to its last segment; "" when nothing was ever sealed."""
    return "" if not head.segments else f"{head.segments}:{head.mac.hex()}"


def parse_token(token: str) -> tuple[int, bytes]:
    """Return the number and the MAC of a head; `InvalidRequestError` when `token` is none."""
    number, colon, mac = token.strip().partition(":")
    try:
        if colon and number.isascii() and number.isdigit() and len(mac) == 64:
            return int(number), bytes.fromhex(mac)
    except ValueError:
        pass
    raise InvalidRequestError("the expected head is not of the kind NUMBER:MAC that verify shows")


class Verifier:
    """Walks one chain. `expected` is a head seen earlier, which the chain must still hold."""

    def __init__(self, catalog: Catalog, tenant: str, chain: Chain, expected: str | None = None) -> None:
        self._catalog = catalog
        self._tenant = tenant
        self._chain = chain
        self._expected = None if expected is None else parse_token(expected)
        self.begun: set[str] = set()  #: tenants whose audits had begun, as the service's own says
        self.begun_again: set[str] = set()  #: those that began though they were there already

    async def verdict(self) -> Verdict:
        """Return what is found."""
        for _ in range(_TRIES):
            self.begun.clear()
            self.begun_again.clear()
            try:
                return await self._walk()
            except _ChangedError:
                continue
            except _BrokenError as broken:
                problem, segment, text = broken.found
                return Verdict(self._tenant, problem=problem, segment=segment, text=text)
            except _WRONG_KIND:
                return Verdict(self._tenant, problem="altered", text="a row holds values of a wrong kind")
        return Verdict(
            self._tenant, problem="head", text="the audit was pruned again and again while it was read"
        )

    async def _walk(self) -> Verdict:
        head = start = await self._head()
        number, records, mac = head.pruned_segments, head.pruned_records, head.pruned_mac
        self._expect(number, mac)
        after = _BEFORE_ALL
        while page := await self._catalog.audit_segments(self._tenant, after=after, limit=_PAGE):
            if page[0].number <= number:
                raise _BrokenError("inserted", page[0].number, "it lies before the beginning")
            if page[-1].number > head.segments or page[0].number != number + 1:
                head = await self._head()
                if head.pruned_segments != start.pruned_segments:
                    raise _ChangedError
            await asyncio.to_thread(self._links, page, number, records, mac, head)
            number, records, mac = page[-1].number, page[-1].first + page[-1].count - 1, page[-1].mac
            after = number
            for segment in page:
                self._expect(segment.number, segment.mac)
        return await self._end(start, head, number, records, mac)

    async def _end(self, start: AuditHead, head: AuditHead, number: int, records: int, mac: bytes) -> Verdict:
        if number != head.segments:
            now = await self._head()
            if now.pruned_segments != start.pruned_segments:
                raise _ChangedError
            raise _BrokenError(
                "truncated", number + 1, f"segments {number + 1} to {head.segments} are gone from the end"
            )
        if (records, mac) != (head.records, head.mac):
            raise _BrokenError("head", 0, "the head does not belong to the last segment")
        if self._expected is not None and self._expected[0] > number:
            raise _BrokenError(
                "rolled-back", number, f"it ends at segment {number}, before the expected {self._expected[0]}"
            )
        waiting, _ = await self._catalog.audit_open(self._tenant, limit=1000)
        return Verdict(
            self._tenant,
            head.segments - head.pruned_segments,
            head.records - head.pruned_records,
            head.pruned_records,
            len(waiting),
            head_token(head),
        )

    async def _head(self) -> AuditHead:
        try:
            head = await self._catalog.audit_head(self._tenant)
        except _WRONG_KIND:
            raise _BrokenError("head", 0, "the head cannot be read") from None
        mark = await self._catalog.audit_mark(self._tenant)
        if head is None:
            await self._check_nothing(mark)
            if await self._catalog.audit_segments(self._tenant, after=_BEFORE_ALL, limit=1):
                raise _BrokenError("head", 0, "there are segments, but the head is gone")
            if self._expected is not None and self._expected[0] > 0:
                raise _BrokenError("rolled-back", 0, "nothing is sealed, though a head was seen earlier")
            return AuditHead()
        if not _safely(self._chain.holds, head):
            raise _BrokenError("head", 0, "the head was altered, or the secret is not the one that sealed it")
        if mark is None or not hmac.compare_digest(mark, self._chain.mark()):
            raise _BrokenError("mark", 0, "the mark that this audit has begun is gone or was altered")
        return head

    async def _check_nothing(self, mark: bytes | None) -> None:
        """See that nothing is sealed because nothing ever was; a tenant that exists has the record of its making."""
        open_rows, _ = await self._catalog.audit_open(self._tenant, limit=1)
        expected = mark is not None or (not open_rows and await self._exists())
        if expected and await self._catalog.audit_head(self._tenant) is not None:
            raise _ChangedError  # it was begun while we looked
        if expected:
            raise _BrokenError("missing", 0, "this audit had begun, and is gone")

    async def _exists(self) -> bool:
        if self._tenant == SYSTEM:
            return False
        try:
            await self._catalog.tenant(self._tenant)
        except NotFoundError:
            return False
        return True

    def _links(self, page: Iterable[Sealed], number: int, records: int, mac: bytes, head: AuditHead) -> None:
        """See that `page` goes on from where we are."""
        for segment in page:
            if segment.number > head.segments:
                raise _BrokenError("inserted", segment.number, "it lies behind the head")
            if segment.number != number + 1:
                text = f"segments {number + 1} to {segment.number - 1} are gone"
                raise _BrokenError("missing", number + 1, text)
            self._link(segment, records, mac)
            number, records, mac = segment.number, records + segment.count, segment.mac

    def _link(self, segment: Sealed, records: int, mac: bytes) -> None:
        fits = _safely(self._fits, mac, segment)
        if segment.first != records + 1:
            raise _BrokenError(
                "moved", segment.number, f"it begins at record {segment.first}, not at {records + 1}"
            )
        if not fits:
            raise _BrokenError("altered", segment.number, "it does not fit its MAC and the segment before it")
        try:
            lines = unpack(segment)
        except CorruptedError as error:
            raise _BrokenError("altered", segment.number, error.message) from None
        if self._tenant == SYSTEM:
            self._note(lines)

    def _note(self, lines: Iterable[Line]) -> None:
        """Keep what the service's audit says of others."""
        for line in lines:
            for tenant in told_of([line]):
                if line.action == BEGUN and tenant in self.begun:
                    self.begun_again.add(tenant)
                self.begun.add(tenant)

    def _fits(self, mac: bytes, segment: Sealed) -> bool:
        return hmac.compare_digest(self._chain.link(mac, segment), segment.mac)

    def _expect(self, number: int, mac: bytes) -> None:
        if self._expected is None or self._expected[0] != number:
            return
        if not hmac.compare_digest(self._expected[1], mac):
            raise _BrokenError(
                "rolled-back", number, "its MAC is not the expected one: another chain took its place"
            )


def told_of(lines: Iterable[Line]) -> set[str]:
    """Return the tenants of which records of the service say that their audits have begun."""
    return {line.detail.get("of", "") for line in lines if line.action in (BEGUN, KNOWN)}


def _safely(question: Callable[..., bool], *given: Any) -> bool:
    """Return the answer, False when values of a wrong kind were put into the row."""
    try:
        return question(*given)
    except _WRONG_KIND:
        return False
