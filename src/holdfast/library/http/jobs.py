"""The verbs on jobs over a server's REST door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from holdfast.core.errors import UnavailableError
from holdfast.core.jobs import ENDED, Counts, ItemFailure, Job, JobState, Pace, Schedule
from holdfast.core.types import EMPTY
from holdfast.library.http import wire
from holdfast.library.http.events import events
from holdfast.library.http.transport import Repeat, Transport
from holdfast.library.jobs import FREE, JobVerbs, KindOfJob, Seen

if TYPE_CHECKING:
    from holdfast.jobs.kinds import Forecast
    from holdfast.policy.cost import Estimate

JOBS: Final = "background-jobs"
_PAGE: Final = 1000


class HttpJobs(JobVerbs):
    """Jobs of a server. What has it sets `_http`."""

    _http: Transport

    async def start_job(self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE) -> Job:
        """See `JobVerbs`. Not repeated when the answer is lost: the job may have been started."""
        wish = {"kind": kind, "spec": dict(spec), "pace": _pace_wish(pace)}
        return job_of(await self._http.call("POST", JOBS, json=wish, repeat=Repeat.REFUSED))

    async def forecast_job(
        self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE
    ) -> Forecast:
        """See `JobVerbs`."""
        wish = {"kind": kind, "spec": dict(spec), "pace": _pace_wish(pace), "dry_run": True}
        return forecast_of(await self._http.call("POST", JOBS, json=wish))

    async def job_kinds(self) -> Sequence[KindOfJob]:
        """See `JobVerbs`."""
        found = await self._http.call("GET", "job-kinds")
        return [KindOfJob(said["name"], said["verb"], said.get("about") or "") for said in found["kinds"]]

    async def job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return job_of(await self._http.call("GET", _one(job_id)))

    async def jobs(self, *, state: JobState | None = None, kind: str = "", limit: int = 100) -> Sequence[Job]:
        """See `JobVerbs`."""
        found: list[Job] = []
        after = ""
        while len(found) < limit:
            query: dict[str, str | int | None] = {
                "state": None if state is None else state.value,
                "kind": kind or None,
                "limit": min(limit - len(found), _PAGE),
                "after": after or None,
            }
            page = await self._http.call("GET", JOBS, query=query)
            found += [job_of(said) for said in page["jobs"]]
            after = page["next_after"]
            if not after:
                break
        return found

    async def job_failures(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[ItemFailure]:
        """See `JobVerbs`."""
        found: list[ItemFailure] = []
        while len(found) < limit:
            query = {"after": after or None, "limit": min(limit - len(found), _PAGE)}
            page = await self._http.call("GET", f"{_one(job_id)}/failures", query=query)
            found += [_failure(said) for said in page["failures"]]
            after = page["next_after"]
            if not after:
                break
        return found

    async def pause_job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return job_of(await self._http.call("POST", f"{_one(job_id)}/pause"))

    async def resume_job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return job_of(await self._http.call("POST", f"{_one(job_id)}/resume"))

    async def cancel_job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return job_of(await self._http.call("POST", f"{_one(job_id)}/cancel"))

    async def set_job_pace(self, job_id: str, pace: Pace) -> Job:
        """See `JobVerbs`."""
        return job_of(await self._http.call("PATCH", f"{_one(job_id)}/pace", json=_pace_wish(pace)))

    async def watch_job(self, job_id: str) -> AsyncIterator[Job]:
        """See `JobVerbs`. A connection that breaks is made again, and goes on where it was."""
        async for event in events(self._http, f"{_one(job_id)}/events"):
            job = job_of(event)
            yield job
            if job.state in ENDED:
                return

    async def run_job(self, job_id: str, seen: Seen | None = None) -> Job:
        """See `JobVerbs`."""
        async for job in self.watch_job(job_id):
            if seen is not None:
                seen(job)
            if job.state in ENDED or job.state is JobState.PAUSED:
                return job
        raise UnavailableError("the server stopped telling of the job; ask for it again", name=job_id)

    async def schedules(self, *, tenant: str | None = None) -> Sequence[Schedule]:
        """See `JobVerbs`."""
        found = await self._http.call("GET", f"schedules{_of(tenant)}")
        return [schedule_of(said) for said in found["schedules"]]

    async def put_schedule(
        self,
        name: str,
        kind: str,
        cron: str,
        spec: Mapping[str, Any] = EMPTY,
        *,
        pace: Pace = FREE,
        enabled: bool = True,
    ) -> Schedule:
        """See `JobVerbs`."""
        wish = {
            "kind": kind,
            "cron": cron,
            "spec": dict(spec),
            "pace": _pace_wish(pace),
            "enabled": enabled,
        }
        return schedule_of(await self._http.call("PUT", f"schedules/{quote(name, safe='')}", json=wish))

    async def delete_schedule(self, name: str, *, tenant: str | None = None) -> None:
        """See `JobVerbs`."""
        path = f"schedules/{quote(name, safe='')}{_of(tenant)}"
        await self._http.call("DELETE", path, repeat=Repeat.REFUSED)


def job_of(facts: Any) -> Job:
    """Return the job that JSON describes."""
    counts = Counts(
        facts["examined"],
        facts["done"],
        facts["skipped"],
        facts["failed"],
        facts["bytes"],
        facts.get("notes") or {},
    )
    return Job(
        id=facts["id"],
        tenant=facts["tenant"],
        kind=facts["kind"],
        spec=facts["spec"],
        state=JobState(facts["state"]),
        principal=facts["principal"],
        created=wire.time_of(facts["created"]) or 0,
        started=wire.time_of(facts["started"]),
        ended=wire.time_of(facts["ended"]),
        updated=wire.time_of(facts["updated"]) or 0,
        total=facts["total"],
        total_bytes=facts["total_bytes"],
        counts=counts,
        pace=_pace(facts["pace"]),
        parts=facts["parts"],
        parts_done=facts["parts_done"],
        round=facts["round"],
        schedule=facts["schedule"],
        trouble=facts["trouble"],
        result=facts["result"],
        expires=wire.time_of(facts["expires"]),
        recent=_recent(facts, counts),
    )


def _recent(facts: Any, counts: Counts) -> tuple[tuple[int, int, int], ...]:
    """Return samples that tell the rate which the server told."""
    if facts["objects_rate"] is None:
        return ()
    now, items, size = wire.time_of(facts["updated"]) or 0, counts.examined, counts.bytes
    before = (int(items - 60 * facts["objects_rate"]), int(size - 60 * facts["bytes_rate"]))
    return ((now - 60_000_000, *before), (now, items, size))


def schedule_of(facts: Any) -> Schedule:
    """Return the schedule that JSON describes."""
    return Schedule(
        name=facts["name"],
        tenant=facts["tenant"],
        kind=facts["kind"],
        spec=facts["spec"],
        cron=facts["cron"],
        pace=_pace(facts["pace"]),
        enabled=facts["enabled"],
        next_at=wire.time_of(facts["next_at"]) or 0,
        last_job=facts["last_job"],
        principal=facts["principal"],
        created=wire.time_of(facts["created"]) or 0,
        updated=wire.time_of(facts["updated"]) or 0,
    )


def forecast_of(facts: Any) -> Forecast:
    """Return the forecast that JSON describes; its amounts come as sums."""
    from holdfast.jobs.kinds import Forecast

    return Forecast(
        objects=facts["objects"],
        bytes=facts["bytes"],
        calls=facts["calls"],
        once=_estimate(facts["once"]),
        before=_estimate(facts["month_before"]),
        after=_estimate(facts["month_after"]),
        seconds=facts["seconds"],
        moves={(move["now"], move["wanted"]): move["versions"] for move in facts["moves"]},
        notes=tuple(facts["notes"]),
    )


def _estimate(facts: Any) -> Estimate:
    from holdfast.policy.cost import Estimate, Line

    known = Decimal(facts["known"])
    lines = [Line("", "known", Decimal(1), "", known)] if known or facts["total"] is not None else []
    if facts["total"] is None:
        lines.append(Line("", "unknown", Decimal(1), "", None))
    return Estimate(tuple(lines), (), tuple(facts["notes"]))


def _failure(facts: Any) -> ItemFailure:
    return ItemFailure(
        bucket=facts["bucket"],
        key=facts["key"],
        version_id=facts["version_id"],
        code=facts["code"],
        message=facts["message"],
        at=wire.time_of(facts["at"]) or 0,
        tenant=facts["tenant"],
        number=facts["number"],
    )


def _one(job_id: str) -> str:
    return f"{JOBS}/{quote(job_id, safe='')}"


def _of(tenant: str | None) -> str:
    """Return the query that names a tenant; an empty name is the service's, and is sent."""
    return "" if tenant is None else f"?tenant={quote(tenant, safe='')}"


def _pace(facts: Any) -> Pace:
    return Pace(facts["objects_per_second"], facts["bytes_per_second"])


def _pace_wish(pace: Pace) -> dict[str, Any]:
    return {"objects_per_second": pace.objects, "bytes_per_second": pace.bytes}
