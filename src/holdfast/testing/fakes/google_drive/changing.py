"""What calls do to files: made, changed, copied, deleted, with the rules that Drive keeps."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from holdfast.testing.fakes.google_drive.answers import Refused, not_found
from holdfast.testing.fakes.google_drive.state import FOLDER, NATIVE, Item, Person, State

_PAIR: Final = 124
_PROPERTIES: Final = 30
_WRITABLE: Final = frozenset(
    {"id", "name", "mimeType", "parents", "appProperties", "properties", "trashed", "description"}
)


class Changing:
    """The rules, over a state."""

    def __init__(self, state: State) -> None:
        self.state = state

    def visible(self, request: web.Request, person: Person, id: str) -> Item:
        """Return an item that the person is shown; 404 for all others, and without `supportsAllDrives`."""
        item = self.state.find(person.root if id == "root" else id)
        if item is None or not self.state.may_see(person.email, item):
            raise not_found(id)
        if item.drive and request.query.get("supportsAllDrives") != "true":
            raise not_found(id)
        return item

    def writable(self, person: Person, item: Item) -> None:
        """Refuse who may only read."""
        if item.drive and self.state.drives[item.drive].get(person.email) == "reader":
            raise Refused(
                403, "insufficientFilePermissions", "The user does not have sufficient permissions."
            )

    def prepared(
        self, request: web.Request, person: Person, meta: Mapping[str, Any], size: int | None
    ) -> Item:
        """Return the item that a create will make, checked, not yet there. `size` is None without content."""
        _known(meta)
        parents = list(meta.get("parents") or [person.root])
        if len(parents) != 1:
            raise Refused(403, "multipleParentsNotAllowed")
        above = self.visible(request, person, str(parents[0]))
        self.writable(person, above)
        if not above.folder:
            raise Refused(403, "parentNotAFolder")
        inside = (
            sum(1 for item in self.state.items.values() if above.id in item.parents)
            if size is not None
            else 0
        )
        if inside >= self.state.folder_limit:
            raise Refused(403, "numChildrenInNonRootLimitExceeded")
        id = str(meta.get("id") or "")
        if id and id in self.state.items:
            raise Refused(409, "fileIdInUse", "A file already exists with the provided ID.")
        if id and id not in self.state.reserved:
            raise Refused(400, "invalid", "The provided file ID is not usable.")
        item = Item(
            id or self.state.new_id(),
            str(meta.get("name") or "Untitled"),
            str(meta.get("mimeType") or "application/octet-stream"),
            [above.id],
            above.owner,
            above.drive,
            app_properties=_properties(meta.get("appProperties") or {}),
        )
        if size is not None:
            self.room(item, size)
        return item

    def room(self, item: Item, size: int) -> None:
        """Refuse what has no room: of a service account, everything in a drive of its own."""
        owner = self.state.people.get(item.owner)
        if item.drive or owner is None:
            return
        if owner.service:
            raise Refused(
                403,
                "storageQuotaExceeded",
                "Service Accounts do not have storage quota. Leverage shared drives, or use OAuth delegation instead.",
            )
        if owner.limit is not None and self.state.used(owner.email) - item.size + size > owner.limit:
            raise Refused(403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.")

    def make(self, item: Item, source: Path | bytes | None) -> Item:
        """Let a prepared item appear, whole; a second one of the same id is refused."""
        if item.id in self.state.items:
            raise Refused(409, "fileIdInUse", "A file already exists with the provided ID.")
        if source is not None:
            self.state.fill(item, source)
        return self.state.put(item)

    def replace(self, item: Item, meta: Mapping[str, Any], source: Path | bytes) -> Item:
        """Give an item other content."""
        self.room(item, source.stat().st_size if isinstance(source, Path) else len(source))
        self.state.fill(item, source)
        self.update(item, meta)
        item.modified = self.state.now()
        return item

    def update(self, item: Item, meta: Mapping[str, Any]) -> Item:
        """Change what is said of an item. Parents are moved by the query, never by the body."""
        if {"parents", "addParents", "removeParents"} & meta.keys():
            raise Refused(
                403,
                "fieldNotWritable",
                "The parents field is not directly writable in update requests."
                " Use the addParents and removeParents parameters instead.",
            )
        _known(meta)
        item.name = str(meta.get("name", item.name))
        item.mime_type = str(meta.get("mimeType", item.mime_type))
        item.trashed = bool(meta.get("trashed", item.trashed))
        for key, value in (meta.get("appProperties") or {}).items():
            if value is None:
                item.app_properties.pop(key, None)
            else:
                item.app_properties[key] = str(value)
        _properties(item.app_properties)
        return self.state.put(item)

    def move(self, request: web.Request, person: Person, item: Item) -> None:
        """Carry out `addParents` and `removeParents`."""
        added = [one for one in request.query.get("addParents", "").split(",") if one]
        removed = {one for one in request.query.get("removeParents", "").split(",") if one}
        if not added and not removed:
            return
        targets = [self.visible(request, person, one) for one in added]
        parents = [one for one in item.parents if one not in removed] + [one.id for one in targets]
        if len(parents) != 1:
            raise Refused(403, "multipleParentsNotAllowed")
        item.parents = parents
        item.drive = targets[0].drive if targets else item.drive

    def copy(self, request: web.Request, person: Person, source: Item, meta: Mapping[str, Any]) -> Item:
        """Make an item of the content of another one; its properties come along where none are given."""
        if source.folder:
            raise Refused(403, "cannotCopyFile")
        given = {"parents": list(source.parents), "name": f"Copy of {source.name}", **meta}
        given.setdefault("mimeType", source.mime_type)
        item = self.prepared(request, person, given, source.size)
        item.app_properties = _properties({**source.app_properties, **item.app_properties})
        content: Path | bytes = source.data
        if source.path is not None:
            content = self.state.new_path()
            shutil.copyfile(source.path, content)
        return self.make(item, content)

    def delete(self, person: Person, item: Item) -> None:
        """Delete for good. In a shared drive that takes an organizer; others may use the trash."""
        if item.drive and self.state.drives[item.drive].get(person.email) != "organizer":
            raise Refused(
                403, "insufficientFilePermissions", "The user does not have sufficient permissions."
            )
        self.state.remove(item)


def _known(meta: Mapping[str, Any]) -> None:
    if strange := meta.keys() - _WRITABLE:
        raise Refused(400, "invalid", f"Unknown name: {sorted(strange)[0]}")
    mime = str(meta.get("mimeType") or "")
    if mime.startswith(NATIVE) and mime != FOLDER:
        raise Refused(400, "badRequest", "Native documents are not made here.")


def _properties(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the properties when they fit: 30 of 124 bytes each, the key among them."""
    for key, value in found.items():
        if len(f"{key}{value}".encode()) > _PAIR:
            raise Refused(400, "propertyTooLarge", "A property has more than 124 bytes.")
    if len(found) > _PROPERTIES:
        raise Refused(400, "tooManyProperties", "There are more than 30 properties.")
    return {str(key): str(value) for key, value in found.items()}
