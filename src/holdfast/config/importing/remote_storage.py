"""`remote_storage.json`: drives of other companies. There are no drivers for them yet, and nothing pretends otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from holdfast.config.importing.document import Imported, file_of
from holdfast.core.errors import ConfigError

PROVIDERS: Final = frozenset({"yandex_disk", "google_drive"})
_TITLES: Final = {"yandex_disk": "Yandex.Disk", "google_drive": "Google Drive"}
#: Members of a provider's table, or of `credentials` in it, that hold secrets.
_SECRET: Final = frozenset(
    {"oauth_token", "access_token", "refresh_token", "token", "client_secret", "password"}
)
_EXAMPLES: Final = ("YOUR_", "OPTIONAL_")


def imported(found: Mapping[str, Any], source: str) -> Imported:
    """Return what the file means: comments, until there are drivers; objects stay where they are placed now."""
    made = Imported(source)
    for name in sorted(PROVIDERS & found.keys()):
        if not isinstance(found[name], Mapping):
            raise ConfigError(f"{name} must be a JSON object")
        comment(made, name, found[name])
    for other in sorted(found.keys() - PROVIDERS):
        made.leave(other, "no provider that is known")
    return made


def described(given: Mapping[str, Any]) -> bool:
    """Return whether a provider's table says more than that it is off."""
    return bool(given.get("enabled")) or any(value and not _example(value) for _, value in _members(given))


def comment(made: Imported, name: str, given: Mapping[str, Any]) -> None:
    """Write the store as a comment, with what it will need."""
    made.note("", "")
    made.note("", f"{_TITLES[name]} has no driver yet. Its store will look like this:")
    for line in _lines(made, name, name, given):
        made.note("", f"  {line}")
    if given.get("enabled"):
        made.leave(f"{name}.enabled = true", "nothing is placed there until there is a driver")


def stand_in(made: Imported, store: str, name: str, given: Mapping[str, Any]) -> None:
    """Add a store that refuses every object, so that nothing that belongs there is kept anywhere else."""
    place = f"stores.{store}"
    made.put(f"{place}.driver", "memory")
    made.put(f"{place}.state", "down")
    made.put(f"{place}.labels", ["external"])
    made.note(
        place,
        f"{_TITLES[name]} has no driver yet: this stand-in holds nothing. While it is down, uploads that belong there"
        " are refused and kept nowhere else. Leave it down until the driver is there; it will look like this:",
    )
    for line in _lines(made, store, name, given):
        made.note(place, f"  {line}")


def _lines(made: Imported, store: str, name: str, given: Mapping[str, Any]) -> list[str]:
    """Return the lines of the store to come; its secrets are kept apart, for files."""
    lines = [f"[stores.{store}]", f'driver = "{name}"']
    for member, value in _members(given):
        if member in _SECRET:
            setting = f"stores.{store}.{'token' if member in ('oauth_token', 'access_token') else member}"
            lines.append(f'{setting.rpartition(".")[2]}_file = "{file_of(setting)}"')
            if isinstance(value, str) and value and not _example(value):
                made.apart[setting] = value
        elif value and not _example(value):
            lines.append(f"{member} = {json.dumps(value, ensure_ascii=False)}")
    return lines


def _members(given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for member, value in given.items():
        if isinstance(value, Mapping):
            found += _members(value)
        elif member != "enabled":
            found.append((member, value))
    return found


def _example(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_EXAMPLES)
