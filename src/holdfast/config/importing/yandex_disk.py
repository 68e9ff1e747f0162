"""Yandex.Disk as older configurations write it, turned into a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from holdfast.config.importing.document import Imported, file_of
from holdfast.config.importing.harmless import harmless
from holdfast.core.errors import ConfigError

DRIVER: Final = "yandex_disk"
NEEDS: Final = (
    "an oauth_token, or a refresh_token with client_id and client_secret; see docs/guides/yandex-disk.md"
)
_TOKENS: Final = ("oauth_token", "token", "access_token")
_SECRETS: Final = ("client_secret", "refresh_token")
_PLAIN: Final = ("client_id", "api_url", "oauth_url", "allow_http")
_MIB: Final = 1 << 20
_FOLDER: Final = "disk:/holdfast"


def _mib(text: str) -> float:
    return float(text) * _MIB


#: Variables of the older service: the setting that each is here, and how its value is read.
VARIABLES: Final[Mapping[str, tuple[str, Callable[[str], float]]]] = {
    "YANDEX_REQUEST_TIMEOUT": ("request_timeout", float),
    "YANDEX_CHUNK_SIZE_MB": ("chunk_size", _mib),
    "YANDEX_UPLOAD_CONCURRENCY": ("upload_concurrency", float),
    "YANDEX_DIRECTORY_CACHE_TTL": ("directory_cache_ttl", float),
    "YANDEX_DIRECTORY_CACHE_SIZE": ("directory_cache_size", float),
    "YANDEX_SESSION_POOL_MAXSIZE": ("connections", float),
}
#: Counted connection pools, one for each host; there is nothing to count here.
WITHOUT: Final = "YANDEX_SESSION_POOL_CONNECTIONS"


def store(made: Imported, name: str, said: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Add the store `name`, as the variables of the older service tune it; False, and nothing is added, without credentials.

    Raises:
        ConfigError: a variable is no number, or two tokens are given that differ.
    """
    given = _flat(said)
    if not _usable(given):
        return False
    place = f"stores.{name}"
    made.put(f"{place}.driver", DRIVER)
    made.put(
        f"{place}.root",
        f"{_FOLDER}/{name}",
        "a folder of its own: not the one that holds the files of before",
    )
    made.put(f"{place}.labels", ["external"])
    tokens = {str(given[one]) for one in _TOKENS if _real(given.get(one))}
    if len(tokens) > 1:
        raise ConfigError(f"{name} has two tokens that differ ({', '.join(_TOKENS)}); leave one of them")
    for token in tokens:
        made.secrets[f"{place}.token"] = token
    for member in _SECRETS:
        if _real(given.get(member)):
            made.secrets[f"{place}.{member}"] = str(given[member])
    for member in _PLAIN:
        if _real(given.get(member)):
            made.put(f"{place}.{member}", given[member])
    for variable, (setting, _) in VARIABLES.items():
        if environ.get(variable):
            made.put(f"{place}.{setting}", number(variable, environ[variable]))
    known = {*_TOKENS, *_SECRETS, *_PLAIN, "enabled"}
    for other in sorted(given.keys() - known):
        if harmless(other, given[other]):
            shown = f" = {given[other]}"
        else:
            value = given[other]
            kept = made.hide(f"{place}.{other}", value if isinstance(value, str) else json.dumps(value))
            shown = f" (secret; with -o in {file_of(kept)})"
        made.leave(f"{name}.{other}{shown}", "no setting of a store on Yandex.Disk")
    return True


def _usable(given: Mapping[str, Any]) -> bool:
    """Return whether a table holds what it takes to come in: a token, or all that one is got with."""
    if any(_real(given.get(name)) for name in _TOKENS):
        return True
    return all(_real(given.get(name)) for name in ("client_id", *_SECRETS))


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members, those of `credentials` among them."""
    inner = said.get("credentials")
    return {
        **{name: value for name, value in said.items() if name != "credentials"},
        **(inner if isinstance(inner, Mapping) else {}),
    }


def number(variable: str, text: str) -> int | float:
    """Return what a variable says, in the unit of its setting; `ConfigError` when that is no number."""
    try:
        found = VARIABLES[variable][1](text.strip())
    except ValueError:
        raise ConfigError(f"{variable} must be a number") from None
    return int(found) if found.is_integer() else found


def _real(value: Any) -> bool:
    """Return whether something is said; what an example says is nothing."""
    return bool(value) and not str(value).startswith(("YOUR_", "OPTIONAL_"))
