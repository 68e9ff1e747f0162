"""Google Drive as the older formats write it, turned into a store, if there is what a store needs to get in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from holdfast.config.importing.document import Imported, file_of
from holdfast.config.importing.harmless import harmless

NAME: Final = "google_drive"
NEEDS: Final = (
    "a refresh_token with client_id and client_secret, or the JSON key of a service_account; see"
    " docs/guides/google-drive.md"
)
_HOUR: Final = (
    "this access token ends about an hour after it was made, and nothing renews it: the store works until then, and"
    f" refuses everything afterwards. Replace `token` by {NEEDS}"
)
_EXAMPLES: Final = ("YOUR_", "OPTIONAL_")
_PLAIN: Final = ("folder_id", "drive_id", "client_id", "subject")
_ACCOUNT: Final = ("client_email", "private_key")


def store(made: Imported, name: str, given: Mapping[str, Any], where: str) -> bool:
    """Add the store `name`; False, and nothing is added, when there are no credentials."""
    found = _flat(given)
    secrets = _credentials(found)
    if not secrets:
        return False
    place = f"stores.{name}"
    made.put(f"{place}.driver", NAME)
    made.put(f"{place}.labels", ["external"])
    if "token" in secrets:
        made.note(place, _HOUR)
    used = set(secrets) | {"access_token", *_ACCOUNT}
    for member in _PLAIN:
        if member in found and (member != "client_id" or "refresh_token" in secrets):
            used.add(member)
            made.put(f"{place}.{member}", str(found[member]))
    for member, secret in secrets.items():
        made.secrets[f"{place}.{member}"] = secret
    for member in sorted(found.keys() - used - {"enabled"}):
        _leave(made, place, f"{where}.{member}", member, found[member], account="service_account" in secrets)
    return True


def _credentials(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets that get a store in, by their settings: the best of what is there."""
    if found.get("refresh_token") and found.get("client_id") and found.get("client_secret"):
        return {member: str(found[member]) for member in ("refresh_token", "client_secret")}
    key = found.get("service_account")
    if isinstance(key, str) and key:
        return {"service_account": key}
    if all(found.get(member) for member in _ACCOUNT):
        members = (*_ACCOUNT, "private_key_id", "project_id", "token_uri", "type")
        return {"service_account": json.dumps({one: found[one] for one in members if found.get(one)})}
    if found.get("access_token"):
        return {"token": str(found["access_token"])}
    return {}


def _leave(made: Imported, place: str, line: str, member: str, value: Any, *, account: bool) -> None:
    """Say that a member has no counterpart; what may be secret is kept in a file, unless the key's own file has it."""
    if account and member in ("private_key_id", "project_id", "token_uri", "type"):
        return
    if harmless(member, value):
        made.leave(f"{line} = {value}", "no setting of a Google Drive store")
        return
    kept = made.hide(f"{place}.{member}", value if isinstance(value, str) else json.dumps(value))
    made.leave(f"{line} (secret; with -o in {file_of(kept)})", "no setting of a Google Drive store")


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members, those of `credentials` among them, without what only stands for a value."""
    found: dict[str, Any] = {}
    for member, value in given.items():
        if isinstance(value, Mapping) and member == "credentials":
            found |= _flat(value)
        elif isinstance(value, Mapping) and member == "service_account":
            found[member] = json.dumps(value)
        elif value not in (None, "") and not (isinstance(value, str) and value.startswith(_EXAMPLES)):
            found[member] = value
    return found
