"""Settings of artifacts, and the variables of services with hybrid storage (`OBJECT_STORAGE_…`) that mean them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from holdfast.config.exposure import Words
from holdfast.config.translation import Translation
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.names import BUCKET_PREFIX, check_bucket

ENABLED: Final = "OBJECT_STORAGE_ENABLED"
_BUCKET: Final = "OBJECT_STORAGE_ARTIFACTS_BUCKET"
_PREFIX: Final = "OBJECT_STORAGE_BUCKET_PREFIX"
_SETTINGS: Final = {
    "OBJECT_STORAGE_SIZE_THRESHOLD": "placement.inline",
    _PREFIX: "artifacts.prefix",
    _BUCKET: "artifacts.bucket",
}
#: Every variable that is understood here, with what it means; each also in small letters.
VARIABLES: Final[Mapping[str, str]] = {
    ENABLED: "`true`: the default buckets for artifacts are made at the start",
    "OBJECT_STORAGE_SIZE_THRESHOLD": "contents below this size (`64KB`) live in the catalog",
    _PREFIX: f"how the names of the default buckets begin, `{BUCKET_PREFIX}` when missing",
    _BUCKET: "the bucket for artifacts, where it is called otherwise",
}
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


class ArtifactSettings(BaseModel):
    """Artifacts of executions, and the buckets that they are kept in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    make_buckets: bool = Field(
        False,
        description="make the default buckets at the start: PREFIX-executions, -artifacts, -logs, -temp and -backups;"
        " else each is made when an admin first needs it",
    )
    prefix: str = Field(BUCKET_PREFIX, description="how the names of the default buckets begin")
    bucket: str = Field("", description="the bucket for artifacts, where it is called otherwise")
    roots: Words = Field(
        (), description="folders below which operators may register files as artifacts, to be read in place"
    )

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, prefix: str) -> str:
        _checked(f"{prefix}-executions")
        return prefix

    @field_validator("bucket")
    @classmethod
    def _bucket(cls, bucket: str) -> str:
        return _checked(bucket) if bucket else bucket

    @field_validator("roots")
    @classmethod
    def _roots(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            path = PurePosixPath(root)
            if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
                raise ValueError(
                    f"{root[:200]!r} is no folder that can be one of them: name absolute paths, not /"
                )
        return roots


def translate(made: Translation, environ: Mapping[str, str]) -> None:
    """Add what the variables say.

    Raises:
        ConfigError: naming the variable that is wrong.
    """
    enabled, source = _given(environ, ENABLED)
    if enabled:
        made.put("artifacts.make_buckets", _is_on(enabled, source), source)
    for name, setting in _SETTINGS.items():
        value, source = _given(environ, name)
        if value:
            made.put(setting, value, source)


def server_bucket(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the bucket on the S3 server that is meant where no variable names it, and which one gave it; ("", "")."""
    enabled, source = _given(environ, ENABLED)
    if not enabled or not _is_on(enabled, source):
        return "", ""
    bucket, source = _given(environ, _BUCKET)
    if bucket:
        return bucket, source
    prefix, source = _given(environ, _PREFIX)
    return f"{prefix or BUCKET_PREFIX}-artifacts", source


def _given(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return a variable's value and how it is spelled."""
    for spelled in (name, name.lower()):
        if value := environ.get(spelled, "").strip():
            return value, spelled
    return "", name


def _is_on(text: str, name: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ConfigError(f"{name} must be true or false")
    return text.lower() in _YES


def _checked(bucket: str) -> str:
    try:
        return check_bucket(bucket)
    except InvalidRequestError as error:
        raise ValueError(error.message) from None
