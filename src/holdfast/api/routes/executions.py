"""Executions and their artifacts."""

from __future__ import annotations

from holdfast.api.execution_models import (
    ArtifactContent,
    ArtifactDownload,
    ArtifactInfo,
    ExecutionChange,
    ExecutionDone,
    ExecutionInfo,
    Executions,
    NewExecution,
)
from holdfast.api.executions import ExecutionDoor
from holdfast.api.routes.params import BINARY, RANGE, WHOLE
from holdfast.api.routing import Param, Route

_RUNS = "/api/v1/executions"
_RUN = _RUNS + "/{execution_id}"
_ARTIFACTS = _RUN + "/artifacts"
_ARTIFACT = _ARTIFACTS + "/{artifact_id}"
_PAGE = (
    Param("limit", "so many at most; more than 1,000 counts as 1,000", {**WHOLE, "default": 100}),
    Param("cursor", "`next_cursor` of the page before"),
)
_BYTES = (
    Param("name", "of an artifact that comes as bytes: its file name"),
    Param("artifact_id", "of bytes: its id; one is made up when missing"),
    Param("artifact_type", "of bytes: as `output`, `log`, `backup`, or any short word"),
    Param("retention_policy", "of bytes: temporary, permanent or archived"),
    Param("compression", "of bytes: how they are compressed, for whoever reads them"),
    Param("encryption_key_ref", "of bytes: which key they are encrypted with, for whoever reads them"),
)
_REDIRECT = Param(
    "redirect",
    "`true`: the URL as the answer's Location",
    {"type": "string", "enum": ["true", "false"]},
)


def executions(door: ExecutionDoor | type[ExecutionDoor] = ExecutionDoor) -> tuple[Route, ...]:
    """Return the routes of runs and artifacts; the class itself serves to describe them."""
    return (*_executions(door), *_artifacts(door))


def _executions(door: ExecutionDoor | type[ExecutionDoor]) -> tuple[Route, ...]:
    return (
        Route("GET", _RUNS, door.list, "List executions", _PAGE, answers={200: Executions}),
        Route("POST", _RUNS, door.create, "Record an execution", (), NewExecution, {201: ExecutionInfo}),
        Route("GET", _RUN, door.show, "Show an execution with its artifacts", answers={200: ExecutionInfo}),
        Route("PATCH", _RUN, door.change, "Change an execution", (), ExecutionChange, {200: ExecutionInfo}),
        Route("DELETE", _RUN, door.remove, "Remove an execution", answers={200: ExecutionDone}),
    )


def _artifacts(door: ExecutionDoor | type[ExecutionDoor]) -> tuple[Route, ...]:
    return (
        Route(
            "POST", _ARTIFACTS, door.add, "Store an artifact", _BYTES, ArtifactContent, {201: ArtifactInfo}
        ),
        Route("GET", _ARTIFACT, door.show_artifact, "Show an artifact", answers={200: ArtifactInfo}),
        Route("DELETE", _ARTIFACT, door.remove_artifact, "Remove an artifact", answers={204: None}),
        Route(
            "GET",
            _ARTIFACT + "/download",
            door.download,
            "Get an artifact, or a URL to get it from",
            (_REDIRECT, RANGE),
            answers={200: ArtifactDownload, 206: BINARY, 302: None},
        ),
        Route(
            "GET",
            _ARTIFACT + "/stream",
            door.stream,
            "Read an artifact",
            (RANGE,),
            answers={200: BINARY, 206: BINARY, 304: None},
        ),
    )
