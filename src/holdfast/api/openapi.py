"""The description of the door for generators, made from the same table that serves it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from holdfast.api import routes
from holdfast.api.batches import BatchDoor
from holdfast.api.cleanup import Cleanup
from holdfast.api.compat import Compat
from holdfast.api.errors import Problem
from holdfast.api.exchange import Exchange
from holdfast.api.files import FileDoor
from holdfast.api.health import HealthCheck
from holdfast.api.jobs import JobDoor
from holdfast.api.models import encode
from holdfast.api.reconciling import Reconciling
from holdfast.api.routes import BINARY, FORM
from holdfast.api.routing import Route
from holdfast.api.scrape import Scrape
from holdfast.api.stats import StatsPage
from holdfast.api.training import Jobs
from holdfast.api.tus import Tus

_REF: Final = "#/components/schemas/{name}"
_BYTES: Final[dict[str, Any]] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}
_PIECES: Final = {
    "bucket": "a bucket: 3 to 63 of a-z, 0-9, '.', '-', '_'",
    "name": "a bucket: 3 to 63 of a-z, 0-9, '.', '-', '_'",
    "key": "an object's key: 1 to 1,024 bytes of UTF-8, percent-encoded; it may hold slashes",
    "upload_id": "an upload, as it was answered",
    "key_id": "the id of an API key",
    "job_id": "a training job, as it was named when it was stored",
    "model_id": "a model, as it was answered: the id of the file",
    "filename": "a key of the default bucket, or `s3://bucket/key`; percent-encoded",
    "storage_id": "a store by its name",
    "store": "a store by its name: 1 to 63 of a-z, 0-9, '.', '-', '_'",
    "tenant": "a tenant: 1 to 63 of a-z, 0-9, '.', '-', '_'",
    "number": "a part's number, 1 to 10,000",
    "file_id": "a file, as an upload, a listing or a search told its `file_id` or `version_id`",
    "version_id": "a version of the same key",
    "execution_id": "an execution, as it was named when it was recorded",
    "artifact_id": "an artifact, as it was answered",
    "batch_id": "a batch: 1 to 64 of A-Z a-z 0-9 . _ -",
    "job": "a job, as its `id` was answered",
    "set_id": "the id of a backup, its first letters, or `latest`",
    "schedule": "a schedule: 1 to 63 of a-z, 0-9, '.', '-', '_'",
    "source": "the store that a move is out of",
}
_FORM: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "bucket": {
                    "type": "string",
                    "description": "before the file, or in the query; after the last file any field is refused",
                },
                "key": {
                    "type": "string",
                    "description": "before its file, or in the query. One that ends with `/` goes before the "
                    "names of all files; without any, a file's own name is its key",
                },
                "content_type": {"type": "string"},
                "metadata": {"type": "string", "description": "a JSON object of strings"},
                "tags": {
                    "type": "string",
                    "description": "`a=1&b=2`, `a=1,b=2`, or a JSON object of strings",
                },
                "sha256": {"type": "string", "description": "of the next file, hexadecimal; checked"},
                "file": {"type": "string", "format": "binary", "description": "once or many times"},
            },
            "required": ["file"],
        }
    }
}
_ARTIFACT: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "the file's own name when missing"},
                "artifact_id": {"type": "string"},
                "artifact_type": {"type": "string"},
                "retention_policy": {"type": "string", "enum": ["temporary", "permanent", "archived"]},
                "content_type": {"type": "string"},
                "compression": {"type": "string"},
                "encryption_key_ref": {"type": "string"},
                "metadata": {"type": "string", "description": "a JSON object of strings"},
                "checksum": {"type": "string", "description": "SHA-256 of the file, hexadecimal; checked"},
                "file": {"type": "string", "format": "binary", "description": "once, as the last part"},
            },
            "required": ["file"],
        }
    }
}


class Page:
    """Serves the description; made once, when it is first asked for."""

    def __init__(self) -> None:
        self.routes: Sequence[Route] = ()
        self._made: bytes | None = None

    async def show(self, exchange: Exchange) -> None:
        """Answer with the description."""
        if self._made is None:
            self._made = encode(document(self.routes))
        await exchange.answer_json(200, self._made)


def document(table: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the routes in `table`."""
    schemas = msgspec.json.schema_components(_models(table), ref_template=_REF)[1]
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        operations = paths.setdefault(route.path.replace("...}", "}"), {})
        operations[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": _version(),
            "summary": "Put, find, get and protect objects, whatever holds their bytes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "an API key, ID.SECRET, or a signed token (JWT)",
                }
            },
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457). `code` is for programs; the request id is in the log.",
                    "headers": {"x-request-id": {"schema": {"type": "string"}}},
                    "content": {
                        "application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}
                    },
                }
            },
        },
    }


def reference() -> str:
    """Return the document of all routes as text for the reference pages; needs no engine."""
    every = (
        *routes.OBJECTS,
        *routes.BUCKETS,
        *routes.UPLOADS,
        *routes.file_routes(FileDoor),
        *routes.batch_routes(FileDoor, BatchDoor),
        *routes.ACCESS,
        *routes.AUDIT,
        *routes.DECLARING,
        *routes.COST,
        *routes.MOVING,
        *routes.PLACING,
        *routes.RETENTION,
        *routes.SNAPSHOTS,
        *routes.ENCRYPTING,
        *routes.BACKUPS,
        *routes.FINDINGS,
        *routes.FOLLOWING,
        *routes.STORES,
        *routes.tus(Tus),
        *routes.service(HealthCheck, Scrape, Page, metrics_open=False),
        *routes.stats(StatsPage, Scrape, Cleanup),
        *routes.jobs(JobDoor),
        *routes.reconciliation(Reconciling),
        *routes.compat(Compat, Jobs),
        *routes.STORAGES,
        *routes.sharing(),
        *routes.executions(),
        *routes.pages(),
    )
    return msgspec.json.format(encode(document(every)), indent=2).decode() + "\n"


def _version() -> str:
    try:
        return version("holdfast")
    except PackageNotFoundError:
        return "0"


def _models(table: Sequence[Route]) -> list[Any]:
    found: list[Any] = [Problem]
    for route in table:
        for model in (route.body, *route.answers.values()):
            for one in getattr(model, "__args__", (model,)):
                if isinstance(one, type) and issubclass(one, msgspec.Struct) and one not in found:
                    found.append(one)
    return found


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": " ".join((route.handler.__doc__ or "").split()),
        "parameters": [*_path_params(route), *_params(route)],
        "responses": {str(status): _answer(status, kind) for status, kind in route.answers.items()},
    }
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    if route.open:
        operation["security"] = []
    if route.public:
        operation["security"] = [{"token": []}, {}]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    if route.path.endswith("/upload/stream"):
        operation["requestBody"]["content"] = {**_FORM, **_BYTES}
    if route.path.endswith("/artifacts") and "{" in route.path:
        operation["requestBody"]["content"] |= {**_ARTIFACT, **_BYTES}
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.replace("/api/v1", ""))
    age = ["legacy"] if route.path.startswith(("/upload", "/download")) else []
    last = [] if words and not route.path.endswith("/") else ["root"]
    return "_".join([route.method.lower(), *age, *words, *last])


def _path_params(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PIECES[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)", route.path)
    ]


def _params(route: Route) -> list[dict[str, Any]]:
    # OpenAPI wants Content-Type described by the body's media types, never as a parameter.
    return [
        {
            "name": param.name,
            "in": param.where,
            "required": param.required,
            "description": param.description,
            "schema": dict(param.schema),
        }
        for param in route.params
        if param.name != "Content-Type"
    ]


def _answer(status: int, kind: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if kind is not None:
        answer["content"] = _content(kind)
    return answer


def _content(kind: Any) -> dict[str, Any]:
    if kind == BINARY:
        return {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    if kind == FORM:
        return _FORM
    if kind == "events":
        return {"text/event-stream": {"schema": {"type": "string"}}}
    if kind == "text":
        return {"text/plain": {"schema": {"type": "string"}}}
    if kind == "html":
        return {"text/html": {"schema": {"type": "string"}}}
    if kind is dict:
        return {"application/json": {"schema": {"type": "object"}}}
    members = [{"$ref": _REF.format(name=one.__name__)} for one in getattr(kind, "__args__", (kind,))]
    return {"application/json": {"schema": members[0] if len(members) == 1 else {"anyOf": members}}}
