"""What of an older configuration may be shown: only what is known to be no secret; all else is treated as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

#: Members whose values tell nothing that has to be kept secret.
_HARMLESS: Final = frozenset(
    {
        *("auto_split_backups", "max_backup_size_mb", "chunk_size_mb", "compression", "compression_level"),
        *("schedule", "interval", "interval_hours", "retention_days", "keep", "max_backups", "destination"),
        *("base_path", "path", "root", "root_path", "backup_path", "folder", "folder_id", "root_folder_id"),
        *("client_id", "client_email", "project_id", "scope", "scopes", "type", "storage_type", "name"),
        *("timeout", "retries", "max_retries", "chunk_size", "page_size", "region", "enabled"),
    }
)


def harmless(member: str, value: Any) -> bool:
    """Return whether a member may be shown with its value."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, list | tuple):
        return all(harmless(member, one) for one in value)
    if isinstance(value, Mapping) or member.lower() not in _HARMLESS:
        return False
    return not isinstance(value, str) or not (_address(value) and carries_password(value))


def carries_password(url: str) -> bool:
    """Return whether a URL holds more than a place: a user, a password, or members that may be one."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        return bool(parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        return True


def _address(text: str) -> bool:
    return "://" in text or "@" in text
