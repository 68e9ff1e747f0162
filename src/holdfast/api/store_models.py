"""The JSON of stores. Secret settings come in and never go out: `***` stands for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.core.records import CACHE_BYTES
from holdfast.engine.connections import Rewrapped
from holdfast.engine.known_stores import KnownStore
from holdfast.engine.stores import DriverField
from holdfast.engine.trying import Trial

StoreName = Annotated[str, Meta(min_length=1, max_length=63)]
State = Literal["active", "read-only", "draining", "down"]
LayoutName = Literal["immutable", "readable"]
Word = Annotated[str, Meta(max_length=100)]
Labels = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=63)]],
    Meta(
        max_length=32,
        description="`internal` or `external`; `hot`, `cold` or `archive`; free words",
    ),
]
DriverSettings = Annotated[
    dict[str, Any],
    Meta(description="settings of the driver, secret ones too; see `GET /api/v1/storage-options`"),
]
Attempts = Annotated[int, Meta(ge=1, le=10)]
CacheBytes = Annotated[int, Meta(ge=16 << 20, le=1 << 50)]
Describe = Literal["auto", "always", "never"]
InFlight = Annotated[int, Meta(ge=2, le=65536)]


class NewStore(Struct, frozen=True, forbid_unknown_fields=True):
    """A store to be made. It takes new objects when it is `active` and its test went well; `test` tests it now."""

    name: StoreName
    driver: Word
    settings: DriverSettings = {}
    layout: LayoutName = "immutable"
    state: State = "active"
    labels: Labels = []
    region: Word = ""
    price: Word = ""
    attempts: Attempts = 3
    max_in_flight: InFlight | None = None
    encrypt: bool = False
    cache: bool = False
    cache_bytes: CacheBytes = CACHE_BYTES
    describe: Describe = "auto"
    active: bool = False
    test: bool = False


class StoreChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a store; what is missing stays. A setting of null goes."""

    driver: Word | UnsetType = UNSET
    settings: DriverSettings | UnsetType = UNSET
    layout: LayoutName | UnsetType = UNSET
    state: State | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET
    region: Word | UnsetType = UNSET
    price: Word | UnsetType = UNSET
    attempts: Attempts | UnsetType = UNSET
    max_in_flight: InFlight | UnsetType | None = UNSET
    encrypt: bool | UnsetType = UNSET
    cache: bool | UnsetType = UNSET
    cache_bytes: CacheBytes | UnsetType = UNSET
    describe: Describe | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class StateChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What a store may do from now on."""

    state: State


class TrialInfo(Struct, frozen=True):
    """What came of a test; `trouble` is null when all went well."""

    ok: bool
    trouble: str | None
    wrote: bool
    seconds: float


class StoreInfo(Struct, frozen=True, kw_only=True):
    """A store. `takes` says whether it takes new objects, `reason` why it does not.

    `origin` is `catalog`, or `file` for one that cannot be changed here; one that is `hidden` is not used by this service,
    which has one of that name in its file. `breaker` is closed, half-open or open, as one server process sees it.
    """

    name: str
    driver: str
    settings: dict[str, Any]
    secrets: list[str]
    layout: str
    state: str
    labels: list[str]
    region: str
    price: str
    attempts: int
    max_in_flight: int | None
    encrypt: bool
    cache: bool
    cache_bytes: int
    describe: str
    active: bool
    tested: bool
    tested_at: str | None
    trouble: str | None
    takes: bool
    reason: str | None
    origin: str
    hidden: bool
    breaker: str | None
    key: str | None
    created: str | None
    updated: str | None
    test: TrialInfo | UnsetType = UNSET


class StoreList(Struct, frozen=True):
    """All stores: those of the file of the service first."""

    stores: list[StoreInfo]


class RewrapInfo(Struct, frozen=True):
    """What became of the secrets of one store."""

    store: str
    key: str
    changed: bool
    trouble: str | None


class RewrapList(Struct, frozen=True):
    """What became of the secrets of all stores that have any."""

    stores: list[RewrapInfo]


class SettingInfo(Struct, frozen=True):
    """One setting of a driver."""

    name: str
    kind: str
    required: bool
    secret: bool
    description: str
    default: str | float | bool | None


class DriverInfo(Struct, frozen=True):
    """One kind of storage."""

    driver: str
    settings: list[SettingInfo]


class StoreOptions(Struct, frozen=True):
    """What stores can be made of."""

    drivers: list[DriverInfo]
    labels: list[list[str]]
    states: list[str]
    layouts: list[str]


def store_info(known: KnownStore, trial: Trial | None = None) -> StoreInfo:
    """Return what there is to say of a store."""
    held, refusal = known.connection, known.refusal
    return StoreInfo(
        name=held.name,
        driver=held.driver,
        settings=known.settings,
        secrets=list(known.secrets),
        layout=held.layout.value,
        state=held.state.value,
        labels=list(held.labels),
        region=held.region,
        price=held.price,
        attempts=held.attempts,
        max_in_flight=held.max_in_flight,
        encrypt=held.encrypt,
        cache=held.cache,
        cache_bytes=held.cache_bytes,
        describe=held.describe,
        active=held.active,
        tested=held.is_tested,
        tested_at=None if held.tested_at is None else iso(held.tested_at),
        trouble=held.trouble or None,
        takes=not refusal,
        reason=refusal or None,
        origin=known.origin,
        hidden=known.hidden,
        breaker=known.breaker or None,
        key=known.key_id or None,
        created=iso(held.created) if held.created else None,
        updated=iso(held.updated) if held.updated else None,
        test=UNSET if trial is None else trial_info(trial),
    )


def trial_info(trial: Trial) -> TrialInfo:
    """Return what came of a test."""
    return TrialInfo(trial.well, trial.trouble or None, trial.wrote, round(trial.seconds, 3))


def rewrap_info(done: Rewrapped) -> RewrapInfo:
    """Return what became of one store's secrets."""
    return RewrapInfo(done.store, done.key_id, done.changed, done.trouble or None)


def setting_info(field: DriverField) -> SettingInfo:
    """Return what there is to say of one setting."""
    default = field.default
    return SettingInfo(
        field.name,
        field.kind,
        field.required,
        field.secret,
        field.description,
        default if isinstance(default, str | int | float) else None,
    )
