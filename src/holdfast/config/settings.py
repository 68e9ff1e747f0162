"""All settings, their defaults and what they mean. The reference page is generated from this file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from holdfast.config import legacy, secrets
from holdfast.config.artifacts import ArtifactSettings
from holdfast.config.backups import BackupConfig
from holdfast.config.exposure import CorsSettings, Networks, TlsSettings, Words, WordSet
from holdfast.config.issuers import AuthSettings
from holdfast.config.origins import Origins, check_variables, dotted, nearest
from holdfast.config.placement import PlacementSettings
from holdfast.config.units import Seconds, Size
from holdfast.core.backend import StoreState, check_labels
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.names import Layout, check_bucket, check_tenant
from holdfast.core.parsing import parse_toml

DEFAULT_FILE = "holdfast.toml"
DECLARED: Final = "apply"  #: the table for the catalog (`config.declared`): no setting of a process
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_FIELD: Final = re.compile(r'for field "(\w+)"')
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]


def _switch(value: object) -> object:
    """Return `true` and `false` of a variable as what they mean; a directory is called otherwise."""
    said = value.strip().lower() if isinstance(value, str) else ""
    return said == "true" if said in ("true", "false", "") and isinstance(value, str) else value


class StoreSettings(BaseModel):
    """One store under `[stores.NAME]`. Keys not listed here belong to the driver and are checked by it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: str = Field(
        description="what holds the bytes: local, s3, memory, or an installed third-party driver"
    )
    layout: Layout = Field(
        Layout.IMMUTABLE, description="how blob names look in the store: immutable or readable"
    )
    state: StoreState = Field(StoreState.ACTIVE, description="active, read-only, draining or down")
    labels: WordSet = Field(
        frozenset(),
        description="`internal` or `external` (reads prefer other copies); `hot`, `cold` or `archive`; free words",
    )
    region: str = Field("", description="where it is; for S3 also the region that requests are signed for")
    price: str = Field("", description="key of its prices in the price book; empty: its cost is unknown")
    max_in_flight: int | None = Field(
        None,
        ge=2,
        le=65536,
        description="operations and open streams on this store at a time, per process; none: 128 for s3 and naas,"
        " 32 for yandex_disk, else 1024",
    )
    attempts: int = Field(3, ge=1, le=10, description="tries of an operation that fails with a passing error")
    encrypt: bool = Field(
        False, description="encrypt whatever is written there before it leaves this process"
    )

    cache: Annotated[bool | Path, BeforeValidator(_switch)] = Field(
        False,
        description="keep what is read from it on disk: true (under `data`), or a directory; for stores that are far",
    )
    cache_bytes: Size = Field(1 << 30, ge=16 << 20, le=1 << 50, description="how much the cache holds")
    describe: Literal["auto", "always", "never"] = Field(
        "auto",
        description="whether each blob says what it is, so that a catalog can be rebuilt: auto (in metadata; where the"
        " store keeps none, in small records beside the blobs, but not on a local disk), always or never",
    )

    @property
    def in_flight(self) -> int:
        """`max_in_flight`, the default filled in: the S3 client loses speed where a disk does not; a person's drive is slower."""
        slower = {"azure": 128, "s3": 128, "naas": 128, "yandex_disk": 32}
        return self.max_in_flight or slower.get(self.driver, 1024)

    @property
    def driver_settings(self) -> dict[str, Any]:
        """The keys that belong to the driver; `region` too, for those that have such a setting."""
        region = {"region": self.region} if "region" in self.model_fields_set else {}
        return {**(self.model_extra or {}), **region}

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: frozenset[str]) -> frozenset[str]:
        try:
            return check_labels(labels)
        except InvalidRequestError as error:
            raise ValueError(error.message) from None


class LimitSettings(BaseModel):
    """Bounds of the service. Sizes take units (`100MB`), times too (`30s`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_object_size: Size | None = Field(
        None, description="largest object, in bytes; none: what the store takes"
    )
    max_connections: int = Field(4096, ge=1, description="open connections per process")
    max_connections_per_address: int = Field(
        1024, ge=1, description="open connections per client address and process"
    )
    max_requests: int = Field(1024, ge=1, description="requests in flight per process; more are answered 503")
    max_working: int = Field(
        128,
        ge=1,
        description="requests that the process works on, not counting those that wait for their client; more are"
        " answered 503",
    )
    header_timeout: Seconds = Field(10.0, gt=0, description="time to send the request line and headers")
    idle_timeout: Seconds = Field(15.0, gt=0, description="time a connection may wait between requests")
    body_window: Seconds = Field(30.0, gt=0, description="over this time a body must keep `body_rate`")
    body_rate: Size = Field(
        1024, ge=0, description="least bytes per second of a request body, and of an answer"
    )
    body_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description="time that a request body may take in all, once more for every 100 MiB of it",
    )
    write_timeout: Seconds = Field(
        60.0, gt=0, description="over this time a client must keep reading an answer at `body_rate`"
    )
    shutdown_delay: Seconds = Field(
        0.0,
        ge=0,
        description="time between being told to stop and taking no more connections; /health/ready says 503 from"
        " the start of it, so that a load balancer can look elsewhere",
    )
    shutdown_timeout: Seconds = Field(
        60.0, ge=0, description="time that requests in flight have to finish after a stop was asked for"
    )


class RateLimits(BaseModel):
    """The most per second; whatever is not set is not limited and costs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: float | None = Field(None, gt=0, description="requests per second")
    bytes_in: Size | None = Field(None, ge=1024, description="bytes of request bodies per second")
    bytes_out: Size | None = Field(None, ge=1024, description="bytes of answers per second")


class RateSettings(BaseModel):
    """Rate limits. Those of a key or tenant, where they are set, go before these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    principal: RateLimits = Field(
        default_factory=RateLimits, description="of each key, token or signed URL's signer"
    )
    tenant: RateLimits = Field(
        default_factory=RateLimits, description="of each tenant, all its principals together"
    )
    address: RateLimits = Field(
        default_factory=RateLimits, description="of each client address (IPv6: each /64)"
    )
    failures: float | None = Field(
        None, gt=0, description="failed authentications per second and client address"
    )
    burst: Seconds = Field(
        1.0, gt=0, le=3600, description="how much may come at once: so many seconds' worth of a limit"
    )


class Settings(BaseSettings):
    """Everything an operator can set. Variables are `HOLDFAST_` and the name; nested ones with `__` between."""

    model_config = SettingsConfigDict(
        env_prefix="HOLDFAST_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )
    file: ClassVar[Path | None] = None

    data: Path = Field(
        Path("holdfast-data"), description="directory of the embedded default: catalog and objects"
    )
    catalog: str = Field(
        "", description="catalog URL: sqlite:///path or postgresql://…; empty: SQLite under `data`"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8083, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="server processes on the port")
    dev: bool = Field(False, description="no token needed; refuses to listen on anything but loopback")
    tenant: str = Field("default", description="the tenant of the first token and of embedded use")
    secret: SecretStr = Field(
        SecretStr(""),
        description="what signed URLs, sessions and the audit are sealed with, 32 bytes or more, the same for all"
        " processes; empty: one that the first start made and the catalog keeps",
    )
    seal_keys: SecretStr = Field(
        SecretStr(""),
        description="keys that the secrets of stores in the catalog are sealed with, as ID:KEY (64 hexadecimal digits),"
        " parted by commas or spaces: the first seals, all open; empty: a key made of `secret`. They are also the root"
        " keys of encryption",
    )
    seal_keys_command: str = Field(
        "",
        description="command (no shell) that prints `seal_keys` instead, as a client of a key service does; run once at"
        " the start",
    )
    seal_keys_timeout: Seconds = Field(
        30.0, gt=0, le=600, description="time that `seal_keys_command` may take"
    )
    audit_reads: bool = Field(
        True, description="record every request in the audit; false: only changes and refusals"
    )
    log_level: LogLevel = Field("info", description="debug, info, warning or error")
    access_log: bool = Field(False, description="log every request, not only failed ones")
    auto_upgrade: bool = Field(True, description="bring the catalog's schema up to date at start")
    metrics_public: bool = Field(False, description="serve /metrics without a token")
    health_counts: bool = Field(
        False, description="show in /health without a token how many buckets and objects there are"
    )
    compat: bool = Field(
        True, description="serve the routes of older storage services: /upload, /download, models, jobs…"
    )
    default_bucket: str = Field(
        legacy.DEFAULT_BUCKET,
        description="bucket of uploads that name none; made at the start when it is set, else when first needed",
    )
    buckets: Words = Field((), description="buckets of the tenant that are made at the start")
    default_retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="retention of buckets that are made without their own; none: nothing is removed by age",
    )
    shared: Path | None = Field(
        None,
        description="directory where the server processes of one machine share their figures; none: a temporary one",
    )
    stores: dict[str, StoreSettings] = Field(
        default_factory=dict, description="named stores; without any, `local` under `data`"
    )
    placement: PlacementSettings = Field(default_factory=PlacementSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    rate: RateSettings = Field(default_factory=RateSettings)
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings)
    backup: BackupConfig = Field(default_factory=BackupConfig)
    public_url: str = Field(
        "",
        description="URL under which clients reach the service, for signed URLs; empty: as each request says",
    )
    redirect_signed: bool = Field(
        True,
        description="send readers with a signed URL on to the store, where it is labelled `external` and signs URLs",
    )
    docs: bool = Field(True, description="serve the page /docs, and browser sessions for it")
    session_lifetime: Seconds = Field(
        28800.0, ge=60, le=28800, description="how long a browser session lasts, at most 8 hours"
    )
    auth: AuthSettings = Field(default_factory=AuthSettings)
    trusted_proxies: Networks = Field(
        (), description="networks (CIDR) of proxies whose word about the client's address is taken"
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for",
        description="the header in which those proxies name the client; the other is ignored",
    )
    tls: TlsSettings = Field(default_factory=TlsSettings)
    cors: CorsSettings = Field(default_factory=CorsSettings)
    md5_limit: Size = Field(16 << 20, ge=0, description="bodies up to this size get an MD5 ETag")
    hot: Size = Field(
        32 << 20, ge=0, description="memory for small contents that were read lately, per process"
    )
    lease: Seconds = Field(900.0, ge=5, description="how long a write is protected without a sign of life")
    grace: Seconds = Field(
        86400.0, ge=0, description="how long replaced bytes stay for readers that hold them"
    )
    upload_lifetime: Seconds = Field(604800.0, ge=60, description="how long a multipart upload may stay open")
    idempotency_lifetime: Seconds = Field(
        86400.0, ge=60, description="how long an idempotency key is remembered"
    )
    sweep_interval: Seconds = Field(
        60.0, ge=0, description="time between sweeps; 0 turns them off in this process"
    )
    expire_interval: Seconds = Field(
        300.0,
        ge=0,
        description="time between removals of versions that are older than their bucket keeps them; 0: none here",
    )
    reconcile_interval: Seconds = Field(
        60.0,
        ge=0,
        description="time between tries to bring versions home that are not where they belong; 0: none here",
    )
    tenants_interval: Seconds = Field(
        60.0, ge=0, description="time between looks for deleted tenants whose grace is over; 0: none here"
    )
    jobs_at_once: int = Field(
        2, ge=0, le=64, description="parts of jobs that each process works on at the same time; 0: none here"
    )
    lifecycle_schedule: str = Field(
        "20 0 * * *",
        description="when lifecycle rules are followed, as a cron expression in UTC, until `holdfast schedule` says"
        " otherwise; empty: not by itself",
    )
    measure_interval: Seconds = Field(
        3600.0,
        ge=0,
        description="time between measurements of what each bucket holds in each store; 0: none here",
    )
    lag_limit: Seconds = Field(
        3600.0,
        ge=0,
        description="age of the oldest copy that is owed to a store from which on the service calls itself degraded;"
        " 0: however old",
    )
    failover_after: Seconds = Field(
        5.0,
        ge=0,
        description="a store that gives or takes nothing for so long is left for another one, where there is one; 0: never",
    )
    failover_rate: Size = Field(
        256 << 10, ge=0, description="bytes per second below which it is left for another one, too"
    )
    price_book: Path | None = Field(
        None,
        description="TOML file with prices of your own; its rows take the place of those that come with Holdfast",
    )

    @field_validator("tenant")
    @classmethod
    def _tenant(cls, name: str) -> str:
        return _checked(check_tenant, name)

    @field_validator("default_bucket")
    @classmethod
    def _bucket(cls, name: str) -> str:
        return _checked(check_bucket, name) if name else name

    @field_validator("buckets")
    @classmethod
    def _buckets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(check_bucket, name) for name in names)

    @field_validator("public_url")
    @classmethod
    def _url(cls, url: str) -> str:
        if url and not _URL.fullmatch(url):
            raise ValueError(
                "this is no URL to reach the service by; one looks like https://files.example.com"
            )
        return url

    @property
    def catalog_url(self) -> str:
        """The catalog's URL, the default filled in."""
        return self.catalog or f"sqlite:///{self.data.resolve() / 'catalog.db'}"

    @property
    def caches(self) -> Path:
        """Where the caches of stores are that name no directory."""
        return self.data.resolve() / "cache"

    @property
    def all_stores(self) -> dict[str, StoreSettings]:
        """The stores, the default filled in."""
        if self.stores:
            return self.stores
        return {
            "local": StoreSettings.model_validate(
                {"driver": "local", "path": str(self.data.resolve() / "objects"), "create": True}
            )
        }

    @property
    def placement_stores(self) -> tuple[str, ...]:
        """Where objects go: `placement.stores`, or the only store when the default does not exist."""
        stores = self.all_stores
        usual, wanted = PlacementSettings(), self.placement
        plain = wanted.stores == usual.stores and wanted.acknowledge == usual.acknowledge
        if plain and "local" not in stores and len(stores) == 1:
            return tuple(stores)
        return self.placement.stores

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags win over variables, those over the ones of older services, and all over the file."""
        return (
            init_settings,
            _VariableSource(settings_cls, env_settings),
            _LegacySource(settings_cls),
            _TomlSource(settings_cls),
        )


class _Source(PydanticBaseSettingsSource):
    """A source that is taken whole."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Unused: there is nothing to ask for one field."""
        return None, field_name, False


class _VariableSource(_Source):
    """`HOLDFAST_*` variables, with secrets read from the files that `…_FILE` names."""

    def __init__(self, settings_cls: type[BaseSettings], variables: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = variables

    def __call__(self) -> dict[str, Any]:
        """Return what the variables say."""
        found = {**secrets.from_variables(os.environ), **self._variables()}
        return secrets.resolve(found, "HOLDFAST_* variables: ")


class _LegacySource(_Source):
    """Variables of older storage services."""

    def __call__(self) -> dict[str, Any]:
        """Return what they say."""
        state, file = self.current_state, _file()
        stores = bool(state.get("stores")) or bool(file.get("stores"))
        placement = bool(state.get("placement")) or bool(file.get("placement"))
        return legacy.translate(os.environ, has_stores=stores, has_placement=placement).values


class _TomlSource(_Source):
    """The configuration file that `load` chose."""

    def __call__(self) -> dict[str, Any]:
        """Return what the file says."""
        own = {name: value for name, value in _file().items() if name != DECLARED}
        return secrets.resolve(own, "")


def _file() -> dict[str, Any]:
    return {} if Settings.file is None else read_toml(Settings.file)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; `ConfigError` with the line when it cannot be read."""
    try:
        return parse_toml(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"the configuration {path} is not valid TOML: {error}") from error


def load(config_file: Path | str | None = None, **flags: Any) -> Settings:
    """Return the settings: defaults, the file, variables of older services, `HOLDFAST_*`, then `flags` (None: not given).

    Without `config_file`, `holdfast.toml` in the current directory is read if it is there.

    Raises:
        ConfigError: naming every setting or variable that is unknown or wrong.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    check_variables(os.environ, Settings.model_fields)
    Settings.file = chosen_file(config_file)
    try:
        settings = Settings(**given)
        _check_copies(settings, origins(Settings.file, given))
        return settings
    except ValidationError as error:
        raise ConfigError(_explain(error, origins(Settings.file, given))) from None
    except SettingsError as error:
        raise ConfigError(_explain_variable(error)) from None
    except ValueError as error:
        raise ConfigError(f"a HOLDFAST_* variable cannot be read: {error}") from None
    finally:
        Settings.file = None


def chosen_file(config_file: Path | str | None) -> Path | None:
    """Return the configuration file to read: the one named, else `holdfast.toml` if it is there."""
    if config_file is not None:
        return Path(config_file)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def origins(file: Path | None, flags: Mapping[str, Any]) -> Origins:
    """Return where each setting comes from when that file and these flags are used."""
    in_file = {} if file is None else read_toml(file)
    stores = bool(in_file.get("stores")) or any(
        name.upper().startswith("HOLDFAST_STORES") for name in os.environ
    )
    placement = bool(in_file.get("placement")) or any(
        name.upper().startswith("HOLDFAST_PLACEMENT") for name in os.environ
    )
    translated = legacy.translate(os.environ, has_stores=stores, has_placement=placement)
    return Origins(frozenset(flags), os.environ, translated.origins, file, frozenset(dotted(in_file)))


def _checked(check: Callable[[str], str], name: str) -> str:
    try:
        return check(name)
    except InvalidRequestError as error:
        raise ValueError(error.message) from None


def _check_copies(settings: Settings, known: Origins) -> None:
    """Refuse to promise more copies than there are stores for."""
    stores = dict.fromkeys(settings.placement_stores)
    acknowledge = settings.placement.acknowledge
    if acknowledge != "all" and acknowledge > len(stores):
        raise ConfigError(
            f"{known.say('placement.acknowledge')}: {settings.placement.acknowledge} copies need as many stores, but"
            f" placement.stores names {len(stores)} ({', '.join(stores) or 'none'})"
        )


def _explain_variable(error: SettingsError) -> str:
    """Return what to do about a variable with a table that is no JSON; the library names only the setting."""
    named = _FIELD.search(str(error))
    start = f"HOLDFAST_{named[1].upper()}" if named else "HOLDFAST_"
    names = [name for name, value in os.environ.items() if value and name.upper().startswith(start)]
    return f'{", ".join(sorted(names)) or start}: this is no JSON, such as {{"name": "value"}} or ["a", "b"]'


def _explain(error: ValidationError, known: Origins) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {known.say(where)}{nearest(where, _siblings(where))}")
        else:
            lines.append(f"{known.say(where)}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _siblings(name: str) -> list[str]:
    """Return the settings that could have been meant by an unknown one."""
    head, dot, _ = name.partition(".")
    if not dot:
        return list(Settings.model_fields)
    field = Settings.model_fields.get(head)
    model = None if field is None else field.annotation
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return []
    return [f"{head}.{below}" for below in model.model_fields]
