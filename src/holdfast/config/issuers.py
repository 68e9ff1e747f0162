"""Settings of those whose signed tokens (JWT) are taken: `[auth.issuers.NAME]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from holdfast.config.exposure import Networks, Words
from holdfast.config.units import Seconds

Algorithm = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]
_OWN: Final = "holdfast"  #: the service's own name among issuers
_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")


class IssuerSettings(BaseModel):
    """One issuer, with one algorithm and one source of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(min_length=1, max_length=512, description="what `iss` must be")
    audience: str = Field(min_length=1, max_length=512, description="what `aud` must name")
    algorithm: Algorithm = Field(description="the only one that its tokens may be signed with")
    key: SecretStr = Field(
        SecretStr(""), description="the public key in PEM; for HS… the shared secret, better in `key_file`"
    )
    key_file: Path | None = Field(
        None, description="file with the same; one with a shared secret must be closed to other users"
    )
    jwks_file: Path | None = Field(None, description="file with a JWKS")
    jwks_url: str = Field("", description="address of a JWKS, https; not for shared secrets")
    jwks_networks: Networks = Field(
        (),
        description="networks (CIDR) inside which `jwks_url` may lie beside the open internet; plain http there too",
    )
    kids: Words = Field((), description="the only key ids that are taken; none: all of the key set")
    tenant: str = Field("", description="the tenant of all its tokens")
    tenant_claim: str = Field("", description="instead: the claim that names the tenant")
    tenants: Words = Field((), description="tenants that `tenant_claim` may name; none: any that there is")
    role: Literal["reader", "writer", "admin", "operator"] = Field(
        "reader", description="role of its tokens; with `role_claim` the highest that one may claim"
    )
    role_claim: str = Field("", description="the claim that names the role, or a list with it")
    scope_claim: str = Field(
        "", description="the claim that holds scopes, as text or list; a token without any is then refused"
    )
    leeway: Seconds = Field(0.0, ge=0, le=30, description="seconds by which its clock may differ from ours")
    types: Words = Field(("JWT", "at+jwt"), description="what `typ` may be; `none` allows tokens without it")

    @field_validator("tenant")
    @classmethod
    def _named(cls, name: str) -> str:
        if name and not re.fullmatch(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", name):
            raise ValueError("this is not the name of a tenant")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sources = (self.key.get_secret_value(), self.key_file, self.jwks_file, self.jwks_url)
        if sum(1 for source in sources if source) != 1:
            raise ValueError("give exactly one of key, key_file, jwks_file and jwks_url")
        if self.jwks_url and self.algorithm.startswith("HS"):
            raise ValueError("a shared secret cannot be fetched from jwks_url")
        if bool(self.tenant) == bool(self.tenant_claim):
            raise ValueError("give exactly one of tenant and tenant_claim")
        if self.issuer == _OWN:
            raise ValueError(f"{_OWN!r} is how this service calls itself as an issuer")
        return self


class AuthSettings(BaseModel):
    """Who may sign tokens beside this service itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuers: dict[str, IssuerSettings] = Field(
        default_factory=dict, description="issuers of signed tokens (JWT), by a short name"
    )

    @field_validator("issuers")
    @classmethod
    def _distinct(cls, issuers: dict[str, IssuerSettings]) -> dict[str, IssuerSettings]:
        for name in issuers:
            if not _NAME.fullmatch(name) or name in (_OWN, "key"):
                raise ValueError(f"an issuer cannot be called {name!r}: use 1 to 32 of a-z, 0-9 and -")
        if len({one.issuer for one in issuers.values()}) != len(issuers):
            raise ValueError("two issuers have the same `issuer`")
        return issuers
