"""The JSON of executions and artifacts."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.core.records import Artifact, Execution

Id = Annotated[str, Meta(max_length=128, description="1 to 128 of A-Z a-z 0-9 . _ : -; made up when missing")]
Text = Annotated[str, Meta(max_length=1024)]
Short = Annotated[str, Meta(max_length=255)]
Policy = Literal["temporary", "permanent", "archived"]
Lifetime = Annotated[int | str, Meta(description="seconds, or text such as `90d`")]


class NewExecution(Struct, frozen=True, forbid_unknown_fields=True):
    """A run to be recorded."""

    execution_id: Id | None = None
    name: Short = ""
    status: Annotated[str, Meta(max_length=50)] = "running"
    metadata: dict[str, str] = {}


class ExecutionChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a run; what is missing stays."""

    name: Short | UnsetType = UNSET
    status: Annotated[str, Meta(max_length=50)] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET


class ArtifactContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An artifact with a small content, or a file that lies below one of the roots (`file_path`, for operators)."""

    name: Text
    artifact_id: Id | None = None
    artifact_type: Short = "artifact"
    retention_policy: Policy | None = None
    content_type: Short | None = None
    compression: Short = ""
    encryption_key_ref: Short = ""
    metadata: dict[str, str] = {}
    checksum: Annotated[str, Meta(max_length=64, description="SHA-256, hexadecimal; checked")] | None = None
    content: str | None = None
    encoding: Literal["utf-8", "base64"] = "utf-8"
    file_path: Annotated[str, Meta(max_length=4096)] | None = None
    expires_in: Lifetime | None = None


class ArtifactInfo(Struct, frozen=True, kw_only=True):
    """An artifact. `storage_type` and `expires_at` are those of its content now; `storage_url` needs a token."""

    artifact_id: str
    execution_id: str
    name: str
    artifact_type: str
    storage_type: str
    file_path: str | None
    object_key: str | None
    bucket_name: str | None
    version_id: str | None
    storage_url: str
    content_type: str
    size: int
    checksum: str | None
    compression: str | None
    encryption_key_ref: str | None
    retention_policy: str
    expires_at: str | None
    access_count: int
    last_accessed_at: str | None
    metadata: dict[str, str]
    created_at: str


class ExecutionInfo(Struct, frozen=True, kw_only=True):
    """A run; `artifacts` where one run was asked for."""

    execution_id: str
    name: str
    status: str
    metadata: dict[str, str]
    created_at: str
    updated_at: str
    artifacts: list[ArtifactInfo] | UnsetType = UNSET


class Executions(Struct, frozen=True):
    """A page of runs, the newest first; `next_cursor` is the `cursor` of the next, "" when there is none."""

    executions: list[ExecutionInfo]
    next_cursor: str


class ArtifactDownload(Struct, frozen=True, kw_only=True):
    """How to get an artifact: a signed URL to fetch it from, or the content itself where it lies in the database."""

    artifact_id: str
    storage_type: str
    filename: str
    content_type: str
    size: int
    checksum: str | None
    download_url: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    encoding: str | UnsetType = UNSET


class ExecutionDone(Struct, frozen=True):
    """That a run was removed, with so many artifacts."""

    message: str
    execution_id: str
    artifacts: int
    success: bool = True


def execution_info(execution: Execution, artifacts: list[ArtifactInfo] | UnsetType = UNSET) -> ExecutionInfo:
    """Return a run as it travels."""
    return ExecutionInfo(
        execution_id=execution.id,
        name=execution.name,
        status=execution.status,
        metadata=dict(execution.metadata),
        created_at=iso(execution.created),
        updated_at=iso(execution.updated),
        artifacts=artifacts,
    )


def artifact_info(artifact: Artifact, url: str) -> ArtifactInfo:
    """Return an artifact as it travels; `url` is where it is read with a token."""
    return ArtifactInfo(
        artifact_id=artifact.id,
        execution_id=artifact.execution_id,
        name=artifact.name,
        artifact_type=artifact.artifact_type,
        storage_type=artifact.storage_type,
        file_path=artifact.file_path or None,
        object_key=artifact.key or None,
        bucket_name=artifact.bucket or None,
        version_id=artifact.version_id or None,
        storage_url=url,
        content_type=artifact.content_type,
        size=artifact.size,
        checksum=artifact.checksum or None,
        compression=artifact.compression or None,
        encryption_key_ref=artifact.encryption_key_ref or None,
        retention_policy=artifact.retention_policy,
        expires_at=None if artifact.expires is None else iso(artifact.expires),
        access_count=artifact.access_count,
        last_accessed_at=None if artifact.last_access is None else iso(artifact.last_access),
        metadata=dict(artifact.metadata),
        created_at=iso(artifact.created),
    )
