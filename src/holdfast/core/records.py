"""What the catalog keeps beside objects: connections of stores, debts of placement, artifacts, use of stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from holdfast.core.backend import StoreState
from holdfast.core.names import Layout
from holdfast.core.types import EMPTY, ObjectRef

READ_TEST: Final = ":read"  #: ends `Connection.tested` where the test wrote nothing

DESCRIBE: Final = ("auto", "always", "never")  #: whether blobs say what they are
CACHE_BYTES: Final = 1 << 30  #: how much a cache holds when nothing is said


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
    encrypt: bool = False  #: whatever is written there is encrypted
    cache: bool = False  #: what is read from it is kept on the disk of each machine
    cache_bytes: int = CACHE_BYTES
    describe: str = "auto"  #: one of `DESCRIBE`

    @property
    def is_tested(self) -> bool:
        """Whether what it is now has been tested; a test that only read is good as long as it is only read."""
        read_only = self.state is StoreState.READ_ONLY and self.tested == f"{self.fingerprint}{READ_TEST}"
        return bool(self.fingerprint) and (self.tested == self.fingerprint or read_only)

    @property
    def serves(self) -> bool:
        """Whether it may take new objects, as far as its state allows."""
        return self.active and self.is_tested


@dataclass(frozen=True, slots=True)
class KeptRules:
    """Placement rules as the catalog holds them: (name, JSON) in their order; `generation` counts their changes."""

    rules: tuple[tuple[str, str], ...] = ()
    generation: int = 0


@dataclass(frozen=True, slots=True)
class KeptMove:
    """A move as the catalog holds it: `source` is replaced by `target` in every plan, as far as `phase` says."""

    source: str
    target: str
    phase: str
    created: int = 0
    updated: int = 0
    finish_at: int | None = None  #: during cutover: when the source may be let go of


@dataclass(frozen=True, slots=True)
class StoreHolds:
    """What a store holds by the rows of the catalog; each count stops at 100,000."""

    live: int = 0  #: copies that may be read
    bytes: int = 0  #: of those
    pending: int = 0  #: being written
    doomed: int = 0  #: waiting for the sweep
    until: int | None = None  #: when the last of the doomed may be deleted


class Fragment(NamedTuple):
    """What a store has of a version of which it has no whole and sound copy: blobs, and how many of them are sound."""

    store: str
    blobs: int
    bytes: int
    sound: int
    sound_bytes: int


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version as placement sees it: what rules ask about, and the copies of it that can be read."""

    ref: ObjectRef
    version_id: str
    size: int
    content_type: str
    storage_class: str
    tags: Mapping[str, str]
    inline: int | None  #: the threshold of its bucket, else of its tenant
    encrypted: bool  #: its bucket wants stores that encrypt
    parts: int  #: blobs that a whole copy has
    stores: tuple[str, ...]  #: with a whole and sound copy, by name
    broken: tuple[Fragment, ...] = ()  #: with only a part of one, or with one that failed a read
    sealed: tuple[str, ...] = ()  #: those of `stores` whose copy is encrypted, every blob of it
    tier: str = ""  #: where it belongs instead of where its rule says; "": as the rule says
    created: int = 0  #: when it was committed


@dataclass(frozen=True, slots=True)
class HeldPage:
    """Some versions of all tenants; `after` is where the next ones begin, None: these were the last."""

    versions: Sequence[HeldVersion]
    after: tuple[int, str, int] | None


@dataclass(frozen=True, slots=True)
class Debt:
    """A version that is not where its plan wants it, and is to be brought there by `reconcile`."""

    version_id: str
    ref: ObjectRef
    rule: str
    reason: str  #: `down`: it was accepted on a fallback store; `copies`: with fewer copies than are wanted
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of a bucket that has a name; what was current then stays until it is deleted."""

    tenant: str
    bucket: str
    name: str
    at: int  #: the moment, microseconds
    created: int
    principal: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """That bytes given up since `at` stay until `until`: somebody copies that moment. `secret` goes with the pin."""

    id: str
    at: int
    until: int
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands where a version of a backup would be put back. `head` is the newest version of the key, "": none."""

    versioning: bool
    head: str = ""
    head_seq: int = 0
    head_created: int = 0
    here: bool = False  #: the version itself is there
    elsewhere: bool = False  #: a version of its id is there, of another key
    taken: bool = False  #: another version has its place in the history


class TenantKeyState(StrEnum):
    """What a generation of a tenant's key is for."""

    ACTIVE = "active"  #: wraps and opens
    RETIRED = "retired"  #: opens only
    DESTROYED = "destroyed"  #: nothing: only its number is left


@dataclass(frozen=True, slots=True)
class TenantKey:
    """A generation of a tenant's key, wrapped by a root key."""

    tenant: str
    generation: int
    root_key_id: str
    wrapped: bytes = field(repr=False)
    created: int
    state: TenantKeyState = TenantKeyState.ACTIVE


@dataclass(frozen=True, slots=True)
class KeptKey:
    """The key of an encrypted blob, wrapped by a generation of the key of its tenant."""

    store: str
    blob: str
    tenant: str
    generation: int
    format: int
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwedGroup:
    """Versions that owe alike: by the same rule and tier, with whole copies in the same stores, `broken` ones in others.

    `since` is the time of the oldest debt, microseconds.
    """

    rule: str
    tier: str
    whole: frozenset[str]
    broken: frozenset[str]
    versions: int
    bytes: int
    since: int
