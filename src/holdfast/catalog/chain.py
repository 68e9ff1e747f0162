"""The audit's chain: records packed into segments, each segment's MAC over its bytes and over the MAC before it. Pure.

A segment is authenticated as it is stored, so nothing is inflated that was not sealed by us. The head says where the
chain ends and, once it was pruned, where it begins; it carries a MAC of its own. Whoever lacks the key can neither
alter, drop, insert, move nor cut off records without the chain, or its head, failing to fit.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast.core.errors import CorruptedError
from holdfast.core.types import AuditEntry

MOST: Final = 1000  #: records in a segment
_LARGEST: Final = 64 << 20  #: bytes of a segment's records, inflated
_LEVEL: Final = 3
NO_MAC: Final = bytes(32)  #: what the first segment comes after
_PLACE: Final = struct.Struct(">qqqqq")
_HEAD: Final = struct.Struct(">qqqq")


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record as it is kept: a line of JSON, without what is empty."""

    at: int
    principal: str = ""
    action: str = ""
    bucket: str = ""
    key: str = ""
    version_id: str = ""
    request_id: str = ""
    detail: dict[str, str] = {}
    address: str = ""
    status: int = 0
    bytes: int = 0
    received: int = 0
    agent: str = ""
    error: str = ""

    def entry(self, tenant: str, number: int) -> AuditEntry:
        """Return the record as the world sees it."""
        return AuditEntry(
            self.at,
            tenant,
            self.principal,
            self.action,
            self.bucket,
            self.key,
            self.version_id,
            self.request_id,
            self.detail,
            number,
            self.address,
            self.status,
            self.bytes,
            self.received,
            self.agent,
            self.error,
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """Records ready to become a segment."""

    count: int
    from_at: int
    to_at: int
    records: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment of a tenant's audit as the catalog holds it."""

    number: int
    first: int
    count: int
    from_at: int
    to_at: int
    mac: bytes
    records: bytes


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Where a chain ends, and where it begins since it was pruned."""

    segments: int = 0
    records: int = 0
    mac: bytes = NO_MAC
    pruned_segments: int = 0
    pruned_records: int = 0
    pruned_mac: bytes = NO_MAC
    seal: bytes = b""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed from the beginning of a chain."""

    segments: int = 0
    records: int = 0


class Chain:
    """The MACs of one tenant's audit."""

    __slots__ = ("_key", "_name")

    def __init__(self, tenant: str, key: bytes) -> None:
        name = tenant.encode("utf-8", "surrogatepass")
        self._name = len(name).to_bytes(4, "big") + name
        self._key = key

    def link(self, before: bytes, segment: Sealed) -> bytes:
        """Return the MAC that `segment` must have after a segment with the MAC `before`."""
        place = _PLACE.pack(segment.number, segment.first, segment.count, segment.from_at, segment.to_at)
        digest = hashlib.sha256(segment.records).digest()
        return self._mac(b"segment\0", len(before).to_bytes(4, "big"), before, place, digest)

    def sealed(self, head: AuditHead) -> AuditHead:
        """Return `head` with its seal."""
        return AuditHead(
            head.segments,
            head.records,
            head.mac,
            head.pruned_segments,
            head.pruned_records,
            head.pruned_mac,
            self._seal(head),
        )

    def holds(self, head: AuditHead) -> bool:
        """Return whether the seal of `head` is ours."""
        return hmac.compare_digest(self._seal(head), head.seal)

    def mark(self) -> bytes:
        """Return what proves that this chain was begun; it is kept apart from the chain."""
        return self._mac(b"begun\0")

    def _seal(self, head: AuditHead) -> bytes:
        numbers = _HEAD.pack(head.segments, head.records, head.pruned_segments, head.pruned_records)
        macs = b"".join(len(mac).to_bytes(4, "big") + mac for mac in (head.mac, head.pruned_mac))
        return self._mac(b"head\0", numbers, macs)

    def _mac(self, *pieces: bytes) -> bytes:
        return hmac.digest(self._key, b"".join((b"holdfast-audit-1\0", self._name, *pieces)), hashlib.sha256)


def extended(chain: Chain, head: AuditHead, packed: Iterable[Packed]) -> tuple[list[Sealed], AuditHead]:
    """Return `packed` as the segments after `head`, and the head after them."""
    made: list[Sealed] = []
    number, records, mac = head.segments, head.records, head.mac
    for pack in packed:
        number += 1
        bare = Sealed(number, records + 1, pack.count, pack.from_at, pack.to_at, b"", pack.records)
        mac = chain.link(mac, bare)
        made.append(Sealed(number, records + 1, pack.count, pack.from_at, pack.to_at, mac, pack.records))
        records += pack.count
    after = AuditHead(number, records, mac, head.pruned_segments, head.pruned_records, head.pruned_mac)
    return made, chain.sealed(after)


def pack(lines: Sequence[Line]) -> list[Packed]:
    """Return the records in packs of at most `MOST`, in the order in which they are given."""
    made = []
    for start in range(0, len(lines), MOST):
        some = lines[start : start + MOST]
        times = [line.at for line in some]
        text = _ENCODER.encode_lines(some)
        made.append(Packed(len(some), min(times), max(times), zlib.compress(text, _LEVEL)))
    return made


def unpack(segment: Sealed) -> list[Line]:
    """Return the records of a segment.

    Raises:
        CorruptedError: they cannot be read, or are not as many as the segment says.
    """
    try:
        inflator = zlib.decompressobj()
        text = inflator.decompress(segment.records, _LARGEST)
        whole = inflator.eof and not inflator.unused_data
        lines = _DECODER.decode_lines(text) if whole else []
    except (zlib.error, msgspec.DecodeError, ValueError):
        lines = []
    if len(lines) != segment.count:
        raise CorruptedError(
            f"segment {segment.number} of the audit cannot be read; look at it with: holdfast audit verify"
        )
    return lines


def entries_of(tenant: str, segment: Sealed) -> Iterator[AuditEntry]:
    """Yield the records of a segment, numbered."""
    for number, line in enumerate(unpack(segment), start=segment.first):
        yield line.entry(tenant, number)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Line)
