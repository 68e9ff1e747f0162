"""What Naas answers when it is asked for keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from holdfast.backends._credentials import Credentials, ends
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    HoldfastError,
    UnauthenticatedError,
    UnavailableError,
)

_UNSAID: Final = 20 * 60 * 1_000_000  #: microseconds for which keys are used when nothing says when they end
_WHAT: Final = "Naas"
#: What Naas's storage service calls what went wrong: by number, or by the end of the name.
_NONE, _EXISTS, _MISSING = 0, 1, 2
_NAMED: Final = (("NOT_FOUND", _MISSING), ("ALREADY_EXISTS", _EXISTS), ("NO_ERROR", _NONE), ("NONE", _NONE))


@dataclass(frozen=True, slots=True)
class Answer:
    """Keys, and where they lead: a bucket, a prefix in it ("" or without slashes around it), a region ("" if not said)."""

    credentials: Credentials
    bucket: str
    prefix: str
    region: str

    @property
    def expires(self) -> int | None:
        """When the keys end, in microseconds since the epoch."""
        return self.credentials.expires


def read(text: bytes, *, store: str, now: int) -> Answer:
    """Return what the body of an answer says.

    Raises:
        ConfigError: there is no such storage. ConflictError, UnavailableError: another error, told by its number.
        UnauthenticatedError: something is missing or cannot be read, or the keys have ended already.
    """
    document = _object(text)
    if (error := failure(document, store)) is not None:
        raise error
    found: Any = document.get("credentials")
    found = found.get("s3") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise _strange("no credentials.s3", store)
    access, secret, token = (_text(found, name) for name in ("access_key_id", "secret_key", "session_token"))
    if not access or not secret:
        raise _strange("no access_key_id" if not access else "no secret_key", store)
    expires = ends(found.get("expiration"), _WHAT) or now + _UNSAID
    if expires <= now:
        raise UnauthenticatedError(
            "Naas gave keys that have ended already; is this machine's clock right?", store=store
        )
    bucket, prefix = place(_text(found, "endpoint_url"), store)
    return Answer(
        Credentials(access, secret, token or None, expires), bucket, prefix, _text(found, "region_name")
    )


def place(uri: str, store: str) -> tuple[str, str]:
    """Return bucket and prefix of an `s3://bucket/prefix` address."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise _strange("an endpoint_url that does not begin with s3://", store)
    return parts.netloc, unquote(parts.path).strip("/")


def failure(document: Mapping[str, Any], store: str) -> HoldfastError | None:
    """Return the error that an answer tells of beside its content, None when it tells of none."""
    told = document.get("error")
    number = _number(told.get("error") if isinstance(told, Mapping) else told)
    if number == _NONE:
        return None
    if number == _MISSING:
        return ConfigError(
            "the Naas workspace has no such storage; make it or correct storage_name", store=store
        )
    if number == _EXISTS:
        return ConflictError("Naas says that there is such a storage already", store=store)
    return UnavailableError(f"Naas reports the error {number}", store=store)


def _number(value: Any) -> int:
    """Return an error's number, which may be written as a number, as text, or by its name; -1 for one not known."""
    if value is None or value == "":
        return _NONE
    if isinstance(value, int):
        return int(value)
    text = str(value).strip().upper()
    if text.isdecimal():
        return int(text)
    return next((number for end, number in _NAMED if text.endswith(end)), -1)


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnavailableError("Naas did not answer with a JSON object; is api_base right?")
    return found


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value.strip() if isinstance(value, str) else ""


def _strange(what: str, store: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"Naas answered with {what}; no keys can be had from it", store=store)
