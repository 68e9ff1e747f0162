"""What an operator says about a store on Yandex.Disk. What does not fit together is refused before anything is opened."""

from __future__ import annotations

from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from holdfast.backends._http.settings import (
    CaFile,
    ConnectTimeout,
    VerifyTls,
)
from holdfast.backends.yandex_disk.paths import MAX_PATH, MAX_SEGMENT
from holdfast.core.names import MAX_BLOB_NAME_BYTES

API: Final = "https://cloud-api.yandex.net/v1/disk"
OAUTH: Final = "https://oauth.yandex.ru"
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_ROOTS: Final = ("disk:/", "app:/")


class YandexDiskSettings(BaseModel):
    """One folder of one account's Disk, and how careful and how patient we are there. Times are seconds, sizes bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- where
    root: str = Field(
        "disk:/holdfast",
        description="the folder that belongs to this store: `disk:/…`, or `app:/…` below the application's own folder",
    )

    # -- who
    token: SecretStr = Field(
        SecretStr(""), description="OAuth token; enough by itself until it ends, usually after a year"
    )
    refresh_token: SecretStr = Field(
        SecretStr(""), description="what new tokens are got with; the newest one is kept in the catalog"
    )
    client_id: str = Field("", description="id of the OAuth application; needed with `refresh_token`")
    client_secret: SecretStr = Field(
        SecretStr(""), description="secret of the OAuth application; needed with `refresh_token`"
    )

    # -- how blobs are kept
    neutral_names: bool = Field(
        True,
        description="upload under a name without an extension, check, then move: some extensions are uploaded slowly,"
        " and what is damaged never becomes visible. Off: straight to the last name, two requests fewer",
    )
    permanently: bool = Field(
        True,
        description="delete at once; off: into the trash, which counts against the space until it is emptied",
    )
    conditional_writes: bool = Field(
        False,
        description="rely on a move without overwriting as the way to put only if absent; not verified with the real"
        " service, so off",
    )

    # -- transport
    request_timeout: float = Field(
        30.0, gt=0, le=3600, description="longest silence of the service while it should speak"
    )
    connect_timeout: ConnectTimeout = 10.0
    hash_timeout_per_gib: float = Field(
        120.0, ge=0, le=3600, description="further silence borne after an upload, for each GiB that it had"
    )
    settle_timeout: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="how long an upload may take to show in the Disk after it was accepted",
    )
    operation_timeout: float = Field(
        300.0, gt=0, le=86400, description="how long the service may work on a move, a copy or a delete"
    )
    retries: int = Field(
        4,
        ge=0,
        le=20,
        description="further tries of one request that sends no content, under the store's own retry",
    )
    chunk_size: int = Field(
        1 * _MIB,
        ge=64 * _KIB,
        le=64 * _MIB,
        description="bytes of an upload that are gathered before they are sent; a file is always one upload",
    )
    upload_concurrency: int = Field(
        3, ge=1, le=64, description="uploads at a time; one file is never sent in parallel parts"
    )
    connections: int = Field(
        20, ge=2, le=1000, description="connections kept for requests and uploads, and as many for downloads"
    )
    directory_cache_size: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="folders that are remembered to be there; the oldest are forgotten",
    )
    directory_cache_ttl: float = Field(
        300.0, ge=0, le=86400, description="how long a folder that was seen is taken to be there"
    )

    # -- places
    api_url: str = Field(API, description="address of the service")
    oauth_url: str = Field(OAUTH, description="address where tokens are renewed")
    allow_http: bool = Field(
        False, description="allow http:// addresses, which show tokens and content; for tests"
    )
    verify_tls: VerifyTls = True
    ca_file: CaFile = None

    @property
    def grant(self) -> tuple[str, ...]:
        """What an account allowed, and how its Disk is spelled: the same of two stores, they are in one Disk. Never shown."""
        start, refresh = self.root.partition("/")[0], self.refresh_token.get_secret_value()
        if refresh:
            return self.api_url, start, self.oauth_url, self.client_id, refresh
        return self.api_url, start, self.token.get_secret_value()

    @field_validator("root")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        if not value.startswith(_ROOTS):
            raise ValueError("must begin with disk:/ or app:/")
        start, _, folder = value.partition("/")
        segments = [part for part in folder.split("/") if part]
        if any(part in (".", "..") or len(part) > MAX_SEGMENT or not part.isprintable() for part in segments):
            raise ValueError("folders have 1 to 255 printable characters and are not . or ..")
        whole = "/".join((start, *segments)) if segments else value[: len(start) + 1]
        # A name may need one more folder than it shows, see `paths`.
        if len(whole) + MAX_BLOB_NAME_BYTES + 8 > MAX_PATH:
            raise ValueError("is so long that names do not fit below it")
        return whole

    @field_validator("api_url", "oauth_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "must be an address like https://host/path, without user, password or parameters"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.allow_http and any(url.startswith("http://") for url in (self.api_url, self.oauth_url)):
            raise ValueError(
                "an address is http://; set allow_http = true to accept that tokens travel in the open"
            )
        refresh = bool(self.refresh_token.get_secret_value())
        if not refresh and not self.token.get_secret_value():
            raise ValueError("give a token, or client_id, client_secret and refresh_token")
        if refresh and not (self.client_id and self.client_secret.get_secret_value()):
            raise ValueError("refresh_token needs client_id and client_secret")
        if self.connections <= self.upload_concurrency:
            raise ValueError("connections must be more than upload_concurrency")
        return self
