"""Artifacts of executions: which bucket takes which, for how long, and what they may be called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.lifecycle import LifecycleRule, Transition
from holdfast.core.names import BUCKET_PREFIX
from holdfast.core.types import BucketSettings, Quota

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_NAME_BYTES: Final = 255
_LABEL: Final = 255


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the default buckets. Sizes in bytes."""

    name: str
    retention_days: int
    max_object_size: int
    max_bytes: int
    versioning: bool = False
    archive_days: int | None = None  #: then they go to a store that is labelled `archive`, where there is one

    @property
    def settings(self) -> BucketSettings:
        """How such a bucket is made."""
        return BucketSettings(
            max_object_size=self.max_object_size,
            quota=Quota(max_bytes=self.max_bytes),
            retention_days=self.retention_days,
            lifecycle=() if self.archive_days is None else _archived(self.archive_days),
        )


def _archived(days: int) -> tuple[LifecycleRule, ...]:
    step = (Transition("label:archive", days=days),)
    return (LifecycleRule("archive", transitions=step, noncurrent_transitions=step),)


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("executions", 365, _GIB, 100 * _GIB),
        Kind("artifacts", 730, 5 * _GIB, 500 * _GIB, versioning=True),
        Kind("logs", 90, 100 * _MIB, 10 * _GIB),
        Kind("temp", 7, _GIB, 50 * _GIB),
        Kind("backups", 2555, 10 * _GIB, 1024 * _GIB, versioning=True, archive_days=1),
    )
}
#: What an artifact is said to be for; `permanent` is kept as long as the bucket of its type keeps things.
POLICIES: Final = ("temporary", "permanent", "archived")
_OF_POLICY: Final = {"temporary": "temp", "archived": "backups"}
_OF_TYPE: Final = {
    "execution": "executions",
    "executions": "executions",
    "output": "executions",
    "result": "executions",
    "stdout": "executions",
    "stderr": "executions",
    "log": "logs",
    "logs": "logs",
    "temp": "temp",
    "temporary": "temp",
    "backup": "backups",
    "backups": "backups",
}


@dataclass(frozen=True, slots=True)
class Naming:
    """How the default buckets are called: by a prefix, the one for artifacts perhaps by a name of its own."""

    prefix: str = BUCKET_PREFIX
    artifacts: str = ""

    def bucket(self, kind: str) -> str:
        """Return the bucket of a kind."""
        return self.artifacts if kind == "artifacts" and self.artifacts else f"{self.prefix}-{kind}"


def kind_for(artifact_type: str, policy: str) -> str:
    """Return the kind of bucket that takes an artifact: temporary and archived ones by policy, others by type."""
    return _OF_POLICY.get(policy) or _OF_TYPE.get(artifact_type.lower(), "artifacts")


def kind_of(bucket: str) -> str:
    """Return the kind that a bucket is of by its name, "" for any other bucket."""
    _, dash, last = bucket.rpartition("-")
    return last if dash and last in KINDS else ""


def check_id(text: str, what: str) -> str:
    """Return `text` when an execution or artifact may be called that: 1 to 128 of A-Z a-z 0-9 . _ : -"""
    if not _ID.fullmatch(text) or ".." in text:
        raise InvalidRequestError(
            f"{text[:80]!r} is no id of {what}: use 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':', '-', the first a letter or digit"
        )
    return text


def check_policy(policy: str) -> str:
    """Return `policy` when there is such a one."""
    if policy not in POLICIES:
        raise InvalidRequestError(f"retention_policy is one of {', '.join(POLICIES)}; not {policy[:40]!r}")
    return policy


def check_name(name: str) -> str:
    """Return the last piece of `name` when a file may be called that."""
    last = re.split(r"[/\\]", name)[-1].strip()
    if not last or last in (".", "..") or len(last.encode("utf-8", "replace")) > _NAME_BYTES:
        raise InvalidRequestError(f"an artifact's name has 1 to {_NAME_BYTES} bytes and is no path")
    return last


def check_label(name: str, text: str) -> str:
    """Return a short text that says something of an artifact."""
    if len(text) > _LABEL or not text.isprintable():
        raise InvalidRequestError(f"{name} has at most {_LABEL} printable characters")
    return text
