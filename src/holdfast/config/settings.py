"""All settings, their defaults and what they mean. The reference page is generated from this file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from holdfast.config.units import Seconds, Size
from holdfast.core.backend import StoreState
from holdfast.core.errors import ConfigError
from holdfast.core.names import Layout

DEFAULT_FILE = "holdfast.toml"


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
    labels: frozenset[str] = Field(
        frozenset(), description="free words; `external` makes reads prefer other copies"
    )
    max_in_flight: int | None = Field(
        None,
        ge=2,
        le=65536,
        description="operations and open streams on this store at a time, per process; none: 128 for s3, else 1024",
    )
    attempts: int = Field(3, ge=1, le=10, description="tries of an operation that fails with a passing error")

    @property
    def in_flight(self) -> int:
        """`max_in_flight`, the default filled in: the S3 client loses speed where a disk does not."""
        return self.max_in_flight or (128 if self.driver == "s3" else 1024)

    @property
    def driver_settings(self) -> dict[str, Any]:
        """The keys that belong to the driver."""
        return dict(self.model_extra or {})


class PlacementSettings(BaseModel):
    """Where objects go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stores: tuple[str, ...] = Field(
        ("local",), description="the stores that hold a copy of every object, best first"
    )
    acknowledge: int = Field(1, ge=1, description="copies that must be durable before a writer is answered")


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
    header_timeout: Seconds = Field(10.0, gt=0, description="time to send the request line and headers")
    idle_timeout: Seconds = Field(15.0, gt=0, description="time a connection may wait between requests")
    body_window: Seconds = Field(30.0, gt=0, description="over this time a body must keep `body_rate`")
    body_rate: Size = Field(1024, ge=0, description="least bytes per second of a request body")
    write_timeout: Seconds = Field(
        60.0, gt=0, description="time a client may take without reading anything of an answer"
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
    log_level: str = Field("info", description="debug, info, warning or error")
    access_log: bool = Field(False, description="log every request, not only failed ones")
    auto_upgrade: bool = Field(True, description="bring the catalog's schema up to date at start")
    metrics_public: bool = Field(False, description="serve /metrics without a token")
    stores: dict[str, StoreSettings] = Field(
        default_factory=dict, description="named stores; without any, `local` under `data`"
    )
    placement: PlacementSettings = Field(default_factory=PlacementSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
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

    @property
    def catalog_url(self) -> str:
        """The catalog's URL, the default filled in."""
        return self.catalog or f"sqlite:///{self.data.resolve() / 'catalog.db'}"

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
        if self.placement == PlacementSettings() and "local" not in stores and len(stores) == 1:
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
        """Flags win over variables, variables over the file."""
        return init_settings, env_settings, _TomlSource(settings_cls)


class _TomlSource(PydanticBaseSettingsSource):
    """The configuration file that `load` chose."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the file is taken whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the file says."""
        return {} if Settings.file is None else read_toml(Settings.file)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; `ConfigError` with the line when it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {path} is not valid TOML: {error}") from error


def load(config_file: Path | str | None = None, **flags: Any) -> Settings:
    """Return the settings: defaults, then the file, then `HOLDFAST_*` variables, then `flags` (None: not given).

    Without `config_file`, `holdfast.toml` in the current directory is read if it is there.

    Raises:
        ConfigError: naming every setting that is unknown or wrong.
    """
    chosen = Path(config_file) if config_file is not None else Path(DEFAULT_FILE)
    given = {name: value for name, value in flags.items() if value is not None}
    Settings.file = chosen if config_file is not None or chosen.is_file() else None
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except ValueError as error:
        raise ConfigError(f"a HOLDFAST_* variable cannot be read: {error}") from None
    finally:
        Settings.file = None


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"]) or "settings"
        lines.append(
            "unknown setting " + where
            if problem["type"] == "extra_forbidden"
            else f"{where}: {problem['msg']}"
        )
    return "; ".join(lines)
