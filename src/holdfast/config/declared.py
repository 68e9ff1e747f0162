"""What a file wants of the catalog: the table `[apply]`, which `holdfast plan` and `holdfast apply` read.

    [apply.tenants.acme]
    max_bytes = "100GB"

    [apply.buckets.photos]
    tenant = "acme"
    retention_days = 90

    [apply.stores.cold]
    driver = "s3"
    bucket = "archive"
    secret_key_file = "/run/secrets/cold"

    [[apply.rules]]
    name = "archives"
    stores = ["cold"]
    match.keys = ["*.zip"]

It stands apart from the settings of a process, which never reads it: `[stores]` and `[placement]` hold for the process
whose file they are in, what is applied holds for all that share the catalog.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from holdfast.config import secrets
from holdfast.config.settings import DECLARED, read_toml
from holdfast.config.units import Size, parse_size
from holdfast.core.backend import StoreState
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.names import Layout, check_bucket, check_tenant

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _limit(value: object) -> object:
    return None if value == "none" else parse_size(value)


def _none(value: object) -> object:
    return None if value == "none" else value


Limit = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_limit)]
Pace = Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_none)]
Days = Annotated[Annotated[int, Field(ge=1, le=36_500)] | None, BeforeValidator(_none)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @property
    def members(self) -> dict[str, Any]:
        """What the file says, and nothing else."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"tenant", "name"})


class DeclaredTenant(_Table):
    """`[apply.tenants.NAME]`. What is not named stays as it is; `"none"` takes a limit away."""

    state: Literal["active", "suspended"] = "active"
    max_bytes: Limit = None
    max_objects: Limit = None
    ip_allow: list[str] = []
    ip_deny: list[str] = []
    requests: Pace = None
    bytes_in: Limit = None
    bytes_out: Limit = None
    inline: Limit = None
    categories: list[str] = []
    subfolders: list[str] = []


class DeclaredBucket(_Table):
    """`[apply.buckets.NAME]`; `name` where another tenant has a bucket of that name too."""

    tenant: str = ""
    name: str = ""
    versioning: bool = False
    visibility: Literal["private", "public"] = "private"
    allowed_types: list[str] = []
    max_object_size: Limit = None
    max_bytes: Limit = None
    max_objects: Limit = None
    retention_days: Days = None
    encryption: Literal["none", "store"] = "none"
    ip_allow: list[str] = []
    ip_deny: list[str] = []
    inline: Limit = None
    lifecycle: list[dict[str, Any]] = []  #: members of `policy.lifecycle_form`, which checks them
    default_lock: dict[str, Any] | Literal["none"] | None = None  #: `mode` and `days`


class DeclaredStore(_Table):
    """`[apply.stores.NAME]`. Keys that are not listed here belong to the driver and are checked by it."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    driver: str
    layout: Layout = Layout.IMMUTABLE
    state: StoreState = StoreState.ACTIVE
    labels: list[str] = []
    region: str = ""  #: where it is; for S3 also the region that requests are signed for
    price: str = ""
    attempts: int = Field(3, ge=1, le=10)
    max_in_flight: int | None = Field(None, ge=2, le=65536)
    encrypt: bool = False
    cache: bool = False
    cache_bytes: Size = Field(1 << 30, ge=16 << 20, le=1 << 50)
    describe: Literal["auto", "always", "never"] = "auto"
    active: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that belong to the driver, secrets among them."""
        return dict(self.model_extra or {})

    @property
    def members(self) -> dict[str, Any]:
        """What the file says beside the keys of the driver."""
        said = self.model_dump(mode="json", exclude_unset=True, exclude=set(self.settings))
        return {"active": self.active, **said}


class Declared(_Table):
    """Everything that a file wants of the catalog."""

    tenants: dict[str, DeclaredTenant] = {}
    buckets: dict[str, DeclaredBucket] = {}
    stores: dict[str, DeclaredStore] = {}
    rules: list[dict[str, Any]] = []  #: members of `policy.rule_form`, which checks them

    @field_validator("tenants")
    @classmethod
    def _tenants(cls, found: dict[str, DeclaredTenant]) -> dict[str, DeclaredTenant]:
        for name in found:
            _checked(check_tenant, name)
        return found

    @field_validator("buckets")
    @classmethod
    def _buckets(cls, found: dict[str, DeclaredBucket]) -> dict[str, DeclaredBucket]:
        for label, bucket in found.items():
            _checked(check_bucket, bucket.name or label)
            if bucket.tenant:
                _checked(check_tenant, bucket.tenant)
        return found


def read_declared(path: Path) -> Declared:
    """Return what the file wants of the catalog; secrets are read from their files, `${NAME}` from variables.

    Raises:
        ConfigError: naming each key that is unknown or wrong, and each variable or file that is missing.
    """
    table = read_toml(path).get(DECLARED)
    if table is None:
        raise ConfigError(
            f"{path} has no [{DECLARED}.…] table: tenants, buckets, stores and rules for the catalog are described there"
        )
    if not isinstance(table, Mapping):
        raise ConfigError(f"{DECLARED} in {path} must be a table, such as [{DECLARED}.buckets.photos]")
    return declared_of(secrets.resolve(_filled(table, DECLARED), f"{DECLARED}."))


def declared_of(table: Mapping[str, Any]) -> Declared:
    """Return what a table means, as it is: neither files nor variables are read for it.

    Raises:
        ConfigError: naming each key that is unknown or wrong.
    """
    try:
        return Declared.model_validate(dict(table))
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def _filled(value: Any, where: str) -> Any:
    """Return `value` with every `${NAME}` in its texts replaced by the variable."""
    if isinstance(value, Mapping):
        return {name: _filled(inner, f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, where) for inner in value]
    if not isinstance(value, str):
        return value

    def held(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], "")
        if not found:
            raise ConfigError(f"{where} names the variable {match[1]}, which is not set")
        return found

    return _VARIABLE.sub(held, value)


def _checked(check: Any, value: Any) -> Any:
    try:
        return check(value)
    except InvalidRequestError as error:
        raise ValueError(error.message) from None


_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "tenants": DeclaredTenant,
    "buckets": DeclaredBucket,
    "stores": DeclaredStore,
}


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        where = ".".join((DECLARED, *(str(part) for part in problem["loc"])))
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {where}{_nearest(problem['loc'])}")
        else:
            lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _nearest(place: tuple[int | str, ...]) -> str:
    """Return which key could have been meant by an unknown one."""
    model = _MODELS.get(str(place[0])) if len(place) == 3 else Declared if len(place) == 1 else None
    if model is None:
        return ""
    found = get_close_matches(str(place[-1]), list(model.model_fields), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else f"; there are {', '.join(model.model_fields)}"
