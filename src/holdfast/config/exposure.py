"""Settings of a service that others reach directly: its certificate, and the web pages that may use it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from holdfast.config.units import Seconds
from holdfast.core.parsing import parse_json


def _split(value: Any) -> Any:
    """Let a variable name several things: `a, b`, or a list in JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return parse_json(value)
        except ValueError:
            raise ValueError('this is no list in JSON; write a, b or ["a", "b"]') from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise ValueError(
            f"{text[:60]!r} is no network such as 10.0.0.0/8 or 2001:db8::/32: {error}"
        ) from None


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
WordSet = Annotated[frozenset[str], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_split)]


class TlsSettings(BaseModel):
    """The certificate that the service shows; without one it speaks plain HTTP, for a proxy that ends TLS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path | None = Field(
        None, description="PEM file with the certificate and those between it and its root; none: plain HTTP"
    )
    key: Path | None = Field(None, description="PEM file with its private key, closed to other users")
    minimum: Literal["1.2", "1.3"] = Field("1.2", description="oldest version of TLS that is spoken")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("tls.certificate and tls.key go together")
        return self


class CorsSettings(BaseModel):
    """Which web pages may use the service from a browser. Nobody, unless origins are named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origins: Words = Field(
        (),
        description="origins of web pages that may call the service: `https://app.example.com`, with `*.` for one"
        " level of subdomains, or `*` for all",
    )
    methods: Words = Field(
        ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"), description="methods that such pages may use"
    )
    headers: Words = Field(
        ("*",), description="request headers that such pages may send; `*`: whatever they ask for"
    )
    max_age: Seconds = Field(
        3600.0, ge=0, description="how long a browser may remember the answer to its question"
    )
    credentials: bool = Field(False, description="let such pages send cookies; not with the origin `*`")

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin.replace("://*.", "://"))
            if origin != "*" and (
                not parts.scheme or not parts.netloc or parts.path or parts.query or "*" in parts.netloc
            ):
                raise ValueError(f"{origin!r} is not an origin; one looks like https://app.example.com")
        return value

    @model_validator(mode="after")
    def _not_everybody(self) -> Self:
        if self.credentials and "*" in self.origins:
            raise ValueError("cors.credentials with the origin * would let every web page act as its visitor")
        return self
