"""One copy proved: read whole from the store itself, past every cache, and compared with what was written.

A copy that is bad is marked `suspect`, so that readers pass it over, and owed, so that `reconcile` makes another from a
sound one. The last sound copy of something is never given up: it is a finding, and an alarm; its bytes and rows stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import structlog

from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Forgetter
from holdfast.core.body import CHUNK, Meter
from holdfast.core.directly import directly
from holdfast.core.errors import CorruptedError, HoldfastError, InvalidRangeError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.findings import Finding, FindingKind, FindingState, Provable
from holdfast.core.keyring import LockedError, ShreddedError
from holdfast.core.types import NO_DIGESTS, Digests
from holdfast.engine import checksums
from holdfast.engine.context import Context

_log = structlog.get_logger("holdfast.proving")
_TRIES: Final = 2  #: reads before a copy is bad: damage in transit passes
_KINDS: Final = (FindingKind.LOST, FindingKind.WRONG_SIZE, FindingKind.WRONG_HASH)


class Verdict(StrEnum):
    """What a read of a copy told."""

    SOUND = "sound"
    BAD = "bad"
    UNKNOWN = "unknown"  #: it could not be read now
    LOCKED = "locked"  #: its key is not among ours
    ASLEEP = "asleep"  #: it is in an archive class, and would have to be woken


@dataclass(frozen=True, slots=True)
class Proof:
    """What a read of a copy told, and how many bytes it `read`; `kind` and `detail` say what is wrong."""

    verdict: Verdict
    read: int = 0
    kind: FindingKind = FindingKind.WRONG_HASH
    detail: str = ""
    error: HoldfastError | None = None
    digests: Digests = NO_DIGESTS
    chunk_size: int = 0
    chunk_crcs: bytes = b""


async def prove(context: Context, copy: Provable) -> Proof:
    """Read a copy whole and tell whether it is what was written. Nothing is changed."""
    read = 0
    proof = Proof(Verdict.UNKNOWN)
    for _ in range(_TRIES):
        proof = await _read(context, copy)
        read += proof.read
        if proof.verdict is not Verdict.BAD or proof.kind is FindingKind.LOST:
            break
    return replace(proof, read=read)


async def _read(context: Context, copy: Provable) -> Proof:
    replica = copy.replica
    meter = Meter(
        checksums.factories(replica.size, copy.digests, md5_limit=-1),
        context.executor if replica.size > CHUNK else None,
    )
    try:
        face = context.store(replica.store).for_blob(replica.blob)
        with directly():
            async with face.get(replica.blob) as reader:
                async for chunk in reader:
                    await meter.update(chunk)
                    if meter.size > replica.size:
                        break
        await meter.finish()
    except (LockedError, ShreddedError) as error:
        return Proof(Verdict.LOCKED, meter.size, detail=error.message, error=error)
    except AsleepError as error:
        return Proof(Verdict.ASLEEP, meter.size, detail=error.message, error=error)
    except NotFoundError as error:
        return Proof(Verdict.BAD, meter.size, FindingKind.LOST, "the store has no such blob", error)
    except (CorruptedError, InvalidRangeError) as error:
        return Proof(Verdict.BAD, meter.size, FindingKind.WRONG_HASH, error.message, error)
    except HoldfastError as error:
        return Proof(Verdict.UNKNOWN, meter.size, detail=error.message, error=error)
    return _compared(copy, meter)


def _compared(copy: Provable, meter: Meter) -> Proof:
    found, size = checksums.settled(meter), copy.replica.size
    if meter.size != size:
        longer = "more than " if meter.size > size else ""
        detail = f"{longer}{min(meter.size, size) if longer else meter.size} bytes instead of {size}"
        return Proof(Verdict.BAD, meter.size, FindingKind.WRONG_SIZE, detail)
    wrong = found.mismatch(copy.digests)
    if wrong is not None:
        return Proof(
            Verdict.BAD, meter.size, FindingKind.WRONG_HASH, f"its {wrong} is not that of what was written"
        )
    chunk_size, chunk_crcs = checksums.chunk_list(meter)
    return Proof(Verdict.SOUND, meter.size, digests=found, chunk_size=chunk_size, chunk_crcs=chunk_crcs)


async def learn(context: Context, copy: Provable, proof: Proof) -> None:
    """Keep the digests of a copy that nobody had read before: one that was adopted."""
    if copy.digests.sha256 is None:
        replica = copy.replica
        await context.catalog.learn_digests(
            replica.version_id, replica.segment_id, proof.digests, proof.chunk_size, proof.chunk_crcs
        )


async def accept(context: Context, copies: Sequence[Provable]) -> None:
    """Write down that copies of one store were read whole and right, and that nothing is wrong with them any more."""
    if not copies:
        return
    catalog = context.catalog
    await catalog.mark_proved([copy.replica.id for copy in copies], at=await catalog.now())
    failpoint("proving.after_mark")
    blobs = [copy.replica.blob for copy in copies]
    await catalog.resolve_findings(copies[0].replica.store, blobs, kinds=[kind.value for kind in _KINDS])


async def condemn(context: Context, copy: Provable, proof: Proof) -> Finding | None:
    """Have a bad copy passed over and made again; return what is to be told of it when it was the last sound one.

    None too when its row went meanwhile.
    """
    replica = copy.replica
    store = context.stores.get(replica.store)
    if store is not None and isinstance(store.backend, Forgetter):
        with suppress(HoldfastError):
            await store.backend.forget(replica.blob)
    done = await context.catalog.condemn(replica.id)
    if not done.there:
        return None
    if done.others:
        _log.warning(
            "a copy is bad and is made again", store=replica.store, blob=replica.blob, reason=proof.detail
        )
        return None
    return finding_of(copy, proof)


def finding_of(copy: Provable, proof: Proof) -> Finding:
    """Return what is told of a bad copy."""
    replica = copy.replica
    detail = f"{copy.ref}: {proof.detail}"
    return Finding(
        replica.store, replica.blob, proof.kind, replica.size, FindingState.NOTED, replica.version_id, detail
    )


async def alarm(context: Context, found: Sequence[Finding], run: str) -> None:
    """Keep findings about copies that no sound one can take the place of, and say so aloud; nothing is removed."""
    if not found:
        return
    catalog = context.catalog
    at = await catalog.now()
    await catalog.note_findings(found, run=run, at=at)
    for store in dict.fromkeys(finding.store for finding in found):
        await catalog.count_findings(store, run)
    for finding in found:
        _log.error(
            "no sound copy is left",
            store=finding.store,
            blob=finding.blob,
            kind=finding.kind.value,
            version=finding.version_id,
            detail=finding.detail,
        )
