"""What an operator says about a store on Google Cloud Storage. Wrong combinations are refused before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from holdfast.backends._http.settings import (
    CaFile,
    ConnectTimeout,
    ReadTimeout,
    Retries,
    VerifyTls,
    checked_folder,
)
from holdfast.backends.object_store.settings import GIB, MAX_PART, MIB, MIN_PART

_CHUNK = 256 << 10  #: what the pieces of a session must be multiples of


class GcsSettings(BaseModel):
    """A bucket, who we are there, and how bytes travel. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- where
    bucket: str = Field(
        min_length=3, max_length=222, description="the bucket that holds the blobs; it must exist"
    )
    prefix: str = Field("", description="folder inside the bucket that belongs to this store")
    endpoint: str = Field(
        "https://storage.googleapis.com", description="URL of the service, another one for private access"
    )
    public_endpoint: str = Field("", description="URL that signed links carry; empty means `endpoint`")
    user_project: str = Field(
        "", pattern=r"^[a-z0-9:.-]{0,80}$", description="project that pays for a bucket where requesters pay"
    )

    # -- who
    credentials: Literal["auto", "metadata"] = Field(
        "auto",
        description="auto: the file, JSON or HMAC pair below, else application default credentials; "
        "metadata: the metadata server of the machine (workload identity) and nothing else",
    )
    credentials_file: Path | None = Field(
        None,
        description="JSON file of a service account, of a workload identity federation or of `gcloud auth`",
    )
    credentials_json: SecretStr = Field(
        SecretStr(""), description="the content of such a file, in place of a path"
    )
    hmac_key: str = Field("", description="access id of an HMAC pair: the store then speaks the S3 dialect")
    hmac_secret: SecretStr = Field(SecretStr(""), description="secret of the HMAC pair")
    sign_as: str = Field(
        "",
        pattern=r"^([a-zA-Z0-9.-]+@[a-z0-9.-]+)?$",
        description="e-mail of the service account in whose name links are signed, for credentials without a key of their own",
    )
    metadata_host: str = Field("http://metadata.google.internal", description="URL of the metadata server")
    iam_endpoint: str = Field(
        "https://iamcredentials.googleapis.com", description="URL of the service that signs for `sign_as`"
    )

    # -- transport
    allow_http: bool = Field(
        False, description="allow http:// endpoints; tokens and content can then be read"
    )
    verify_tls: VerifyTls = True
    ca_file: CaFile = None
    connect_timeout: ConnectTimeout = 5.0
    read_timeout: ReadTimeout = 45.0
    retries: Retries = 2

    # -- bytes
    part_size: int = Field(
        8 * MIB,
        ge=MIN_PART,
        le=MAX_PART,
        multiple_of=_CHUNK,
        description="size of the parts of a large upload, a multiple of 256 KiB",
    )
    upload_concurrency: int = Field(4, ge=1, le=64, description="parts of one upload in flight")
    max_object_size: int = Field(5 * 1024 * GIB, ge=1, description="largest object the store takes")
    storage_class: str = Field("", pattern=r"^[A-Z_]{0,40}$", description="storage class of new blobs")
    kms_key: str = Field(
        "",
        pattern=r"^(projects/[^\s/]+/locations/[^\s/]+/keyRings/[^\s/]+/cryptoKeys/[^\s/]+)?$",
        description="Cloud KMS key that Google encrypts new blobs with; empty: the key of the bucket",
    )

    def common(self) -> dict[str, Any]:
        """Return the settings that mean the same to the S3 driver."""
        names = (
            *(
                "bucket",
                "prefix",
                "public_endpoint",
                "allow_http",
                "verify_tls",
                "ca_file",
                "connect_timeout",
            ),
            *(
                "read_timeout",
                "retries",
                "part_size",
                "upload_concurrency",
                "max_object_size",
                "storage_class",
            ),
        )
        return {name: getattr(self, name) for name in names}

    @field_validator("endpoint", "public_endpoint", "metadata_host", "iam_endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be a URL like https://storage.googleapis.com")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("must be a scheme and a host, and perhaps a port, and nothing else")
        return value.rstrip("/")

    @field_validator("endpoint", "metadata_host", "iam_endpoint")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value

    @field_validator("prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        return checked_folder(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [
            self.credentials_file is not None,
            bool(self.credentials_json.get_secret_value()),
            bool(self.hmac_key),
        ]
        if sum(given) > 1:
            raise ValueError("give one of credentials_file, credentials_json and hmac_key")
        if bool(self.hmac_key) != bool(self.hmac_secret.get_secret_value()):
            raise ValueError("hmac_key and hmac_secret belong together")
        if self.credentials == "metadata" and any(given):
            raise ValueError("credentials = 'metadata' takes no file, JSON or HMAC pair")
        if self.hmac_key and (self.kms_key or self.sign_as or self.user_project):
            raise ValueError("kms_key, sign_as and user_project do not go with an HMAC pair")
        plain = [name for name in ("endpoint", "iam_endpoint") if getattr(self, name).startswith("http://")]
        if plain and not self.allow_http:
            raise ValueError(
                f"{plain[0]} is http://; set allow_http = true to accept that tokens and content can be read"
            )
        return self
