"""Jobs and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.api import job_models as models
from holdfast.api.routes.params import WHOLE
from holdfast.api.routing import Param, Route

if TYPE_CHECKING:
    from holdfast.api.jobs import JobDoor

_ROOT: Final = "/api/v1/background-jobs"
_JOB: Final = _ROOT + "/{job}"
_SCHEDULES: Final = "/api/v1/schedules"
_SCHEDULE: Final = _SCHEDULES + "/{schedule}"
_ONE: Final[dict[int, Any]] = {200: models.JobInfo}
_LIMIT: Final = Param("limit", "so many in a page", {**WHOLE, "minimum": 1, "default": 100})


def jobs(door: JobDoor | type[JobDoor]) -> tuple[Route, ...]:
    """Return the routes of jobs; a class instead of an object does for a description."""
    listing = (
        Param("state", "only in this state: queued, running, paused, done, failed or cancelled"),
        Param("kind", "only of this kind"),
        Param("after", "the `next_after` of the page before"),
        _LIMIT,
    )
    later = Param("Last-Event-ID", "the `id` of the last event that was seen", where="header")
    whose = Param("tenant", "whose schedule; empty: the service's")
    paged = (Param("after", "the `next_after` of the page before", WHOLE), _LIMIT)
    return (
        Route(
            "POST",
            _ROOT,
            door.start,
            "Start a job, or say what it would do",
            (),
            models.JobWish,
            {202: models.JobInfo, 200: models.ForecastAnswer},
        ),
        Route("GET", _ROOT, door.list, "List jobs", listing, answers={200: models.JobList}),
        Route("GET", _JOB, door.show, "How far a job is", answers=_ONE),
        Route(
            "GET",
            _JOB + "/failures",
            door.failures,
            "List what a job could not do",
            paged,
            answers={200: models.FailureList},
        ),
        Route("GET", _JOB + "/events", door.events, "Watch a job", (later,), answers={200: "events"}),
        Route("POST", _JOB + "/pause", door.pause, "Pause a job", answers=_ONE),
        Route("POST", _JOB + "/resume", door.resume, "Have a paused job go on", answers=_ONE),
        Route("POST", _JOB + "/cancel", door.cancel, "Cancel a job", answers=_ONE),
        Route("PATCH", _JOB + "/pace", door.set_pace, "Limit a job", (), models.PaceForm, _ONE),
        Route(
            "GET", "/api/v1/job-kinds", door.kinds, "List the kinds of job", answers={200: models.KindList}
        ),
        Route(
            "GET", _SCHEDULES, door.schedules, "List schedules", (whose,), answers={200: models.ScheduleList}
        ),
        Route(
            "GET", _SCHEDULE, door.schedule, "Show a schedule", (whose,), answers={200: models.ScheduleForm}
        ),
        Route(
            "PUT",
            _SCHEDULE,
            door.put_schedule,
            "Make or replace a schedule",
            (),
            models.ScheduleWish,
            {200: models.ScheduleForm},
        ),
        Route("DELETE", _SCHEDULE, door.delete_schedule, "Remove a schedule", (whose,), answers={204: None}),
    )
