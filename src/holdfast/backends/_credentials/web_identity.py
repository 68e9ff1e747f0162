"""Keys that STS gives for a token of somebody whom it trusts: Kubernetes, a CI system, an identity provider."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlencode
from xml.etree import ElementTree  # only ever fed by `_read`, which refuses what makes XML dangerous

from holdfast.backends._credentials.document import MOST, Document
from holdfast.backends._credentials.file import token
from holdfast.backends._credentials.url import refused
from holdfast.backends._http import Http, read_bounded, retry_after
from holdfast.core.errors import (
    ConfigError,
    HoldfastError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)

_VERSION: Final = "2011-06-15"
_MOST_SESSION: Final = 64
_WHO: Final = "STS"


async def from_web_identity(
    *, url: str, role: str, token_file: str, session: str, region: str, http: Http
) -> Document:
    """Return the keys of `role` for the token that the file holds now.

    Raises:
        UnauthenticatedError, PermissionDeniedError: STS refuses. ConfigError: no token, no role. UnavailableError: not now.
    """
    role, token_file = (
        role or _variable("AWS_ROLE_ARN"),
        token_file or _variable("AWS_WEB_IDENTITY_TOKEN_FILE"),
    )
    if not role or not token_file:
        lacking = "credentials_role (or AWS_ROLE_ARN)" if not role else "credentials_token_file"
        raise ConfigError(f"credentials = 'web-identity' needs {lacking}", store=http.store)
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": _VERSION,
        "RoleArn": role,
        "RoleSessionName": session[:_MOST_SESSION],
        "WebIdentityToken": token(Path(token_file), "credentials_token_file"),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/xml"}
    target = url or f"https://sts.{region}.amazonaws.com/"
    async with http.exchange(
        "credentials", "", "POST", target, headers=headers, data=urlencode(form).encode()
    ) as response:
        found = _read(await read_bounded(response, MOST))
        if 200 <= response.status < 300:
            return found
        wait = retry_after(response.headers, http.environment.clock.now())
        raise _refused(response.status, found.get("Code", ""), http.store, wait)


def _refused(status: int, code: str, store: str, wait: float | None) -> HoldfastError:
    if code in ("ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim"):
        return UnauthenticatedError(
            f"{_WHO} does not take the token of credentials_token_file ({code}); it may have ended",
            store=store,
        )
    if code == "AccessDenied":
        return PermissionDeniedError(f"{_WHO} does not give this role to that token", store=store)
    if code == "Throttling":
        return RateLimitedError(f"{_WHO} asks to come back later", store=store, retry_after=wait)
    return refused(status, store, wait)


def _read(text: bytes) -> dict[str, str]:
    """Return the leaves of an XML answer by tag; empty when it is none that we read."""
    try:
        plain = text.decode()
        if "<!" in plain:
            return {}
        root = ElementTree.fromstring(plain)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError):
        return {}
    return {item.tag.rpartition("}")[2]: (item.text or "").strip() for item in root.iter() if len(item) == 0}


def _variable(name: str) -> str:
    return os.environ.get(name, "")
