"""What an operator says about where keys come from. One table of plain settings, so that each can be set and sealed by itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from holdfast.backends._credentials.sources import FETCHED, TENANT

FIELDS: Final = frozenset({"access_key", "secret_key", "token", "expires", "lifetime"})
_OWN: Final = {
    "credentials_command": ("command",),
    "credentials_url": ("url", "web-identity"),
    "credentials_form": ("url",),
    "credentials_header": ("url",),
    "credentials_token": ("url",),
    "credentials_token_file": ("url", "web-identity"),
    "credentials_fields": ("command", "url", "file"),
    "credentials_file": ("file",),
    "credentials_profile": ("file",),
    "credentials_role": ("web-identity",),
    "credentials_tenants": tuple(FETCHED),
}


def _words(value: Any) -> Any:
    """Return a command that was given as one text as its words; no shell ever sees it."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else shlex.split(value)


class KeySettings(BaseModel):
    """The settings `credentials…` of a driver whose keys can be fetched. Times are seconds."""

    # built with the first use: it is the settings of drivers that are used, never these by themselves
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    credentials_command: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        (),
        description="command: program and arguments that print the keys as JSON, as `credential_process` of AWS does",
    )
    credentials_url: str = Field(
        "",
        description="url: where the keys are as JSON; web-identity: the STS server. Empty: as AWS_* variables say, or AWS",
    )
    credentials_form: Literal["plain", "container", "imds", "vault"] = Field(
        "plain",
        description="url: plain, container (ECS, EKS), imds (EC2, version 2) or vault (its AWS secrets engine)",
    )
    credentials_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]{0,80}$",
        description="url: header that carries the token; empty: as the form wants it",
    )
    credentials_token: SecretStr = Field(SecretStr(""), description="url: token to show to the server")
    credentials_token_file: Path | None = Field(
        None,
        description="url, web-identity: file that holds the token, read each time; empty: as AWS_* variables say",
    )
    credentials_fields: dict[str, str] = Field(
        default_factory=dict,
        description="where in the JSON things are, as paths with dots: access_key, secret_key, token, expires, lifetime",
    )
    credentials_file: Path | None = Field(
        None, description="file: JSON, or profiles as in ~/.aws/credentials; read again when it changes"
    )
    credentials_profile: str = Field("default", description="file: the profile in it")
    credentials_role: str = Field(
        "", max_length=2048, description="web-identity: ARN of the role; empty: AWS_ROLE_ARN"
    )
    credentials_timeout: float = Field(
        30.0, gt=0, le=600, description="longest time that one fetch of keys may take"
    )
    credentials_tenants: str = Field(
        "",
        pattern=r"^[a-z0-9._-]{0,63}$",
        description="what stands for {tenant} where the whole store is listed; empty: that is refused",
    )

    @property
    def per_tenant(self) -> bool:
        """Whether each tenant's blobs are reached with keys of its own."""
        return any(TENANT in text for text in self._texts())

    def _texts(self) -> Iterator[str]:
        yield from (*self.credentials_command, self.credentials_url, self.credentials_role)
        yield from (self.credentials_profile, str(self.credentials_file or ""))
        yield str(self.credentials_token_file or "")

    @field_validator("credentials_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_url(value) if value else value

    @field_validator("credentials_fields")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        if set(value) - FIELDS:
            raise ValueError(f"knows {', '.join(sorted(FIELDS))}")
        return value

    @model_validator(mode="after")
    def _fetching(self) -> Self:
        kind = getattr(self, "credentials", "")
        for name in self.model_fields_set & _OWN.keys():
            if kind not in _OWN[name]:
                raise ValueError(f"{name} belongs to credentials = {' or '.join(map(repr, _OWN[name]))}")
        if kind == "command" and not self.credentials_command:
            raise ValueError("credentials = 'command' needs credentials_command")
        if kind == "file" and self.credentials_file is None:
            raise ValueError("credentials = 'file' needs credentials_file")
        if kind == "url" and not self.credentials_url and self.credentials_form not in ("container", "imds"):
            raise ValueError("credentials = 'url' needs credentials_url")
        if self.credentials_token.get_secret_value() and self.credentials_token_file:
            raise ValueError(
                "credentials_token and credentials_token_file are both set; leave one of them out"
            )
        return self


def safe_url(value: str) -> str:
    """Return a URL that keys may come from: https, or http on this machine and its link; `ValueError` for any other."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("must be a URL like https://vault.example.org/v1/aws/creds/backup")
    if TENANT in parts.netloc:
        raise ValueError("{tenant} may stand in the path or the query, not in the host")
    if parts.scheme == "http" and not _near(parts.hostname):
        raise ValueError("keys travel over https:// only, but to this machine and its link")
    return value


def _near(host: str) -> bool:
    """Return whether a host is this machine, or the link on which clouds answer for it."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address in _AMAZON


_AMAZON: Final = frozenset({ip_address("fd00:ec2::254"), ip_address("fd00:ec2::23")})
