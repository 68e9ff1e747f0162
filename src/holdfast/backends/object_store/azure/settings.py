"""What an operator says about an Azure container. Wrong combinations are refused here, before anything is opened."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from holdfast.backends._http.settings import (
    CaFile,
    ConnectTimeout,
    ReadTimeout,
    Retries,
    VerifyTls,
    checked_folder,
    checked_url,
)
from holdfast.backends.object_store.azure.connection import parse

MIB = 1 << 20
MAX_BLOCK = 4000 * MIB
MAX_BLOCKS = 50_000
_LARGEST = MAX_BLOCKS * MAX_BLOCK
_IDENTITIES = ("client_secret", "managed_identity", "workload_identity")
Kind = Literal["key", "sas", "connection_string", "client_secret", "managed_identity", "workload_identity"]


class AzureSettings(BaseModel):
    """A container of Azure Blob Storage: where it is, who we are there, and how bytes travel. Sizes are bytes, times seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # -- where
    account: str = Field(
        "",
        max_length=64,
        pattern=r"^[a-z0-9-]*$",
        description="the storage account; a connection string tells it",
    )
    container: str = Field(
        pattern=r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$",
        description="the container that holds the blobs; it must exist",
    )
    endpoint: str = Field(
        "",
        description="URL of the blob service; empty means the public cloud, an emulator has the account in the path",
    )
    prefix: str = Field("", description="folder inside the container that belongs to this store")
    public_endpoint: str = Field("", description="URL that signed links carry; empty means `endpoint`")
    api_version: str = Field(
        "2025-11-05",
        pattern=r"^20\d\d-\d\d-\d\d$",
        description="x-ms-version of our requests; from 2026-02-06 on, listings begin in the middle at once",
    )

    # -- who
    credentials: Kind = Field("key", description="which of the settings below says who we are")
    account_key: SecretStr = Field(SecretStr(""), description="one of the two keys of the account, base64")
    sas_token: SecretStr = Field(
        SecretStr(""), description="shared access signature for the container or the account"
    )
    connection_string: SecretStr = Field(SecretStr(""), description="as the portal shows it")
    tenant_id: str = Field("", description="directory of the identity; empty means AZURE_TENANT_ID")
    client_id: str = Field(
        "",
        description="application or user-assigned identity; empty means AZURE_CLIENT_ID, or the machine's own",
    )
    client_secret: SecretStr = Field(SecretStr(""), description="secret of the application")
    token_file: Path | None = Field(
        None, description="file with the federated token; empty means AZURE_FEDERATED_TOKEN_FILE"
    )
    authority: str = Field(
        "", description="URL that gives tokens; empty means AZURE_AUTHORITY_HOST, or the public cloud's"
    )
    delegation: bool = Field(
        True, description="the identity may ask for a user delegation key, which signed links need"
    )

    # -- transport
    allow_http: bool = Field(
        False, description="allow an http:// endpoint; what travels can be read on the way"
    )
    verify_tls: VerifyTls = True
    ca_file: CaFile = None
    connect_timeout: ConnectTimeout = 5.0
    read_timeout: ReadTimeout = 45.0
    retries: Retries = 2
    copy_timeout: float = Field(
        600.0, gt=0, le=86_400, description="how long a copy that the service makes may take"
    )

    # -- bytes
    checksum: Literal["md5", "none"] = Field(
        "md5", description="md5: every body is checked by the service, and its MD5 kept as a property"
    )
    part_size: int = Field(8 * MIB, ge=MIB, le=MAX_BLOCK, description="size of the blocks of a large upload")
    upload_concurrency: int = Field(4, ge=1, le=64, description="blocks of one upload in flight")
    max_object_size: int = Field(_LARGEST, ge=1, le=_LARGEST, description="largest blob that is taken")
    access_tier: Literal["Hot", "Cool", "Cold", "Archive"] | None = Field(
        None, description="tier of new blobs; unset: the account's default"
    )
    rehydrate_to: Literal["Hot", "Cool", "Cold", "never"] = Field(
        "Hot", description="tier that a blob in the tier Archive gets when it is woken; never: none is woken"
    )
    rehydrate_priority: Literal["Standard", "High"] = Field(
        "Standard", description="how quickly, and for what price, blobs in the tier Archive are woken"
    )
    encryption_scope: str = Field(
        "", pattern=r"^[A-Za-z0-9-]{0,63}$", description="encryption scope of new blobs"
    )

    @property
    def sleeps(self) -> bool:
        """Whether the tier of new blobs is one that has to be left to be read."""
        return self.access_tier == "Archive"

    @property
    def tls(self) -> bool:
        """Whether requests travel encrypted."""
        return not self.service.startswith("http://")

    @property
    def service(self) -> str:
        """The URL of the blob service, without a slash at the end."""
        told = parse(self.connection_string.get_secret_value()).endpoint if self._told else ""
        return self.endpoint or told or f"https://{self.account_name}.blob.core.windows.net"

    @property
    def account_name(self) -> str:
        """The account, also where only the connection string tells it."""
        told = parse(self.connection_string.get_secret_value()).account if self._told else ""
        return self.account or told

    @property
    def identity(self) -> bool:
        """Whether tokens of an identity are used."""
        return self.credentials in _IDENTITIES

    @property
    def _told(self) -> bool:
        return self.credentials == "connection_string"

    @field_validator("endpoint", "public_endpoint", "authority")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, "https://account.blob.core.windows.net")

    @field_validator("prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        return checked_folder(value, refused=' \\?#%"', told='without spaces and without \\ ? # % "')

    @field_validator("account_key")
    @classmethod
    def _base64(cls, value: SecretStr) -> SecretStr:
        try:
            base64.b64decode(value.get_secret_value(), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("must be base64, as the portal shows it") from None
        return value

    @field_validator("connection_string")
    @classmethod
    def _readable(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            parse(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_credentials()
        if not self.account_name:
            raise ValueError("account is missing; name the storage account")
        if not self.tls and not self.allow_http:
            raise ValueError(
                "endpoint is http://; set allow_http = true to accept that all of it can be read"
            )
        if self.identity and not self.tls:
            raise ValueError(
                f"credentials = '{self.credentials}' sends a token and needs an https:// endpoint"
            )
        if self.authority.startswith("http://") and not self.allow_http:
            raise ValueError("authority is http://; a secret must not travel so")
        if self.sleeps and self.checksum == "none":
            raise ValueError(
                "access_tier = 'Archive' cannot be read back, so what arrives has to be checked: set checksum = 'md5'"
            )
        return self

    def _check_credentials(self) -> None:
        needed = {
            "key": ("account_key", self.account_key),
            "sas": ("sas_token", self.sas_token),
            "connection_string": ("connection_string", self.connection_string),
            "client_secret": ("client_secret", self.client_secret),
        }
        for kind, (name, secret) in needed.items():
            given = bool(secret.get_secret_value())
            if self.credentials == kind and not given:
                raise ValueError(f"give {name}, or choose another `credentials` than '{kind}'")
            if given and self.credentials != kind:
                raise ValueError(f"{name} belongs to credentials = '{kind}'; set that, or take {name} away")
        if self.token_file is not None and self.credentials != "workload_identity":
            raise ValueError("token_file belongs to credentials = 'workload_identity'")
