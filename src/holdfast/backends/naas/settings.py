"""What an operator says about a storage in a Naas workspace."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from holdfast.backends._http.settings import (
    CaFile,
    ConnectTimeout,
    ReadTimeout,
)
from holdfast.backends.object_store.dialects import Name
from holdfast.backends.object_store.settings import MAX_PART, MIB, MIN_PART

API: Final = "https://api.naas.ai"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class NaasSettings(BaseModel):
    """A storage of a Naas workspace. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- who
    api_key: SecretStr = Field(min_length=1, description="the API key of Naas (NAAS_API_KEY)")
    workspace_id: str = Field(min_length=1, max_length=255, description="the workspace (NAAS_WORKSPACE_ID)")
    storage_name: str = Field(
        min_length=1, max_length=255, description="the storage in it, which must exist (NAAS_STORAGE_NAME)"
    )
    api_base: str = Field(API, description="URL of the Naas API (NAAS_PYTHON_API_BASE_URL)")

    # -- where
    prefix: str = Field("", description="folder inside the storage that belongs to this store")
    s3_endpoint: str = Field(
        "",
        description="URL of the S3 server behind Naas, which its answers do not name (NAAS_S3_ENDPOINT_URL); empty: AWS",
    )
    public_endpoint: str = Field("", description="URL that presigned links carry; empty: `s3_endpoint`")
    region: str = Field("", description="the region that requests are signed for; empty: as Naas answers")
    dialect: Name = Field("naas", description="whose S3 it is, as for the driver s3")

    # -- transport
    allow_http: bool = Field(
        False, description="allow an http:// s3_endpoint; keys stay secret, content does not"
    )
    verify_tls: bool = Field(True, description="check the certificate of the S3 server")
    ca_file: CaFile = None
    connect_timeout: ConnectTimeout = 5.0
    read_timeout: ReadTimeout = 45.0
    retries: int = Field(
        2, ge=0, le=10, description="further tries of one HTTP request, also of one for keys"
    )

    # -- bytes
    part_size: int = Field(
        8 * MIB, ge=MIN_PART, le=MAX_PART, description="size of the parts of a multipart upload"
    )
    upload_concurrency: int = Field(4, ge=1, le=64, description="parts of one upload in flight")
    conditional_writes: bool | None = Field(
        None, description="the S3 server honours If-None-Match on writes; unset: as the dialect says"
    )

    @field_validator("api_base")
    @classmethod
    def _base(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not plain and (parts.scheme != "https" or not parts.hostname):
            raise ValueError("must be an https:// URL: the API key travels with every request")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold nothing but scheme, host and path")
        return value.rstrip("/")

    @field_validator("workspace_id", "storage_name")
    @classmethod
    def _segment(cls, value: str) -> str:
        if value != value.strip() or "/" in value or value in (".", "..") or not value.isprintable():
            raise ValueError("must be one name, without slashes and spaces around it")
        return value
