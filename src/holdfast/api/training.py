"""Jobs of an older storage service: each a JSON object in the bucket `jobs`, changed under its ETag."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from holdfast.api import documents
from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.compat import MOST, Compat, find, wish_for
from holdfast.api.describe import iso
from holdfast.api.documents import JOBS, MODEL, Document
from holdfast.api.exchange import Exchange
from holdfast.api.listing import number
from holdfast.api.models import encode
from holdfast.api.wanted import Wanted
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from holdfast.core.search import Search
from holdfast.core.types import Version
from holdfast.engine.write import ObjectInput

_FOLDER: Final = "jobs/"
_TRIES: Final = 5
_PAGE: Final = 1000
_SHOWN: Final = (
    *("_id", "job_id", "status", "model_type", "progress", "created_at", "completed_at"),
    *("current_loss", "current_accuracy"),
)
#: What a job is when nothing is said of it.
_FRESH: Final[Document] = {
    "user_id": "anonymous",
    "status": "PENDING",
    "model_type": None,
    "dataset_path": None,
    "hyperparameters": {},
    "num_workers": 1,
    "epochs": 1,
    "total_tasks": 0,
    "completed_tasks": 0,
    "progress": 0.0,
    "current_loss": 0.0,
    "current_accuracy": 0.0,
    "started_at": None,
    "completed_at": None,
}


class Jobs:
    """Training jobs: made, changed, listed; and what is made of one that is over."""

    def __init__(self, compat: Compat, wanted: Wanted, environment: Environment) -> None:
        self._compat = compat
        self._wanted = wanted
        self._environment = environment

    async def save(self, exchange: Exchange) -> None:
        """Store a job, a JSON object with `job_id`; answers 201, also when it takes the place of an earlier one."""
        given = await _json(exchange)
        job_id = given.get("job_id")
        if not isinstance(job_id, str) or not job_id:
            raise InvalidRequestError("job_id is required")
        now = iso(self._environment.clock.now())
        job = {**_FRESH, **given, "created_at": now, "updated_at": now}
        await self._wanted.ensure(exchange.session, JOBS)
        version = await _put(exchange, job)
        said = {"message": "Job saved successfully", "mongo_id": version.id}
        await exchange.answer_json(201, encode(said))

    async def show(self, exchange: Exchange, job_id: str) -> None:
        """Answer with a job."""
        job, _ = await _get(exchange, job_id)
        await exchange.answer_json(200, encode(job))

    async def update(self, exchange: Exchange, job_id: str) -> None:
        """Change members of a job; those that are not given stay."""
        changes = await _json(exchange)
        changes.pop("_id", None)
        for _ in range(_TRIES):
            job, etag = await _get(exchange, job_id)
            made = {**job, **changes, "job_id": job_id, "updated_at": iso(self._environment.clock.now())}
            try:
                await _put(exchange, made, Preconditions(if_match=(etag,)))
            except PreconditionFailedError:
                continue  # somebody else changed it meanwhile: our members go into theirs
            await exchange.answer_json(200, encode({"message": "Job updated successfully"}))
            return
        raise ConflictError("the job is changed by others all the time; try again")

    async def list_all(self, exchange: Exchange) -> None:
        """Answer with jobs, the newest first, of one user or status or of all."""
        wish = wish_for(user_id=exchange.query.get("user_id"), status=exchange.query.get("status"))
        await self._list(exchange, wish, number(exchange, "limit", 50, most=_PAGE))

    async def list_recent(self, exchange: Exchange) -> None:
        """Answer with the newest jobs."""
        await self._list(exchange, Search(), number(exchange, "limit", 10, most=_PAGE))

    async def save_model(self, exchange: Exchange, job_id: str) -> None:
        """Store what is known of a completed job as a model, once; answers 201, or 200 when there is one already."""
        job = await _json(exchange)
        if job.get("job_id") != job_id:
            raise InvalidRequestError("Job ID mismatch: job_id must be the one in the path")
        if job.get("status") != "COMPLETED":
            raise InvalidRequestError("Job must be completed to save model")
        found, _ = await find(exchange, MODEL, wish_for(job_id=job_id))
        if found:
            said = {"message": "Model already exists for this job", "model_id": found[0][0].id}
            await exchange.answer_json(200, encode(said))
            return
        version = await self._summarise(exchange, job)
        said = {
            "message": "Model automatically saved successfully",
            "model_id": version.id,
            "minio_path": documents.path_of(version),
        }
        await exchange.answer_json(201, encode(said))

    async def stream_logs(self, exchange: Exchange, job_id: str) -> None:
        """Answer with the lines of the object `jobs/JOB.log` in the bucket `jobs` as server-sent events."""
        async with exchange.session.get(JOBS, f"{_FOLDER}{job_id}.log") as reader:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
            await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
            async for line in _lines(aiter(reader)):
                event = b"data: " + line + b"\n\n"
                await exchange.send({"type": "http.response.body", "body": event, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _list(self, exchange: Exchange, wish: Search, limit: int) -> None:
        """Answer with jobs; the dates by which they are ordered lie with the objects, so that only those shown are read."""
        found: list[Version] = []
        cursor = ""
        with contextlib.suppress(NotFoundError):
            while len(found) < MOST:
                page = await exchange.session.search(wish, bucket=JOBS, limit=_PAGE, cursor=cursor)
                found += [version for version in page.items if version.ref.key.endswith(".json")]
                cursor = page.cursor
                if not cursor:
                    break
        found.sort(key=lambda version: (version.metadata.get("created_at", ""), version.id), reverse=True)
        jobs = []
        for version in found[:limit]:
            with contextlib.suppress(NotFoundError):  # removed meanwhile
                job, _ = await _read(exchange, version.ref.key)
                jobs.append({name: job.get(name) for name in _SHOWN})
        await exchange.answer_json(200, encode({"jobs": jobs, "count": len(jobs)}))

    async def _summarise(self, exchange: Exchange, job: Document) -> Version:
        place = documents.text(job.get("dataset_path")) or "unknown_dataset"
        dataset = place.rpartition("/")[2].partition(".")[0]
        called = documents.text(job.get("job_name")) or job["job_id"]
        model_type = documents.text(job.get("model_type")) or "UnknownModel"
        metrics = {
            "accuracy": job.get("current_accuracy", 0.0),
            "loss": job.get("current_loss", 0.0),
            "completed_tasks": job.get("completed_tasks", 0),
            "total_tasks": job.get("total_tasks", 0),
        }
        document = {
            "job_id": job["job_id"],
            "job_name": called,
            "name": f"{called}_{model_type}_{dataset}".replace(" ", "_"),
            "algorithm": model_type,
            "dataset_name": dataset,
            "hyperparameters": job.get("hyperparameters", {}),
            "metrics": metrics,
            "model_type": "trained",
            "extension": "json",
        }
        content = {
            "job_id": job["job_id"],
            "model_type": job.get("model_type"),
            "final_metrics": metrics,
            "hyperparameters": job.get("hyperparameters", {}),
            "training_completed_at": iso(self._environment.clock.now()),
            "auto_saved": True,
            "dataset_path": job.get("dataset_path"),
            "epochs": job.get("epochs"),
            "num_workers": job.get("num_workers"),
        }
        body = Body.of_bytes(msgspec.json.format(encode(content), indent=2))
        return await self._compat.save(exchange, MODEL, document, body, "application/json", "")


async def _json(exchange: Exchange) -> Document:
    try:
        found: Any = msgspec.json.decode(await small_body(exchange, MAX_JSON))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return found


async def _put(exchange: Exchange, job: Document, conditions: Preconditions | None = None) -> Version:
    told = {
        name: documents.text(job.get(name))
        for name in ("created_at", "status", "user_id")
        if documents.text(job.get(name))
    }
    held = {name: value for name, value in job.items() if name != "_id"}
    return await exchange.session.put(
        JOBS,
        f"{_FOLDER}{job['job_id']}.json",
        Body.of_bytes(encode(held)),
        ObjectInput("application/json", told),
        conditions=conditions or Preconditions(),
    )


async def _get(exchange: Exchange, job_id: str) -> tuple[Document, str]:
    try:
        return await _read(exchange, f"{_FOLDER}{job_id}.json")
    except NotFoundError:
        raise NotFoundError("Job not found", name=job_id) from None


async def _read(exchange: Exchange, key: str) -> tuple[Document, str]:
    """Return a job and its ETag."""
    async with exchange.session.get(JOBS, key) as reader:
        if reader.version.size > MAX_JSON:
            raise InvalidRequestError(f"{key} is too large to be a job")
        content = await reader.read()
    try:
        found: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequestError(f"{key} is not a job: somebody stored something else there")
    return {**found, "_id": reader.version.id}, reader.version.etag


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > MAX_JSON:  # no line is that long: what is this?
            yield rest
            rest = b""
    if rest:
        yield rest.rstrip(b"\r")
