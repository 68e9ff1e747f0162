"""Documents about models, checkpoints, artifacts and datasets, kept in the metadata of the objects they describe.

So there is no second database that could disagree: who deletes the object has deleted the document, and an object that
came another way has one made of what is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from holdfast.api.describe import iso
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Version

Document = dict[str, Any]
_DOCUMENT: Final = "document"  #: the name of the metadata entry that holds the JSON
_LONGEST: Final = 50
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_ENDING: Final = re.compile(r"[A-Za-z0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document: where its objects lie, what its names are made of, and what lists show."""

    name: str
    bucket: str
    required: str  #: the member that it must have
    named_by: tuple[str, ...]  #: members that the key is made of
    ending: str
    shown: tuple[str, ...]
    order: str = "created_at"  #: lists show the largest first
    findable: tuple[str, ...] = ()  #: members that lists can be asked for


_COMMON: Final = ("job_name", "algorithm", "dataset_name")
MODEL: Final = Kind(
    "model",
    "models",
    "job_id",
    _COMMON,
    "pkl",
    ("job_id", "name", "algorithm", "metrics", "version", "status"),
    findable=("job_id",),
)
CHECKPOINT: Final = Kind(
    "checkpoint",
    "checkpoints",
    "job_id",
    (*_COMMON, "epoch"),
    "pkl",
    ("job_id", "epoch", "metrics", "model_state"),
    order="epoch",
    findable=("job_id",),
)
ARTIFACT: Final = Kind(
    "artifact",
    "artifacts",
    "job_id",
    (*_COMMON, "artifact_type"),
    "bin",
    ("job_id", "name", "artifact_type", "description", "content_type"),
    findable=("job_id", "artifact_type"),
)
DATASET: Final = Kind(
    "dataset",
    "datasets",
    "name",
    ("job_name", "name"),
    "csv",
    ("name", "format", "description", "num_rows", "num_columns", "columns"),
    findable=("name",),
)
KINDS: Final = (MODEL, CHECKPOINT, ARTIFACT, DATASET)
JOBS: Final = "jobs"
BUCKETS: Final = (*(kind.bucket for kind in KINDS), JOBS)


def parse(text: str) -> Document:
    """Return the JSON object in a form's field `metadata`."""
    try:
        found = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the field metadata is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequestError("the field metadata must be a JSON object")
    return found


def check(kind: Kind, document: Document, filename: str) -> Document:
    """Return the document complete; `InvalidRequestError` when what it needs is missing."""
    if kind is DATASET and not document.get("name"):
        document = {**document, "name": filename or "unnamed"}
    if not document.get(kind.required):
        raise InvalidRequestError(f"{kind.required} is required in metadata")
    return document


def key_of(kind: Kind, document: Document, filename: str, environment: Environment) -> str:
    """Return a key that tells what the object is, and that no other object has."""
    words = [
        _plain(document.get(name, "" if name == "job_name" and kind is DATASET else f"unknown_{name}"))
        for name in kind.named_by
    ]
    stamp = iso(environment.clock.now()).translate({ord(char): None for char in "-:TZ"})
    unique = environment.new_id().rpartition("-")[2]
    ending = str(document.get("extension") or filename.rpartition(".")[2])
    if ("." not in filename and not document.get("extension")) or not _ENDING.fullmatch(ending):
        ending = kind.ending
    return f"{kind.bucket}/{'_'.join(word for word in words if word)}_{stamp}_{unique}.{ending}"


def metadata_of(kind: Kind, document: Document) -> dict[str, str]:
    """Return the metadata that holds the document, and lets lists find it."""
    found = {name: str(document[name]) for name in kind.findable if isinstance(document.get(name), str | int)}
    return {**found, _DOCUMENT: msgspec.json.encode(document).decode()}


def document_of(kind: Kind, version: Version) -> Document:
    """Return the document of an object, with what the object itself tells."""
    ref, digests = version.ref, version.digests
    name = ref.key.rpartition("/")[2].rpartition(".")[0] or ref.key
    found: Document = {"name": name, "status": "ready", "version": "1.0", **_held(version.metadata)}
    if kind is DATASET:
        found.setdefault("format", ref.key.rpartition(".")[2] if "." in ref.key else "unknown")
    checksum = digests.md5 or digests.sha256
    return {
        **found,
        "_id": version.id,
        "file_id": version.id,
        "minio_path": path_of(version),
        "minio_bucket": ref.bucket,
        "minio_object": ref.key,
        "content_type": version.content_type,
        "size_bytes": version.size,
        "checksum": checksum.hex() if checksum else None,
        "created_at": iso(version.created),
    }


def shown(kind: Kind, document: Document) -> Document:
    """Return what lists show of a document."""
    always = ("_id", "file_id", "minio_path", "size_bytes", "checksum", "created_at")
    return {name: document.get(name) for name in (*always, *kind.shown)}


def path_of(version: Version) -> str:
    """Return the object's path as clients of an S3 server write it."""
    return f"s3://{version.ref.bucket}/{version.ref.key}"


def split_path(path: str) -> tuple[str, str] | None:
    """Return bucket and key of `s3://bucket/key`; None for what is no such path."""
    if not path.startswith("s3://"):
        return None
    bucket, slash, key = path.removeprefix("s3://").partition("/")
    if not bucket or not slash or not key:
        raise InvalidRequestError("a path looks like s3://bucket/key")
    return bucket, key


def rank(kind: Kind, document: Document, version: Version) -> tuple[float, int]:
    """Return by what lists are ordered, the largest first."""
    number = document.get(kind.order) if kind.order != "created_at" else 0
    return (float(number) if isinstance(number, int | float) else 0.0, version.created)


def _held(metadata: Mapping[str, str]) -> Document:
    try:
        found = msgspec.json.decode(metadata.get(_DOCUMENT, "{}"))
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: object) -> str:
    """Return text that is harmless in a key."""
    return _NOT_PLAIN.sub("_", str(value).strip()).strip("_")[:_LONGEST]


def text(value: object) -> str:
    """Return a member that is text; "" for any other."""
    return value if isinstance(value, str) else ""
