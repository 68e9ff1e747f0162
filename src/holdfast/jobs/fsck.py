"""`fsck`: the rows of a store compared with what it lists, both ways, in one pass with flat memory.

A part is a store. While it lists, it only notes. When the listing has come to its end and is believed, what was noted
counts: copies that are lost or wrong are made again from sound ones, or told aloud; what is dark is a finding, which is
quarantined when it was seen twice, long enough apart, and is left to `sweep` when its quarantine is over. A listing that
fails, ends early or shrinks ends the part, and nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import structlog

from holdfast.catalog.contract import Actor
from holdfast.core.backend import StoreState
from holdfast.core.errors import InvalidRequestError, NotFoundError, UnavailableError
from holdfast.core.failpoints import failpoint
from holdfast.core.findings import LISTED, Finding, FindingKind, FindingState, Provable
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.engine import adopting, fsck, proving
from holdfast.engine.engine import Engine
from holdfast.engine.fsck import Inspection, Stretch
from holdfast.engine.proving import Proof, Verdict
from holdfast.jobs import looking, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy import proving as policy
from holdfast.policy.proving import Look

_log = structlog.get_logger("holdfast.fsck")
_ACTOR: Final = Actor("fsck")  #: who it was, in the audit
_PAGE: Final = 200
_LOOKED_INTO: Final = 100  #: names of a step that also looks into the blobs
_IN_A_ROW: Final = 20  #: blobs that cannot be read, until it is the store that does not answer


class Fsck:
    """Compares stores with their rows."""

    name: Final = "fsck"
    verb: Final = "operate"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`. `gap`, `hold` and `young` are seconds, `shrink` is a share."""
        spec.known(given, "store", "deep", "metadata", "shrink", "gap", "hold", "young", "quarantine")
        return {
            "store": spec.text(given, "store"),
            "deep": spec.flag(given, "deep"),
            "metadata": spec.flag(given, "metadata"),
            "shrink": _share(given),
            "gap": spec.seconds(given, "gap", policy.GAP),
            "hold": spec.seconds(given, "hold", policy.HOLD),
            "young": spec.seconds(given, "young", policy.YOUNG),
            "quarantine": spec.flag(given, "quarantine", True),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said["store"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        objects, size = 0, 0
        calls: dict[str, dict[str, int]] = {}
        for name in await _stores(work):
            count, held = await work.engine.catalog.count_copies(name)
            objects += count
            calls[name] = {"list": -(-count // 1000)}
            if work.spec["deep"]:
                calls[name]["get"], size = count, size + held
            if work.spec["metadata"]:
                calls[name]["head"] = count
        return Forecast(
            objects, size, calls, notes=["what is no blob of ours is listed too, and not counted here"]
        )

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        began = await work.engine.catalog.now()
        found = []
        for name in await _stores(work):
            rows, _ = await work.engine.catalog.count_copies(name)
            found.append(Range(json.dumps({"store": name, "rows": rows, "began": began})))
        return found or [Range(json.dumps({"store": "", "rows": 0, "began": began}))]

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        return await _Pass(work, part).run()

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        return Finish({"examined": work.job.counts.examined, **work.job.counts.notes})


async def _stores(work: Work) -> list[str]:
    stores = work.engine.context.stores
    await stores.refresh(at_once=True)
    name = work.spec["store"]
    if name:
        if name not in stores:
            raise NotFoundError(f"there is no store {name!r}; see: holdfast store list", store=name)
        return [name]
    return [name for name, store in stores.items() if store.state is not StoreState.DOWN]


@dataclass(slots=True)
class _Place:
    """Where a part is: its phase, behind which name, and what it has seen so far."""

    phase: str = "list"
    after: str = ""
    look: Look = field(default_factory=Look)

    @classmethod
    def of(cls, cursor: str) -> _Place:
        if not cursor:
            return cls()
        given = json.loads(cursor)
        return cls(given["phase"], given["after"], Look(**given["look"]))

    def told(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


class _Pass:
    """One step."""

    def __init__(self, work: Work, part: Part) -> None:
        self._work, self._context, self._catalog = work, work.engine.context, work.engine.catalog
        given = json.loads(part.start)
        self._name: str = given["store"]
        self._rows: int = given["rows"]
        self._began: int = given["began"]
        self._place = _Place.of(part.cursor)
        self._counts = Counts()
        self._failures: list[ItemFailure] = []
        self._unreadable = 0  #: blobs in a row
        self._into = bool(work.spec["deep"] or work.spec["metadata"])

    async def run(self) -> Step:
        if not self._name:
            return self._step(done=True)
        phases = {"list": self._list, "judge": self._judge, "bad": self._bad, "over": self._over}
        return await phases[self._place.phase]()

    # -- looking ------------------------------------------------------------------------------------------------------
    async def _list(self) -> Step:
        store = self._context.store(self._name)
        young = int((self._work.spec["young"] or 0.0) * 1_000_000)
        limit = _LOOKED_INTO if self._into else fsck.PAGE
        inspection = Inspection(self._context, store, young=young, limit=limit)
        seen = await inspection.look(self._place.after)
        await self._work.gauge.objects(max(seen.names, 1))
        look = _sum(self._place.look, seen.look)
        if trouble := policy.disbelief(look, self._rows, self._work.spec["shrink"]):
            return self._end(trouble)
        if self._into:
            await self._look_into(seen)
        at = await self._catalog.now()
        await self._catalog.note_findings(seen.found, run=self._work.job.id, at=at)
        failpoint("fsck.after_note")
        notes = {finding.kind.value: 0 for finding in seen.found}
        for finding in seen.found:
            notes[finding.kind.value] += 1
        notes |= {name: count for name, count in seen.notes.items() if count}
        self._counts += Counts(examined=seen.names, done=len(seen.sound), notes=notes)
        ended = seen.end is None
        self._place = _Place("judge" if ended else "list", "" if ended else str(seen.end), look)
        return self._step()

    async def _look_into(self, seen: Stretch) -> None:
        """Read what is there: its bytes, or what it says of itself."""
        copies = await self._catalog.due_of_blobs(self._name, seen.sound)
        by_blob: dict[str, list[Provable]] = {}
        for copy in copies:
            by_blob.setdefault(copy.replica.blob, []).append(copy)
        sound = []
        for some in by_blob.values():
            if self._work.spec["metadata"]:
                await self._described(some, seen)
            if self._work.spec["deep"] and await self._deep(some[0], seen):
                sound += some
            await self._work.beat()
        await proving.accept(self._context, sound)

    async def _described(self, copies: Sequence[Provable], seen: Stretch) -> None:
        replica = copies[0].replica
        await self._work.gauge.objects(1)
        wrong, note = await fsck.misdescribed(self._context.store(self._name), copies)
        if note:
            seen.notes[note] += 1
        if wrong:
            seen.found.append(
                Finding(
                    self._name,
                    replica.blob,
                    FindingKind.WRONG_METADATA,
                    replica.size,
                    FindingState.NOTED,
                    replica.version_id,
                    wrong,
                )
            )

    async def _deep(self, copy: Provable, seen: Stretch) -> bool:
        if copy.replica.size:
            await self._work.gauge.bytes(copy.replica.size)
        proof = await proving.prove(self._context, copy)
        self._counts += Counts(bytes=proof.read)
        if proof.verdict is Verdict.SOUND:
            await proving.learn(self._context, copy, proof)
            self._unreadable = 0
            return True
        if proof.verdict is Verdict.BAD:
            self._unreadable = 0
            if not await self._is_still(copy):
                return False
            seen.found.append(proving.finding_of(copy, proof))
        elif proof.verdict in (Verdict.LOCKED, Verdict.ASLEEP):
            seen.notes[proof.verdict.value] += 1
        else:
            self._unread(copy, proof)
            return False
        self._unreadable = 0
        return False

    def _unread(self, copy: Provable, proof: Proof) -> None:
        """Tell of a blob that could not be read now; so many in a row, and it is the store that does not answer."""
        self._unreadable += 1
        if self._unreadable >= _IN_A_ROW:
            raise proof.error or UnavailableError(proof.detail, store=self._name)
        self._counts += Counts(failed=1, notes={"unreadable": 1})
        ref, replica = copy.ref, copy.replica
        told = f"{self._name}: {replica.blob} could not be read: {proof.detail}"
        code = proof.error.code if proof.error is not None else UnavailableError.code
        self._failures.append(
            ItemFailure(ref.bucket, ref.key, replica.version_id, code, told, tenant=ref.tenant)
        )

    async def _is_still(self, copy: Provable) -> bool:
        rows = await self._catalog.due_of_blobs(self._name, [copy.replica.blob])
        return any(row.replica.id == copy.replica.id for row in rows)

    # -- what follows from it -----------------------------------------------------------------------------------------
    async def _judge(self) -> Step:
        told, look = self._work.spec, self._place.look
        if trouble := policy.disbelief(look, self._rows, told["shrink"]):
            return self._end(trouble)
        kinds = {kind.value for kind in LISTED}
        if told["metadata"]:
            kinds.add(FindingKind.WRONG_METADATA.value)
        if told["deep"] and not self._work.job.counts.notes.get(
            "unreadable"
        ):  # else not all were looked into
            kinds.add(FindingKind.WRONG_HASH.value)
        reluctant = policy.reluctance(look, told["shrink"])
        judged = await self._catalog.judge_findings(
            self._name,
            self._work.job.id,
            kinds=sorted(kinds),
            began=self._began,
            gap=int((told["gap"] or 0.0) * 1_000_000),
            hold=int((told["hold"] or 0.0) * 1_000_000),
            quarantines=bool(told["quarantine"]) and not reluctant,
        )
        failpoint("fsck.after_judge")
        self._counts += Counts(
            notes={
                name: count
                for name, count in (("gone", judged.gone), ("quarantined", judged.quarantined))
                if count
            }
        )
        if reluctant and look.dark:
            _log.warning("what is dark is not quarantined", store=self._name, reason=reluctant)
            self._counts += Counts(notes={"not_quarantined": look.dark})
        self._place = _Place("bad", "", look)
        return self._step()

    async def _bad(self) -> Step:
        """Have copies that are lost or wrong made again; those of which there is no other are told aloud."""
        page = await self._catalog.bad_findings(
            self._name, self._work.job.id, after=self._place.after, limit=_PAGE
        )
        for finding in page:
            await self._treat(finding)
        if page:
            self._place.after = page[-1].blob
        else:
            self._place = _Place("over", "", self._place.look)
        return self._step()

    async def _treat(self, finding: Finding) -> None:
        if finding.kind is FindingKind.WRONG_METADATA:
            self._fail(finding, finding.detail)
            return
        proof = Proof(Verdict.BAD, 0, finding.kind, finding.detail)
        for copy in await self._catalog.due_of_blobs(self._name, [finding.blob]):
            left = await proving.condemn(self._context, copy, proof)
            if left is None:
                self._counts += Counts(notes={"healing": 1})
                self._fail(finding, f"{finding.detail}; it is made again", copy)
                continue
            self._counts += Counts(notes={"no_sound_copy": 1})
            self._fail(finding, f"{finding.detail}; no sound copy is left", copy)
            _log.error(
                "no sound copy is left",
                store=finding.store,
                blob=finding.blob,
                kind=finding.kind.value,
                version=finding.version_id,
                detail=finding.detail,
            )

    async def _over(self) -> Step:
        """Leave what was dark long enough to `sweep`."""
        if (
            policy.reluctance(self._place.look, self._work.spec["shrink"])
            or not self._work.spec["quarantine"]
        ):
            return self._step(done=True)
        page = await self._catalog.findings_over(
            self._name, self._work.job.id, after=self._place.after, limit=_PAGE
        )
        for finding in page:
            row_id = self._context.environment.new_id()
            known_as = await adopting.aliases(self._context.store(self._name), finding.blob)
            if await self._catalog.remove_finding(finding, row_id, names=known_as, actor=_ACTOR):
                self._counts += Counts(notes={"removed": 1})
                _log.info("left to the sweep", store=finding.store, blob=finding.blob, bytes=finding.size)
            failpoint("fsck.after_remove")
        if page:
            self._place.after = page[-1].blob
        return self._step(done=not page)

    def _end(self, trouble: str) -> Step:
        _log.error("a listing is not believed", store=self._name, reason=trouble)
        self._failures.append(ItemFailure("", "", "", "not_believed", f"{self._name}: {trouble}"))
        self._counts += Counts(failed=1, notes={"not_believed": 1})
        return self._step(done=True)

    def _fail(self, finding: Finding, message: str, copy: Provable | None = None) -> None:
        self._counts += Counts(failed=1)
        bucket, key = (copy.ref.bucket, copy.ref.key) if copy is not None else ("", finding.blob)
        tenant = copy.ref.tenant if copy is not None else ""
        told = f"{finding.store}: {finding.kind}: {message}"
        self._failures.append(ItemFailure(bucket, key, finding.version_id, "corrupted", told, tenant=tenant))

    def _step(self, *, done: bool = False) -> Step:
        return Step(self._place.told(), done, self._counts, self._failures)


def _sum(one: Look, other: Look) -> Look:
    return Look(
        one.rows + other.rows,
        one.listed + other.listed,
        one.missing + other.missing,
        one.lost + other.lost,
        one.dark + other.dark,
        one.foreign + other.foreign,
        one.adopted or other.adopted,
    )


def _share(given: Mapping[str, Any]) -> float:
    value = given.get("shrink", policy.SHRINK)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRequestError("shrink is a number from 0 to 1: 0.2 is a fifth")
    return float(value)
