"""What an operator says about a Google Drive store. Wrong combinations are refused here, before anything is opened."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from holdfast.backends._http.settings import (
    CaFile,
    ConnectTimeout,
    ReadTimeout,
    VerifyTls,
    checked_url,
)

MIB: Final = 1 << 20
STEP: Final = 256 << 10  #: pieces of a resumable upload are multiples of this
SCOPE: Final = "https://www.googleapis.com/auth/drive"


class GoogleDriveSettings(BaseModel):
    """A Google Drive store: where it is, who we are there, and how bytes travel. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- where
    folder_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,200}$",
        description="id of the folder that holds the blobs (the end of its address); empty: the top of `drive_id`, or of My Drive",
    )
    drive_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,200}$",
        description="id of the shared drive in which the folder lies; empty for My Drive",
    )

    # -- who: one of three
    client_id: str = Field("", description="OAuth client of your own; with client_secret and refresh_token")
    client_secret: SecretStr = Field(SecretStr(""), description="secret of the OAuth client")
    refresh_token: SecretStr = Field(SecretStr(""), description="what the user's consent gave")
    service_account: SecretStr = Field(
        SecretStr(""), description="JSON key of a service account; service_account_file reads it from a file"
    )
    subject: str = Field(
        "", description="user for whom the service account acts (domain-wide delegation), an e-mail address"
    )
    scope: str = Field(SCOPE, min_length=1, description="what a service account asks for")
    token: SecretStr = Field(
        SecretStr(""), description="an access token as it is: it ends after about an hour; for trials only"
    )

    # -- transport
    api_base: str = Field("https://www.googleapis.com/drive/v3", description="URL of the API")
    upload_base: str = Field(
        "https://www.googleapis.com/upload/drive/v3", description="URL that uploads are sent to"
    )
    token_url: str = Field("https://oauth2.googleapis.com/token", description="URL that gives access tokens")
    allow_http: bool = Field(False, description="allow http:// URLs; for a fake on this machine only")
    verify_tls: VerifyTls = True
    ca_file: CaFile = None
    connect_timeout: ConnectTimeout = 5.0
    read_timeout: ReadTimeout = 60.0
    retries: int = Field(
        4, ge=0, le=10, description="further tries of one HTTP request, each after a longer pause"
    )
    connections: int = Field(32, ge=1, le=256, description="connections at once")

    # -- bytes
    chunk_size: int = Field(
        8 * MIB,
        ge=STEP,
        le=256 * MIB,
        multiple_of=STEP,
        description="bytes that a resumable upload sends at once and keeps until they are confirmed; a multiple of 262,144",
    )
    single_request: int = Field(
        5_000_000,
        ge=0,
        le=5_000_000,
        description="bytes up to which a body goes in one request, above in a resumable upload; Google's limit is 5 MB",
    )
    trash: bool = Field(
        False, description="put deleted blobs in the trash, where they count and can be had back for 30 days"
    )
    acknowledge_abuse: bool = Field(
        False, description="read also what Google took for harmful; only the owner may"
    )

    @property
    def kind(self) -> Literal["user", "service account", "token"]:
        """Who we are there."""
        if self.service_account.get_secret_value():
            return "service account"
        return "user" if self.refresh_token.get_secret_value() else "token"

    @property
    def identity(self) -> tuple[str, ...]:
        """Who we are there, and where: two stores of the same identity may read the same files. Never shown."""
        secrets = (self.refresh_token, self.service_account, self.token)
        who = (self.client_id, self.subject, self.scope, *(one.get_secret_value() for one in secrets))
        return self.api_base, self.token_url, *who

    @field_validator("api_base", "upload_base", "token_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, "https://www.googleapis.com/drive/v3", needed=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        urls = (self.api_base, self.upload_base, self.token_url)
        if not self.allow_http and any(url.startswith("http://") for url in urls):
            raise ValueError(
                "an http:// URL would show tokens; set allow_http = true for a fake on this machine"
            )
        user = bool(self.refresh_token.get_secret_value())
        ways = [user, bool(self.service_account.get_secret_value()), bool(self.token.get_secret_value())]
        if sum(ways) != 1:
            raise ValueError(
                "give one of: refresh_token (with client_id and client_secret), service_account, token"
            )
        if user and not (self.client_id and self.client_secret.get_secret_value()):
            raise ValueError("refresh_token needs client_id and client_secret: a token belongs to its client")
        if self.subject and not ways[1]:
            raise ValueError("subject belongs to service_account")
        return self
