"""`remote_storage.json`: drives of other companies, as stores where there is what they need, else as comments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from holdfast.config import backups as backup_settings
from holdfast.config.importing import google_drive, yandex_disk
from holdfast.config.importing.document import Imported, file_of
from holdfast.config.importing.harmless import harmless
from holdfast.core.errors import ConfigError

PROVIDERS: Final = frozenset({"yandex_disk", "google_drive"})
_TITLES: Final = {"yandex_disk": "Yandex.Disk", "google_drive": "Google Drive"}
_TOKENS: Final = ("oauth_token", "access_token")
_BACKUP: Final = "backups have no setting of this meaning; see docs/guides/backing-up.md"
_EXAMPLES: Final = ("YOUR_", "OPTIONAL_")


def imported(found: Mapping[str, Any], source: str, environ: Mapping[str, str] | None = None) -> Imported:
    """Return what the file means: stores, or comments where something lacks; objects stay where they are placed now."""
    made = Imported(source)
    for name in sorted(PROVIDERS & found.keys()):
        if not isinstance(found[name], Mapping):
            raise ConfigError(f"{name} must be a JSON object")
        if found[name].get("enabled") and opened(made, name, name, found[name], environ):
            made.note(f"stores.{name}", "no rule sends anything here yet; see docs/guides/placement.md")
            _stay(made)
        else:
            comment(made, name, found[name])
    backups(made, found.get("backup_settings") or {})
    for other in sorted(found.keys() - PROVIDERS - {"backup_settings"}):
        made.leave(other, "no provider that is known")
    return made


def _stay(made: Imported) -> None:
    """Let objects go where they go without this file: onto the local disk."""
    if "local" not in made.values["stores"]:
        made.put("stores.local.driver", "local")
        made.put("stores.local.path", "holdfast-data/objects")
        made.put("stores.local.create", True)
        made.put("placement.stores", ["local"])


def described(given: Mapping[str, Any]) -> bool:
    """Return whether a provider's table says more than that it is off."""
    return bool(given.get("enabled")) or any(value and not _example(value) for _, value in _members(given))


def opened(
    made: Imported,
    store: str,
    name: str,
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> bool:
    """Add a store that works, tuned by the variables of `environ`; False when there is not what it needs."""
    if name == google_drive.NAME:
        return google_drive.store(made, store, given, name)
    return yandex_disk.store(made, store, given, environ or {})


def comment(made: Imported, name: str, given: Mapping[str, Any]) -> None:
    """Write the store as a comment, with what it will need."""
    made.note("", "")
    made.note("", f"{_lacking(name)}. Its store will look like this:")
    for line in _lines(made, name, name, given):
        made.note("", f"  {line}")
    if given.get("enabled"):
        made.leave(f"{name}.enabled = true", f"nothing is placed there: {_lacking(name)}")


def stand_in(
    made: Imported,
    store: str,
    name: str,
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> None:
    """Add the store, or one that refuses every object, so that nothing that belongs there is kept anywhere else."""
    if opened(made, store, name, given, environ):
        return
    place = f"stores.{store}"
    made.put(f"{place}.driver", "memory")
    made.put(f"{place}.state", "down")
    made.put(f"{place}.labels", ["external"])
    made.note(
        place,
        f"{_lacking(name)}: this stand-in holds nothing. While it is down, uploads that belong there are refused and"
        " kept nowhere else. Leave it down until then; it will look like this:",
    )
    for line in _lines(made, store, name, given):
        made.note(place, f"  {line}")


def _lacking(name: str) -> str:
    """Return why there is no store that works."""
    if name == google_drive.NAME:
        return f"{_TITLES[name]} lacks credentials: {google_drive.NEEDS}"
    return f"{_TITLES[name]} lacks credentials: {yandex_disk.NEEDS}"


def _lines(made: Imported, store: str, name: str, given: Mapping[str, Any]) -> list[str]:
    """Return the lines of the store to come; what is not known to be harmless is kept apart, for files."""
    lines = [f"[stores.{store}]", f'driver = "{name}"']
    for path, value in _members(given):
        member = path.rpartition(".")[2]
        if not value or _example(value):
            if member in _TOKENS and not any(line.startswith("token_file") for line in lines):
                lines.append(f'token_file = "{file_of(f"stores.{store}.token")}"')
        elif harmless(member, value):
            lines.append(f"{member} = {json.dumps(value, ensure_ascii=False)}")
        else:
            usual = f"stores.{store}.{'token' if member in _TOKENS else member}"
            setting = usual if made.apart.get(usual, value) == value else f"stores.{store}.{path}"
            hidden = made.hide(setting, _plain(value)).removeprefix(f"stores.{store}.")
            lines.append(f'{hidden.replace(".", "_")}_file = "{file_of(f"stores.{store}.{hidden}")}"')
    return lines


def backups(made: Imported, given: Any) -> None:
    """Carry the settings of backups over; what means nothing here becomes a comment, or a file when it may be secret.

    Raises:
        ConfigError: they are no table.
    """
    if not isinstance(given, Mapping):
        raise ConfigError("backup_settings must be a JSON object")
    found, known = backup_settings.imported(given)
    for name, value in found.items():
        made.put(f"backup.{name}", value)
    if found:
        made.note("backup", "where they go and whom they are encrypted to is said with store and recipients")
    for path, value in _members(given, whole=True):
        if path in known:
            continue
        if harmless(path.rpartition(".")[2], value):
            made.leave(f"backup_settings.{path} = {_shown(value)}", _BACKUP)
        else:
            hidden = made.hide(f"backup_settings.{path}", _plain(value))
            made.leave(f"backup_settings.{path} (secret; with -o in {file_of(hidden)})", _BACKUP)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _members(given: Mapping[str, Any], above: str = "", *, whole: bool = False) -> list[tuple[str, Any]]:
    """Return the members with their dotted paths, also those of tables in the table."""
    found: list[tuple[str, Any]] = []
    for member, value in given.items():
        if isinstance(value, Mapping):
            found += _members(value, f"{above}{member}.", whole=whole)
        elif whole or member != "enabled":
            found.append((f"{above}{member}", value))
    return found


def _example(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_EXAMPLES)
