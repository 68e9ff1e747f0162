"""`scrub`: copies read whole, the least lately proved first, within a budget; what is bad is made again, or told.

A part is a store, or a bucket. First come the copies that were never proved (bad ones are among them), then the others by
the time of their last proof. The cursor says how far a part is and how much it has read. A copy that was proved by a step
that died is proved again, and nothing else is done twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from holdfast.core.backend import StoreState
from holdfast.core.errors import InvalidRequestError, NotFoundError, UnavailableError
from holdfast.core.findings import Finding, FindingKind, Provable
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import INLINE
from holdfast.engine import proving
from holdfast.engine.costs import price_key
from holdfast.engine.engine import Engine
from holdfast.engine.proving import Proof, Verdict
from holdfast.jobs import looking, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy import proving as policy
from holdfast.policy.cost import Estimate, once_cost

MAX_AGE: Final = 30 * 86400.0  #: seconds after which a copy is to be proved again
_PAGE: Final = 100
_AT_ONCE: Final = 4
_STEP_BYTES: Final = 256 << 20  #: after so many a step ends, whatever is left of its page
_HOPELESS: Final = 8  #: copies in a row that could not be read: the store does not answer


class Scrub:
    """Reads copies and compares them with what was written."""

    name: Final = "scrub"
    verb: Final = "operate"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`. `budget` and `share` are of each store, in one run."""
        spec.known(given, "store", "tenant", "bucket", "max_age", "budget", "share", "sample")
        bucket, tenant = spec.text(given, "bucket"), spec.text(given, "tenant")
        if bucket and not tenant:
            raise InvalidRequestError("bucket goes with tenant")
        return {
            "store": spec.text(given, "store"),
            "tenant": tenant,
            "bucket": bucket,
            "max_age": spec.seconds(given, "max_age", MAX_AGE),
            "budget": spec.size(given, "budget"),
            "share": _share(given, "share"),
            "sample": _share(given, "sample") or 1.0,
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said["store"])
        await looking.bucket_of(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`. It is the most that is read: what was proved lately is not."""
        context, sample = work.engine.context, work.spec["sample"]
        objects, size, once = 0, 0, Estimate()
        calls: dict[str, dict[str, int]] = {}
        for name in await stores_of(work):
            count, held = await work.engine.catalog.count_copies(name)
            count, held = int(count * sample), int(held * sample)
            budget = _budget(work.spec, held)
            if budget is not None and budget < held:
                count, held = count * budget // max(held, 1), budget
            objects, size = objects + count, size + held
            calls[name] = {"get": count}
            if name != INLINE:
                once += once_cost(context.settings.prices, price_key(context, name), reads=count, bytes=held)
        notes = ["the most that is read: copies that were proved lately are left out"]
        if work.spec["tenant"]:
            notes.append("counted for whole stores, although only some buckets are read")
        return Forecast(objects, size, calls, once, notes=notes)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        catalog, told = work.engine.catalog, work.spec
        until = await catalog.now() - int((told["max_age"] or 0.0) * 1_000_000)
        if told["tenant"]:
            if told["bucket"]:
                numbers = [(await catalog.bucket(told["tenant"], told["bucket"])).id]
            else:
                numbers = [bucket.id for bucket, _ in await catalog.buckets(told["tenant"])]
            places = [{"store": told["store"], "bucket": number} for number in numbers]
            return _ranges(places or [{"store": told["store"], "bucket": -1}], until, told["budget"])
        found = []
        for name in await stores_of(work):
            held = (await catalog.count_copies(name))[1] if told["share"] is not None else 0
            found += _ranges([{"store": name, "bucket": 0}], until, _budget(told, held))
        return found

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        return await _Pass(work, part).run()

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        notes = dict(work.job.counts.notes)
        return Finish({"proved": work.job.counts.done, "bytes": work.job.counts.bytes, **notes})


async def stores_of(work: Work) -> list[str]:
    """Return the stores that a job is about: the one that it names, or all that are not down or an archive."""
    stores = work.engine.context.stores
    await stores.refresh(at_once=True)
    name = work.spec["store"]
    if name:
        if name not in stores:
            raise NotFoundError(f"there is no store {name!r}; see: holdfast store list", store=name)
        return [name]
    return [
        name
        for name, store in stores.items()
        if store.state is not StoreState.DOWN and "archive" not in store.labels
    ]


@dataclass(slots=True)
class _Place:
    """Where a part is: its phase, behind what, bytes read so far, copies looked at, those that were not there."""

    phase: str = "never"
    after: list[Any] = field(default_factory=lambda: ["", ""])
    read: int = 0
    looked: int = 0
    absent: int = 0

    @classmethod
    def of(cls, cursor: str) -> _Place:
        return cls(**json.loads(cursor)) if cursor else cls()

    def told(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, separators=(",", ":"))


class _Pass:
    """One step."""

    def __init__(self, work: Work, part: Part) -> None:
        self._work, self._context = work, work.engine.context
        given = json.loads(part.start)
        self._store: str = given["store"]
        self._bucket: int = given["bucket"]
        self._until: int = given["until"]
        self._budget: int | None = given["budget"]
        self._place = _Place.of(part.cursor)
        if self._bucket and not part.cursor:
            self._place = _Place("bucket", ["", -1, ""])
        self._counts = Counts()
        self._failures: list[ItemFailure] = []
        self._sound: dict[str, list[Provable]] = {}
        self._bad: list[tuple[Provable, Proof]] = []
        self._unread = 0  # in a row
        self._read = 0

    async def run(self) -> Step:
        page = await self._page()
        over, trouble = False, ""
        for start in range(0, len(page), _AT_ONCE):
            if self._work.stopping() or self._read >= _STEP_BYTES:
                break
            over = self._budget is not None and self._place.read >= self._budget
            if over:
                break
            some = page[start : start + _AT_ONCE]
            if not await self._some([copy for copy, _ in some]):
                break
            self._place.after = some[-1][1]
            await self._work.beat()
        await self._settle()
        trouble = policy.emptied(self._place.looked, self._place.absent, policy.SHRINK)
        if trouble:
            self._fail("", "", trouble, "not_believed")
            return self._step(done=True)
        await self._condemn()
        if self._unread >= _HOPELESS:
            raise UnavailableError(
                f"{self._unread} blobs in a row could not be read: {self._failures[-1].message}",
                store=self._store,
            )
        if over:
            self._note("budget_spent")
        if not page and self._place.phase == "never":
            self._place.phase, self._place.after = "again", [-1, ""]
            return self._step()
        return self._step(done=over or not page)

    async def _page(self) -> list[tuple[Provable, list[Any]]]:
        """Return the next copies, each with the place behind it."""
        catalog, after = self._work.engine.catalog, self._place.after
        if self._place.phase == "bucket":
            found = await catalog.unproved_in_bucket(
                self._bucket,
                self._until,
                store=self._store,
                after=(after[0], after[1], after[2]),
                limit=_PAGE,
            )
            return [(copy, [copy.ref.key, seq, copy.replica.id]) for copy, seq in found]
        if self._place.phase == "never":
            copies = await catalog.never_proved(self._store, after=(after[0], after[1]), limit=_PAGE)
            return [(copy, [copy.replica.blob, copy.replica.id]) for copy in copies]
        copies = await catalog.proved_before(
            self._store, self._until, after=(after[0], after[1]), limit=_PAGE
        )
        return [(copy, [copy.proved, copy.replica.id]) for copy in copies]

    async def _some(self, copies: Sequence[Provable]) -> bool:
        """Prove some; False when the job is to stop: then nothing is told of them."""
        picked = [copy for copy in copies if self._picked(copy)]
        proofs = await asyncio.gather(*(self._prove(copy) for copy in picked))
        if None in proofs:
            return False
        self._counts += Counts(examined=len(copies), skipped=len(copies) - len(picked))
        for copy, proof in zip(picked, proofs, strict=True):
            assert proof is not None
            await self._take(copy, proof)
        return True

    async def _prove(self, copy: Provable) -> Proof | None:
        if not await self._work.room(size=copy.replica.size):
            return None
        return await proving.prove(self._context, copy)

    async def _take(self, copy: Provable, proof: Proof) -> None:
        self._place.read += proof.read
        self._place.looked += 1
        self._read += proof.read
        self._unread = self._unread + 1 if proof.verdict is Verdict.UNKNOWN else 0
        self._counts += Counts(bytes=proof.read)
        if proof.verdict is Verdict.SOUND:
            await proving.learn(self._context, copy, proof)
            self._sound.setdefault(copy.replica.store, []).append(copy)
            self._counts += Counts(done=1)
        elif proof.verdict is Verdict.BAD:
            self._place.absent += proof.kind is FindingKind.LOST
            self._bad.append((copy, proof))
        elif proof.verdict is Verdict.ASLEEP:
            self._note("asleep")
            self._counts += Counts(skipped=1)
        elif proof.verdict is Verdict.LOCKED:
            self._note("locked")
            self._fail(copy.ref.bucket, copy.ref.key, proof.detail, "locked", copy)
        else:
            code = proof.error.code if proof.error is not None else "unavailable"
            self._fail(copy.ref.bucket, copy.ref.key, f"{copy.replica.store}: {proof.detail}", code, copy)

    async def _settle(self) -> None:
        """Write down what was right, before anything may be raised."""
        for copies in self._sound.values():
            await proving.accept(self._context, copies)

    async def _condemn(self) -> None:
        last: list[Finding] = []
        for copy, proof in self._bad:
            self._note(proof.kind.value)
            finding = await proving.condemn(self._context, copy, proof)
            detail = f"{copy.replica.store}: {proof.detail}"
            if finding is None:
                self._note("healing")
                self._fail(copy.ref.bucket, copy.ref.key, f"{detail}; it is made again", "corrupted", copy)
            else:
                self._note("no_sound_copy")
                told = f"{detail}; no sound copy is left"
                self._fail(copy.ref.bucket, copy.ref.key, told, "corrupted", copy)
                last.append(finding)
        await proving.alarm(self._context, last, self._work.job.id)

    def _picked(self, copy: Provable) -> bool:
        """Tell whether a copy is in the sample; another job picks others."""
        sample: float = self._work.spec["sample"]
        if sample >= 1.0:
            return True
        digest = blake2b(f"{self._work.job.id} {copy.replica.id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < sample * 2**64

    def _note(self, name: str) -> None:
        self._counts += Counts(notes={name: 1})

    def _fail(self, bucket: str, key: str, message: str, code: str, copy: Provable | None = None) -> None:
        self._counts += Counts(failed=1)
        version, tenant = (copy.replica.version_id, copy.ref.tenant) if copy is not None else ("", "")
        self._failures.append(ItemFailure(bucket, key, version, code, message, tenant=tenant))

    def _step(self, *, done: bool = False) -> Step:
        return Step(self._place.told(), done, self._counts, self._failures)


def _ranges(places: Sequence[Mapping[str, Any]], until: int, budget: int | None) -> list[Range]:
    return [Range(json.dumps({**place, "until": until, "budget": budget})) for place in places]


def _budget(told: Mapping[str, Any], held: int) -> int | None:
    """Return how many bytes of a store may be read in this run; None: any number."""
    bounds = [told["budget"], None if told["share"] is None else -(-int(held * told["share"] * 1000) // 1000)]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def _share(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise InvalidRequestError(f"{name} is a number above 0, and 1 at most")
    return float(value)
