"""Items as answers show them: only what `fields` asks for, numbers as text, times as RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from holdfast.testing.fakes.google_drive.state import NATIVE, Item

Tree = dict[str, Any]
FEW: Final = "kind,id,name,mimeType"


class FieldsError(ValueError):
    """Google would answer 400."""


def shown(item: Item) -> dict[str, Any]:
    """Return all that can be told of an item."""
    found: dict[str, Any] = {
        "kind": "drive#file",
        "id": item.id,
        "name": item.name,
        "mimeType": item.mime_type,
        "parents": list(item.parents),
        "createdTime": moment(item.created),
        "modifiedTime": moment(item.modified),
        "trashed": item.is_trashed,
        "explicitlyTrashed": item.trashed,
    }
    if not item.mime_type.startswith(NATIVE):
        found |= {
            "size": str(item.size),
            "quotaBytesUsed": str(item.size),
            "md5Checksum": item.md5,
            "sha256Checksum": item.sha256,
        }
    if item.drive:
        found |= {"driveId": item.drive, "teamDriveId": item.drive}
    if item.app_properties:
        found["appProperties"] = dict(item.app_properties)
    return found


def moment(micros: int) -> str:
    """Return a time as Drive writes it, to the millisecond."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parse(fields: str) -> Tree:
    """Return `a,b(c,d),e/f` as a tree; `FieldsError` for what is no mask."""
    tree, rest = _parse(fields.replace(" ", ""))
    if rest:
        raise FieldsError(fields)
    return tree


def pick(value: Any, tree: Tree) -> Any:
    """Return of `value` only what the tree names; `*` names all."""
    if not tree or "*" in tree:
        return value
    if isinstance(value, list):
        return [pick(one, tree) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: pick(value[name], below) for name, below in tree.items() if name in value}


def _parse(text: str) -> tuple[Tree, str]:
    tree: Tree = {}
    while True:
        end = next((at for at, char in enumerate(text) if char in ",()/"), len(text))
        name, text = text[:end], text[end:]
        if not name:
            raise FieldsError("an empty name")
        place = tree.setdefault(name, {})
        while text.startswith("/"):
            end = next((at for at, char in enumerate(text[1:], 1) if char in ",()/"), len(text))
            place = place.setdefault(text[1:end], {})
            text = text[end:]
        if text.startswith("("):
            below, text = _parse(text[1:])
            if not text.startswith(")"):
                raise FieldsError("a parenthesis is open")
            place.update(below)
            text = text[1:]
        if not text.startswith(","):
            return tree, text
        text = text[1:]
