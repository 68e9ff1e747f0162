"""The members of a job's spec, checked one by one; each complaint names the member and what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.sizes import parse_size

_LONGEST: Final = 3660 * 86400.0  #: seconds
_KEY_MARK: Final = "AGE-SECRET-KEY-"


def known(spec: Mapping[str, Any], *names: str) -> None:
    """Refuse members that are none of `names`."""
    if unknown := sorted(set(spec) - set(names)):
        raise InvalidRequestError(
            f"there is no member {unknown[0]!r:.80}; there are {', '.join(sorted(names))}"
        )


def text(spec: Mapping[str, Any], name: str, default: str | None = "") -> str:
    """Return a text; `default` None: it must be there."""
    value = spec.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise InvalidRequestError(f"{name} is a text" + (", and must be given" if default is None else ""))
    return value


def file(spec: Mapping[str, Any], name: str) -> str:
    """Return the absolute path of a file, "" where nothing is said. Anything else might be a secret, and is not shown."""
    value = text(spec, name)
    if value and (not Path(value).is_absolute() or not value.isprintable() or _KEY_MARK in value.upper()):
        raise InvalidRequestError(
            f"{name} is the absolute path of a file where the job runs; what is in it never goes into a job"
        )
    return value


def flag(spec: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """Return a yes or no."""
    value = spec.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} is true or false")
    return value


def seconds(spec: Mapping[str, Any], name: str, default: float | None = None) -> float | None:
    """Return a time of 0 seconds to ten years, None where nothing is said."""
    value = spec.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise InvalidRequestError(f"{name} is a number of seconds from 0 to ten years")
    return float(value)


def size(spec: Mapping[str, Any], name: str) -> int | None:
    """Return a number of bytes, as a number or as `10MB`; None where nothing is said."""
    value = spec.get(name)
    if value is None:
        return None
    try:
        found = parse_size(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {error}") from None
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise InvalidRequestError(f"{name} is a number of bytes, or a size as 10MB")
    return found


def texts(spec: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return a mapping of texts to texts."""
    value = spec.get(name, {})
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and isinstance(one, str) for key, one in value.items()
    ):
        raise InvalidRequestError(f"{name} is a mapping of names to texts")
    return dict(value)
