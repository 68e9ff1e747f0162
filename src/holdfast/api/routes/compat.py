"""Routes of an older storage service; the setting `compat` turns them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.api.routes.params import BINARY, FORM, RANGE, WHOLE
from holdfast.api.routing import Param, Route

if TYPE_CHECKING:
    from holdfast.api.compat import Compat
    from holdfast.api.training import Jobs

_LIMIT: Final = Param("limit", "so many at most", WHOLE)
_BUCKET: Final = Param("bucket", "instead of the default bucket")
_MADE: Final[dict[int, Any]] = {201: dict}
_DONE: Final[dict[int, Any]] = {200: dict}


def compat(files: Compat | type[Compat], jobs: Jobs | type[Jobs]) -> tuple[Route, ...]:
    """Return the routes; classes instead of objects do for a description."""
    return (*_files(files), *_documents(files), *_jobs(jobs))


def _files(files: Compat | type[Compat]) -> tuple[Route, ...]:
    one = "/download/{filename}"
    read = {200: BINARY, 206: BINARY, 304: None}
    return (
        Route("POST", "/upload", files.upload, "Upload a file to the default bucket", (), FORM, _MADE),
        Route(
            "GET", one, files.download, "Download a file of the default bucket", (_BUCKET, RANGE), None, read
        ),
        Route("HEAD", one, files.look, "Look at a file of the default bucket", (_BUCKET,), None, {200: None}),
        Route(
            "POST",
            "/api/v1/upload/{bucket}/{key...}",
            files.upload_to,
            "Upload a file to its path",
            (),
            FORM,
            _MADE,
        ),
        Route("POST", "/api/v1/sync", files.sync, "Bring documents into step", answers=_DONE),
        Route(
            "GET", "/api/v1/storage/validate", files.validate, "Compare objects and documents", answers=_DONE
        ),
    )


def _documents(files: Compat | type[Compat]) -> tuple[Route, ...]:
    checkpoints, artifacts = "/api/v1/checkpoints/{job_id}", "/api/v1/artifacts/{job_id}"
    job = Param("job_id", "only of this job")
    kind = Param("type", "only of this `artifact_type`")
    keep = Param("keep", "so many stay, those of the highest epochs", {**WHOLE, "default": 5})
    return (
        Route("POST", "/api/v1/models", files.save_model, "Store a model", (), FORM, _MADE),
        Route("GET", "/api/v1/models", files.list_models, "List models", (job, _LIMIT), None, _DONE),
        Route(
            "GET",
            "/api/v1/models/{model_id}",
            files.get_model,
            "Download a model",
            (RANGE,),
            None,
            {200: BINARY, 206: BINARY},
        ),
        Route("POST", "/api/v1/checkpoints", files.save_checkpoint, "Store a checkpoint", (), FORM, _MADE),
        Route("GET", checkpoints, files.list_checkpoints, "List a job's checkpoints", answers=_DONE),
        Route(
            "POST",
            checkpoints + "/cleanup",
            files.clean_checkpoints,
            "Remove old checkpoints",
            (keep,),
            None,
            _DONE,
        ),
        Route("POST", "/api/v1/artifacts", files.save_artifact, "Store an artifact", (), FORM, _MADE),
        Route("GET", artifacts, files.list_artifacts, "List a job's artifacts", (kind,), None, _DONE),
        Route("POST", "/api/v1/datasets", files.save_dataset, "Store a dataset", (), FORM, _MADE),
        Route("GET", "/api/v1/datasets", files.list_datasets, "List datasets", (_LIMIT,), None, _DONE),
    )


def _jobs(jobs: Jobs | type[Jobs]) -> tuple[Route, ...]:
    one = "/api/v1/jobs/{job_id}"
    which = (Param("user_id", "only of this user"), Param("status", "only in this state"), _LIMIT)
    return (
        Route("POST", "/api/v1/jobs", jobs.save, "Store a job", (), dict, _MADE),
        Route("GET", "/api/v1/jobs", jobs.list_all, "List jobs", which, None, _DONE),
        Route("GET", "/api/v1/jobs/recent", jobs.list_recent, "List the newest jobs", (_LIMIT,), None, _DONE),
        Route("GET", one, jobs.show, "A job", answers=_DONE),
        Route("PUT", one, jobs.update, "Change a job", (), dict, _DONE),
        Route("GET", one + "/logs", jobs.stream_logs, "A job's log as events", answers={200: "text"}),
        Route(
            "POST",
            one + "/auto-save-model",
            jobs.save_model,
            "Make a model of a completed job",
            (),
            dict,
            {200: dict, 201: dict},
        ),
    )
