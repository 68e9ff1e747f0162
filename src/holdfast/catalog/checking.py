"""Rows out of a backup, checked before any of them is used: whoever may write to the store may have written them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Boolean, Float, Integer, LargeBinary, Table

from holdfast.catalog.dumping import KEPT, table
from holdfast.catalog.rows import mapping_of
from holdfast.catalog.schema import segments, versions
from holdfast.catalog.settings import bucket_settings, key_settings, tenant_settings
from holdfast.core.errors import HoldfastError
from holdfast.core.names import check_bucket, check_key, check_schedule, check_store, check_tenant

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_MOST: Final = 1 << 62
#: What a version of an older release may lack.
_LATER: Final = frozenset(
    {
        "bucket_id",
        "version_id",
        "expires",
        "storage_class",
        "tier",
        "pin",
        "hold",
        "locked_until",
        "lock_mode",
    }
)
_CHECKS: Final[Mapping[str, Mapping[str, Callable[[str], Any]]]] = {
    "tenants": {"name": check_tenant, "settings": tenant_settings},
    "buckets": {"tenant": check_tenant, "name": check_bucket, "settings": bucket_settings},
    "api_keys": {"tenant": check_tenant, "settings": key_settings},
    "executions": {"tenant": check_tenant},
    "artifacts": {"tenant": check_tenant},
    "schedules": {"name": check_schedule},
    "stores": {"name": check_store},
    "versions": {
        "tenant": check_tenant,
        "bucket": check_bucket,
        "key": check_key,
        "metadata": mapping_of,
        "tags": mapping_of,
    },
}


def check_row(name: str, row: Any) -> None:
    """Return when a row of the table `name` can be used.

    Raises:
        ValueError: saying what of it cannot be.
    """
    if not isinstance(row, dict):
        raise ValueError("a row is no object")
    if name != "versions":
        if name in KEPT:
            _check_columns(
                table(name), row, needed={column.name for column in table(name).primary_key} & set(row)
            )
            _check_names(name, row)
        return
    _check_columns(versions, row, needed={column.name for column in versions.columns if not column.nullable})
    _check_names(name, row)
    if not isinstance(row.get("current"), bool) or not isinstance(row.get("segments"), list):
        raise ValueError("a version does not say whether it is current, or has no list of segments")
    _check_id(row["id"])
    if row["seq"] < 1 or row["size"] < 0:
        raise ValueError("a version has no such number, or no such size")
    for one in row["segments"]:
        if not isinstance(one, dict):
            raise ValueError("a segment is no object")
        _check_columns(
            segments, one, needed={column.name for column in segments.columns if not column.nullable}
        )
        _check_id(one["id"])
        if one["size"] < 0:
            raise ValueError("a segment has no such size")
    if row["segments"] and sum(one["size"] for one in row["segments"]) != row["size"]:
        raise ValueError("the segments of a version are not as long as it")


def _check_columns(found: Table, row: Mapping[str, Any], *, needed: set[str]) -> None:
    if lacking := sorted(needed - set(row) - _LATER):
        raise ValueError(f"a row of {found.name} has no {lacking[0]}")
    for column in found.columns:
        value = row.get(column.name)
        if value is None:
            if column.name in needed - _LATER:
                raise ValueError(f"{column.name} of a row of {found.name} is empty")
            continue
        kind = column.type
        if isinstance(kind, Boolean):
            fits = isinstance(value, bool)
        elif isinstance(kind, Integer):  # whole numbers that both databases hold
            fits = type(value) is int and -_MOST <= value <= _MOST
        elif isinstance(kind, Float):
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        else:
            fits = isinstance(value, bytes if isinstance(kind, LargeBinary) else str)
        if not fits:
            raise ValueError(f"{column.name} of a row of {found.name} is no {type(kind).__name__}")
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"{column.name} of a row of {found.name} holds NUL")


def _check_names(name: str, row: Mapping[str, Any]) -> None:
    for column, check in _CHECKS.get(name, {}).items():
        if isinstance(value := row.get(column), str) and value:
            try:
                check(value)
            except HoldfastError as error:
                raise ValueError(error.message) from None
    key = {"tenants": ("name",), "buckets": ("tenant", "name"), "versions": ("tenant", "bucket", "key")}
    for column in key.get(name, ()):
        if not isinstance(row.get(column), str) or not row[column]:
            raise ValueError(f"a row of {name} has no {column}")


def _check_id(given: str) -> None:
    if not _ID.fullmatch(given):
        raise ValueError(f"{given[:80]!r} is no id")
