"""One answer with keys, whoever gave it: what is in it, and when it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.backends._http import seconds, sendable
from holdfast.core.clock import moment
from holdfast.core.errors import InvalidRequestError, UnauthenticatedError

Document = Mapping[str, Any]
MOST: Final = 64 << 10  #: bytes of an answer with keys
_SECOND: Final = 1_000_000
_LAST: Final = 253_402_300_800_000  #: milliseconds until the year 10000
_MILLISECONDS: Final = 10**11  #: as seconds that would be the year 5138
#: Where things are, in the order of looking: AWS and what copies it, Vault, Naas and plain names.
_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "access_key": ("AccessKeyId", "data.access_key", "access_key_id", "access_key", "aws_access_key_id"),
    "secret_key": (
        "SecretAccessKey",
        "data.secret_key",
        "secret_access_key",
        "secret_key",
        "aws_secret_access_key",
    ),
    "token": (
        *("SessionToken", "Token", "data.security_token", "data.session_token", "session_token"),
        *("aws_session_token", "aws_security_token"),
    ),
    "expires": (
        *("Expiration", "expiration", "expires_at", "expires", "data.expiration"),
        *("aws_expiration", "aws_session_expiration", "x_security_token_expires"),
    ),
    "lifetime": ("lease_duration", "expires_in"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair, perhaps with a token and an end (microseconds since the epoch). Only the key id is shown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: int | None = None


def parsed(text: bytes, what: str) -> Document:
    """Return the JSON object that `text` is; `what` names its giver in the error, which shows nothing of it."""
    try:
        if len(text) <= MOST and isinstance(found := json.loads(text), dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise UnauthenticatedError(f"{what} did not give a JSON object with keys, of 64 KiB at most") from None


def keys_of(document: Document, fields: Mapping[str, str], *, now: int, what: str) -> Credentials:
    """Return the keys in `document`; `fields` says where they are, where that is not where they usually are.

    Raises:
        UnauthenticatedError: something is missing or cannot be read, or the keys have ended already.
    """
    access, secret = (_text(document, name, fields) for name in ("access_key", "secret_key"))
    if not access or not secret:
        lacking = "access_key" if not access else "secret_key"
        raise UnauthenticatedError(f"{what} gave no {lacking}; name its place in credentials_fields")
    token = _text(document, "token", fields) or None
    if not all(sendable(value) for value in (access, secret, token) if value):
        raise UnauthenticatedError(
            f"{what} gave keys that no request can carry: they are not printable ASCII"
        )
    return Credentials(access, secret, token, _expires(document, fields, now, what))


def ends(value: Any, what: str) -> int | None:
    """Return a time as servers write it: RFC 3339, with a space for the T, or seconds or milliseconds since the epoch.

    Raises:
        UnauthenticatedError: it is none of these.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not 0 <= value < _LAST:
                raise ValueError("out of reach")
            return int(value * (1000 if value >= _MILLISECONDS else _SECOND))
        text = str(value).strip()
        return ends(int(text), what) if text.isdecimal() else moment(text)
    except (InvalidRequestError, OverflowError, ValueError):
        raise UnauthenticatedError(f"{what} gave an end of the keys that cannot be read") from None


def _expires(document: Document, fields: Mapping[str, str], now: int, what: str) -> int | None:
    found = ends(_value(document, "expires", fields), what)
    lifetime = _value(document, "lifetime", fields)
    if found is None and (lasts := seconds(lifetime)):
        found = now + int(lasts * _SECOND)
    if found is not None and found <= now:
        raise UnauthenticatedError(
            f"{what} gave keys that have ended already; is this machine's clock right?"
        )
    return found


def _text(document: Document, name: str, fields: Mapping[str, str]) -> str:
    value = _value(document, name, fields)
    return value.strip() if isinstance(value, str) else ""


def _value(document: Document, name: str, fields: Mapping[str, str]) -> Any:
    for path in (fields[name],) if name in fields else _USUAL[name]:
        found: Any = document
        for step in path.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        if found not in (None, ""):
            return found
    return None
