"""What an operator says about an S3 store. Wrong combinations are refused here, before anything is opened."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Final, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from holdfast.backends._credentials.settings import KeySettings
from holdfast.backends._http import sendable
from holdfast.backends._http.settings import (
    CaFile,
    ConnectTimeout,
    ReadTimeout,
    Retries,
    VerifyTls,
    checked_folder,
    checked_url,
)
from holdfast.backends.object_store.dialects import (
    DIALECTS,
    GIB,
    MAX_PART,
    MAX_PARTS,
    MIB,
    MIN_PART,
    Dialect,
    Name,
    region_of,
    told_by,
)

__all__ = ["GIB", "MAX_PART", "MAX_PARTS", "MIB", "MIN_PART", "S3Settings"]


#: Settings of the same name as a fact of the dialect, which they replace.
_ABOVE = ("checksum", "max_object_size", "batch_delete", "md5_etags", "folders", "sorted_listing")


#: Classes whose objects have to be restored before they can be read.
SLEEPING: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class S3Settings(KeySettings):
    """An S3 store: where it is, who we are there, and how bytes travel. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- where
    endpoint: str = Field("", description="URL of the server; empty means AWS in `region`")
    bucket: str = Field(
        min_length=1, max_length=255, description="the bucket that holds the blobs; it must exist"
    )
    region: str = Field(
        "",
        description="the region that requests are signed for; empty: as the endpoint's host or the dialect says (`us-east-1`, `auto` on R2 and GCS)",
    )
    dialect: Name | None = Field(
        None,
        description="whose S3 it is, see the table of dialects; unset: told from the endpoint's host where that is unmistakable, else `generic`",
    )
    prefix: str = Field("", description="folder inside the bucket that belongs to this store")
    addressing: Literal["path", "virtual"] = Field(
        "path", description="bucket in the path or in the host name"
    )
    public_endpoint: str = Field("", description="URL that presigned links carry; empty means `endpoint`")

    # -- who
    credentials: Literal["static", "environment", "command", "url", "file", "web-identity", "refreshing"] = (
        Field(
            "static",
            description="static: the keys below; environment: AWS_* variables; command, url, file, web-identity: fetched, as credentials_… say; refreshing: handed in by code",
        )
    )
    access_key: str = Field("", description="access key id")
    secret_key: SecretStr = Field(SecretStr(""), description="secret access key")
    session_token: SecretStr = Field(SecretStr(""), description="token of a temporary key pair")

    # -- transport
    allow_http: bool = Field(
        False, description="allow an http:// endpoint; keys stay secret, content does not"
    )
    verify_tls: VerifyTls = True
    ca_file: CaFile = None
    connect_timeout: ConnectTimeout = 5.0
    read_timeout: ReadTimeout = 45.0
    retries: Retries = 2

    # -- bytes
    checksum: Literal["auto", "when_required", "crc64nvme", "sha256"] | None = Field(
        None,
        description="auto: CRC64NVME over TLS, signed body over http; when_required: none, for servers that refuse them; unset: as the dialect says",
    )
    part_size: int = Field(
        8 * MIB, ge=MIN_PART, le=MAX_PART, description="size of the parts of a multipart upload"
    )
    upload_concurrency: int = Field(4, ge=1, le=64, description="parts of one upload in flight")
    max_object_size: int | None = Field(
        None, ge=1, description="largest object the server takes; unset: as the dialect says"
    )
    storage_class: str = Field(
        "", pattern=r"^[A-Z_0-9]{0,40}$", description="x-amz-storage-class of new blobs"
    )
    restore_days: int = Field(
        7,
        ge=0,
        le=3650,
        description="how long a blob stays readable that was woken in an archive class (GLACIER, DEEP_ARCHIVE); 0: none is woken",
    )
    restore_tier: Literal["Expedited", "Standard", "Bulk"] = Field(
        "Standard", description="how quickly, and for what price, blobs of archive classes are woken"
    )
    conditional_writes: bool | None = Field(
        None,
        description="the server honours If-None-Match on writes, of parts too; unset: as the dialect says",
    )
    batch_delete: bool | None = Field(
        None,
        description="the server removes many objects with one request; unset: as the dialect says",
    )
    md5_etags: bool | None = Field(
        None,
        description="ETags of what one request put are MD5 sums, and compared; unset: as the dialect says",
    )
    folders: bool | None = Field(
        None,
        description="the server keeps folders on a disk and cannot hold `a` beside `a/b` (MinIO, rclone): a space ends each key; unset: as the dialect says",
    )
    sorted_listing: bool | None = Field(
        None,
        description="the server lists in byte order; false: names are sorted in memory; unset: as the dialect says",
    )

    # -- encryption by the server
    sse: Literal["none", "sse-s3", "sse-kms", "sse-c"] = "none"
    sse_kms_key_id: str = Field("", description="key for sse-kms; empty means the server's default key")
    sse_c_key: SecretStr = Field(SecretStr(""), description="base64 of the 32-byte key for sse-c")

    @property
    def sleeps(self) -> bool:
        """Whether the class of new blobs is one that has to be restored to be read."""
        return self.storage_class in SLEEPING

    @property
    def tls(self) -> bool:
        """Whether requests travel encrypted."""
        return not self.endpoint.startswith("http://")

    @property
    def server(self) -> Dialect:
        """What the server can do: the row of its dialect, with what the operator says above it."""
        return _server(
            self.dialect,
            self.endpoint,
            self.region,
            self.conditional_writes,
            *(getattr(self, name) for name in _ABOVE),
        )

    @property
    def checksum_algorithm(self) -> Literal["crc64nvme", "sha256"] | None:
        """The checksum to send with bodies, None for none."""
        wanted = self.server.checksum
        if wanted == "auto":
            return "crc64nvme" if self.tls else None
        return None if wanted == "when_required" else wanted

    @field_validator("endpoint", "public_endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, "https://s3.example.org", instead="; use access_key and secret_key")

    @field_validator("prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        return checked_folder(value)

    @field_validator("sse_c_key")
    @classmethod
    def _customer_key(cls, value: SecretStr) -> SecretStr:
        try:
            length = len(base64.b64decode(value.get_secret_value(), validate=True))
        except (binascii.Error, ValueError):
            raise ValueError("must be base64") from None
        if length not in (0, 32):
            raise ValueError("must be the base64 of exactly 32 bytes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.tls and not self.allow_http:
            raise ValueError(
                "endpoint is http://; set allow_http = true to accept that content travels unencrypted"
            )
        if self.credentials == "static" and not (self.access_key and self.secret_key.get_secret_value()):
            raise ValueError("credentials = 'static' needs access_key and secret_key")
        secrets = (self.secret_key.get_secret_value(), self.session_token.get_secret_value())
        if not all(sendable(value) for value in (self.access_key, *secrets) if value):
            raise ValueError("access_key, secret_key and session_token must be printable ASCII")
        if (self.sse == "sse-c") != bool(self.sse_c_key.get_secret_value()):
            raise ValueError("sse_c_key belongs to sse = 'sse-c' and only to it")
        if self.sse == "sse-c" and not self.tls:
            raise ValueError("sse = 'sse-c' sends the key with every request and needs an https:// endpoint")
        if self.sse_kms_key_id and self.sse != "sse-kms":
            raise ValueError("sse_kms_key_id belongs to sse = 'sse-kms'")
        self._spoken()
        return self

    def _spoken(self) -> None:
        """Refuse what the server is known to refuse; whoever knows better names another dialect."""
        row = self.server
        if self.sse != "none" and self.sse not in row.sse:
            known = ", ".join(sorted(row.sse)) or "none at all"
            raise ValueError(f"{row.title} does not offer sse = '{self.sse}'; it offers {known}")
        if self.storage_class and row.storage_classes and self.storage_class not in row.storage_classes:
            known = ", ".join(sorted(row.storage_classes))
            raise ValueError(
                f"{row.title} has no storage class {self.storage_class}; it has {known} (dialect = 'generic' takes any)"
            )
        if self.sleeps and row.checksum == "when_required":
            raise ValueError(
                f"storage_class = '{self.storage_class}' cannot be read back, so what arrives has to be checked: set checksum ="
                " 'auto', 'crc64nvme' or 'sha256'"
            )
        if self.part_size > row.max_part:
            raise ValueError(
                f"part_size is above what {row.title} takes in one request, {row.max_part} bytes"
            )


@lru_cache(maxsize=256)
def _server(
    dialect: Name | None, endpoint: str, region: str, conditional: bool | None, *above: str | int | None
) -> Dialect:
    row = DIALECTS[dialect] if dialect else told_by(endpoint)
    said = {name: value for name, value in zip(_ABOVE, above, strict=True) if value is not None}
    if conditional is not None:
        said |= dict.fromkeys(("conditional_put", "conditional_complete"), conditional)
    return row._replace(region=region or region_of(endpoint) or row.region, **said)  # type: ignore[arg-type]  # checked as settings
