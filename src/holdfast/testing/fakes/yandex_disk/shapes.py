"""Answers as the service spells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from holdfast.testing.fakes.yandex_disk.disk import Disk, shown
from holdfast.testing.fakes.yandex_disk.things import Node, Refused

PAGE: Final = "<!DOCTYPE html><html><body><h1>Link expired</h1>{not json}</body></html>"
_SORTS: Final = frozenset({"name", "path", "created", "modified", "size"})
#: As the service is seen to write it: another scheme and host than the request came by.
_OPERATIONS: Final = "http://cloud-api.yandex.net/v1/disk/operations/"


def info(disk: Disk) -> dict[str, Any]:
    """Return what is known of the whole Disk."""
    return {
        "total_space": disk.rules.total_space,
        "used_space": disk.used,
        "trash_size": sum(node.size for node in disk.trash.values()),
        "max_file_size": disk.rules.max_file_size,
        "paid_max_file_size": 53_687_091_200,
        "is_paid": False,
        "revision": disk.clock.now(),
        "system_folders": {"applications": "disk:/Приложения", "downloads": "disk:/Загрузки/"},
        "unlimited_autoupload_enabled": False,
        "user": {"login": "fake", "uid": "1", "display_name": "Fake", "country": "ru", "is_child": False},
    }


def link(href: str, method: str = "GET", **more: str) -> dict[str, Any]:
    """Return a link."""
    return {"href": href, "method": method, "templated": False, **more}


def operation(token: str) -> dict[str, Any]:
    """Return the link to an operation."""
    return link(_OPERATIONS + token)


def error(refused: Refused) -> dict[str, str]:
    """Return the body of an error."""
    return {"message": f"Ошибка: {refused.code}", "description": refused.text, "error": refused.code}


def resource(node: Node, path: str, base: str) -> dict[str, Any]:
    """Return a file or folder, without what is in it."""
    found: dict[str, Any] = {
        "name": node.name,
        "path": path,
        "type": "dir" if node.is_folder else "file",
        "created": shown(node.created),
        "modified": shown(node.modified),
        "resource_id": node.id,
        "revision": node.modified,
        "comment_ids": {"private_resource": node.id, "public_resource": node.id},
        "exif": {},
    }
    if node.properties:
        found["custom_properties"] = dict(node.properties)
    if node.origin:
        found |= {"origin_path": node.origin, "deleted": shown(node.modified)}
    if node.content is not None:
        found |= {
            "size": node.content.size,
            "md5": node.content.md5,
            "sha256": node.content.sha256,
            "mime_type": "application/octet-stream",
            "media_type": "data",
            "antivirus_status": "clean",
            "file": f"{base}/download-source/{node.id.partition(':')[2]}",
        }
    return found


def embedded(node: Node, path: str, base: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of what is in a folder."""
    limit, offset = number(asked, "limit", 20), number(asked, "offset", 0)
    sort = asked.get("sort", "")
    children = ordered(node.children.values(), sort)
    page = children[offset : offset + limit]
    return {
        "sort": sort,
        "path": path,
        "limit": limit,
        "offset": offset,
        "total": len(children),
        "items": [resource(child, f"{path.rstrip('/')}/{child.name}", base) for child in page],
    }


def ordered(nodes: Iterable[Node], sort: str) -> list[Node]:
    """Return nodes in the order that is asked for. Names are compared without regard to case first, not by bytes."""
    by = sort.removeprefix("-")
    if by and by not in _SORTS:
        raise Refused(400, "FieldValidationError", "sort")

    def key(node: Node) -> Any:
        name = (node.name.casefold(), node.name)
        return {"created": node.created, "modified": node.modified, "size": node.size}.get(by, 0), name

    return sorted(nodes, key=key, reverse=sort.startswith("-"))


def only(found: Any, fields: str) -> Any:
    """Return what `fields` names of an answer: dots go into what is nested."""
    wanted: dict[str, Any] = {}
    for path in (part for part in fields.split(",") if part):
        here = wanted
        for step in path.split("."):
            here = here.setdefault(step, {})
    return _picked(found, wanted) if wanted else found


def number(asked: Mapping[str, str], name: str, default: int) -> int:
    """Return a number of the query."""
    text = asked.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise Refused(400, "FieldValidationError", name)
    return int(text)


def _picked(found: Any, wanted: Mapping[str, Any]) -> Any:
    if not wanted:
        return found
    if isinstance(found, list):
        return [_picked(one, wanted) for one in found]
    if isinstance(found, dict):
        return {name: _picked(found[name], inner) for name, inner in wanted.items() if name in found}
    return found
