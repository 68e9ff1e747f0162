"""What the catalog keeps beside objects: connections of stores, debts of placement, artifacts, use of stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.backend import StoreState
from holdfast.core.names import Layout
from holdfast.core.types import EMPTY, ObjectRef


@dataclass(frozen=True, slots=True)
class Connection:
    """A store as the catalog holds it. It serves when it is `active` and what it is now has been tested.

    `settings` are those of its driver without the secret ones, which are in `sealed` (see `engine.sealing`).
    `fingerprint` stands for driver, settings and secrets; changing one of them changes it.
    """

    name: str
    driver: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sealed: bytes = b""
    layout: Layout = Layout.IMMUTABLE
    state: StoreState = StoreState.ACTIVE
    labels: tuple[str, ...] = ()
    region: str = ""
    price: str = ""
    attempts: int = 3
    max_in_flight: int | None = None
    active: bool = False  #: an operator said that it shall serve
    fingerprint: str = ""
    tested: str = ""  #: the fingerprint that the last good test was of
    tested_at: int | None = None
    trouble: str = ""  #: what the last test found wrong
    created: int = 0
    updated: int = 0

    @property
    def serves(self) -> bool:
        """Whether it is opened."""
        return self.active and self.tested == self.fingerprint


@dataclass(frozen=True, slots=True)
class Debt:
    """A version that is not where its plan wants it, and is to be brought there by `reconcile`."""

    version_id: str
    ref: ObjectRef
    rule: str
    reason: str  #: `down`: it was accepted on a fallback store
    since: int
    tries: int = 0
    not_before: int = 0
    trouble: str = ""  #: why the last try failed


@dataclass(frozen=True, slots=True)
class StoreUse:
    """What one bucket holds in one store, when it was measured: all blobs there, also those about to be deleted."""

    store: str
    tenant: str
    bucket: str
    blobs: int
    bytes: int
    measured: int


@dataclass(frozen=True, slots=True)
class Execution:
    """A run of something that leaves artifacts."""

    id: str
    tenant: str
    name: str = ""
    status: str = "completed"
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    created: int = 0
    updated: int = 0


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a run left: an object (`bucket`, `key`, `version_id`), or a file from before that is read in place.

    `storage_type` is `database` (inline), `object_storage` or `filesystem`, as it was when it was made.
    """

    id: str
    tenant: str
    execution_id: str
    name: str
    artifact_type: str = "output"
    storage_type: str = "object_storage"
    file_path: str = ""
    bucket: str = ""
    key: str = ""
    version_id: str = ""
    content_type: str = "application/octet-stream"
    size: int = 0
    checksum: str = ""  #: SHA-256, hexadecimal
    compression: str = ""
    encryption_key_ref: str = ""
    retention_policy: str = "permanent"  #: temporary, permanent or archived
    expires: int | None = None
    access_count: int = 0
    last_access: int | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    created: int = 0
