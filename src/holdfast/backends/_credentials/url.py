"""Keys that a server gives: plain JSON, the endpoints of container engines, EC2's, Vault's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from holdfast.backends._credentials.document import MOST, Document, parsed
from holdfast.backends._credentials.file import token
from holdfast.backends._credentials.settings import KeySettings, safe_url
from holdfast.backends._http import Http, read_bounded, retry_after
from holdfast.core.errors import (
    ConfigError,
    HoldfastError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)

_CONTAINER: Final = "http://169.254.170.2"
_IMDS: Final = "http://169.254.169.254"
_IMDS_KEYS: Final = "/latest/meta-data/iam/security-credentials/"
_IMDS_TOKEN: Final = "/latest/api/token"  # noqa: S105  # a path
_IMDS_LIFE: Final = "21600"


async def from_url(settings: KeySettings, url: str, token_file: str, http: Http) -> Document:
    """Return the JSON object that the server gives.

    Raises:
        UnauthenticatedError, PermissionDeniedError, ConfigError: it refuses. UnavailableError, RateLimitedError: not now.
    """
    if settings.credentials_form == "imds":
        return await _imds(url or _IMDS, http)
    if settings.credentials_form == "container":
        url, token_file = _container(url), token_file or _variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    headers = _headers(settings, token_file)
    return parsed(await ask(http, "GET", url, headers), "the server of credentials_url")


async def ask(
    http: Http, method: str, url: str, headers: Mapping[str, str], data: bytes | None = None
) -> bytes:
    """Return the body of a 2xx answer; anything else is an error, which shows the status and nothing that was said."""
    if not all(value.isprintable() and value.isascii() for value in headers.values()):
        raise ConfigError("a token holds characters that no header can carry", store=http.store)
    async with http.exchange("credentials", "", method, url, headers=headers, data=data) as response:
        text = await read_bounded(response, MOST)
        if 200 <= response.status < 300:
            return text
        wait = retry_after(response.headers, http.environment.clock.now())
        raise refused(response.status, http.store, wait)


def refused(status: int, store: str, wait: float | None = None) -> HoldfastError:
    """Return the error for an answer with that status."""
    who = "the server that gives the keys"
    if status in (408, 425) or status >= 500:
        return UnavailableError(f"{who} could not do it now ({status})", store=store, retry_after=wait)
    if status == 429:
        return RateLimitedError(f"{who} asks to come back later", store=store, retry_after=wait)
    if status == 404 or 300 <= status < 400:
        return ConfigError(f"{who} has no keys there ({status}); correct credentials_url", store=store)
    if status == 403:
        return PermissionDeniedError(f"{who} does not allow it (403)", store=store)
    return UnauthenticatedError(f"{who} refuses its token or the request ({status})", store=store)


async def _imds(base: str, http: Http) -> Document:
    """Return the keys of the role of an EC2 machine, in the second version's three steps."""
    base = base.rstrip("/")
    life = {"X-aws-ec2-metadata-token-ttl-seconds": _IMDS_LIFE}
    session = (await ask(http, "PUT", base + _IMDS_TOKEN, life)).decode("ascii", "replace").strip()
    shown = {"X-aws-ec2-metadata-token": session}
    roles = (await ask(http, "GET", base + _IMDS_KEYS, shown)).decode("utf-8", "replace").split()
    if not roles:
        raise ConfigError("this machine has no role; attach one to it", store=http.store)
    found = await ask(http, "GET", f"{base}{_IMDS_KEYS}{quote(roles[0], safe='')}", shown)
    return parsed(found, "the metadata of this machine")


def _container(url: str) -> str:
    if url:
        return url
    if relative := _variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return f"{_CONTAINER}{relative}"
    full = _variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not full:
        raise ConfigError(
            "no AWS_CONTAINER_CREDENTIALS_… variable says where the keys are; set credentials_url"
        )
    try:
        return safe_url(full)
    except ValueError:
        raise ConfigError(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is no address that keys may come from"
        ) from None


def _headers(settings: KeySettings, token_file: str) -> dict[str, str]:
    """Return the headers that prove who asks: as AWS's endpoints want it, as Vault does, else as a bearer."""
    shown = settings.credentials_token.get_secret_value()
    if token_file:
        shown = token(Path(token_file), "credentials_token_file")
    if not shown and settings.credentials_form == "container":
        shown = _variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    if not shown:
        return {"Accept": "application/json"}
    name = settings.credentials_header or (
        "X-Vault-Token" if settings.credentials_form == "vault" else "Authorization"
    )
    bare = name.lower() != "authorization" or settings.credentials_form == "container"
    return {"Accept": "application/json", name: shown if bare else f"Bearer {shown}"}


def _variable(name: str) -> str:
    return os.environ.get(name, "")
