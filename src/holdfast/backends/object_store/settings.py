"""What an operator says about an S3 store. Wrong combinations are refused here, before anything is opened."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

MIB = 1 << 20
GIB = 1 << 30
MAX_PARTS = 10_000
MIN_PART = 5 * MIB
MAX_PART = 5 * GIB


class S3Settings(BaseModel):
    """An S3 store: where it is, who we are there, and how bytes travel. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- where
    endpoint: str = Field("", description="URL of the server; empty means AWS in `region`")
    bucket: str = Field(
        min_length=1, max_length=255, description="the bucket that holds the blobs; it must exist"
    )
    region: str = Field("us-east-1", description="the region that requests are signed for; `auto` on R2")
    prefix: str = Field("", description="folder inside the bucket that belongs to this store")
    addressing: Literal["path", "virtual"] = Field(
        "path", description="bucket in the path or in the host name"
    )
    public_endpoint: str = Field("", description="URL that presigned links carry; empty means `endpoint`")

    # -- who
    credentials: Literal["static", "environment", "refreshing"] = Field(
        "static",
        description="static: the keys below; environment: AWS_* variables; refreshing: handed in by code",
    )
    access_key: str = Field("", description="access key id")
    secret_key: SecretStr = Field(SecretStr(""), description="secret access key")
    session_token: SecretStr = Field(SecretStr(""), description="token of a temporary key pair")

    # -- transport
    allow_http: bool = Field(
        False, description="allow an http:// endpoint; keys stay secret, content does not"
    )
    verify_tls: bool = Field(True, description="check the server's certificate")
    ca_file: Path | None = Field(
        None, description="PEM file with a certificate authority to trust in addition"
    )
    connect_timeout: float = Field(5.0, gt=0, le=300)
    read_timeout: float = Field(
        45.0, gt=0, le=3600, description="longest silence of the server while it should speak"
    )
    retries: int = Field(
        2, ge=0, le=10, description="further tries of one HTTP request, under the store's own retry layer"
    )

    # -- bytes
    checksum: Literal["auto", "when_required", "crc64nvme", "sha256"] = Field(
        "auto",
        description="auto: CRC64NVME over TLS, signed body over http; when_required: none, for servers that refuse them",
    )
    part_size: int = Field(
        8 * MIB, ge=MIN_PART, le=MAX_PART, description="size of the parts of a multipart upload"
    )
    upload_concurrency: int = Field(4, ge=1, le=64, description="parts of one upload in flight")
    max_object_size: int = Field(5 * 1024 * GIB, ge=1, description="largest object the server takes")
    storage_class: str = Field(
        "", pattern=r"^[A-Z_0-9]{0,40}$", description="x-amz-storage-class of new blobs"
    )
    conditional_writes: bool = Field(
        True, description="the server honours If-None-Match on writes (rclone does not)"
    )
    folders: bool = Field(
        False,
        description="the server keeps folders on a disk and cannot hold `a` beside `a/b` (MinIO, rclone): a space ends each key",
    )
    sorted_listing: bool = Field(
        True, description="the server lists in byte order; false: names are sorted in memory"
    )

    # -- encryption by the server
    sse: Literal["none", "sse-s3", "sse-kms", "sse-c"] = "none"
    sse_kms_key_id: str = Field("", description="key for sse-kms; empty means the server's default key")
    sse_c_key: SecretStr = Field(SecretStr(""), description="base64 of the 32-byte key for sse-c")

    @property
    def tls(self) -> bool:
        """Whether requests travel encrypted."""
        return not self.endpoint.startswith("http://")

    @property
    def checksum_algorithm(self) -> Literal["crc64nvme", "sha256"] | None:
        """The checksum to send with bodies, None for none."""
        if self.checksum == "auto":
            # Google's S3 dialect refuses requests that carry checksums it does not know.
            return "crc64nvme" if self.tls and not self.endpoint.endswith("storage.googleapis.com") else None
        return None if self.checksum == "when_required" else self.checksum

    @field_validator("endpoint", "public_endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (
            parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
        ):
            raise ValueError("must be a URL like https://s3.example.org, without query")
        if parts.username or parts.password:
            raise ValueError("must not carry credentials; use access_key and secret_key")
        return value.rstrip("/")

    @field_validator("prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        value = value.strip("/")
        if any(segment in ("", ".", "..") for segment in value.split("/")) and value:
            raise ValueError("must not hold empty, '.' or '..' segments")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("must be printable ASCII without spaces")
        return f"{value}/" if value else ""

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
        if (self.sse == "sse-c") != bool(self.sse_c_key.get_secret_value()):
            raise ValueError("sse_c_key belongs to sse = 'sse-c' and only to it")
        if self.sse == "sse-c" and not self.tls:
            raise ValueError("sse = 'sse-c' sends the key with every request and needs an https:// endpoint")
        if self.sse_kms_key_id and self.sse != "sse-kms":
            raise ValueError("sse_kms_key_id belongs to sse = 'sse-kms'")
        return self
