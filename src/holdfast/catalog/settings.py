"""Settings of tenants, buckets and keys as the text that a column holds. The same text is decoded only once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from holdfast.core.types import BucketSettings, KeySettings, TenantSettings

_BUCKET = BucketSettings()
_TENANT = TenantSettings()
_KEY = KeySettings()
_encode = msgspec.json.Encoder(order="deterministic").encode


def settings_text(settings: BucketSettings | TenantSettings | KeySettings) -> str:
    """Return `settings` as a column holds them: "" for all defaults."""
    return "" if settings in (_BUCKET, _TENANT, _KEY) else _encode(settings).decode()


def bucket_settings(text: str) -> BucketSettings:
    """Return what `settings_text` was given."""
    return _decoded(text, BucketSettings) if text else _BUCKET


def tenant_settings(text: str) -> TenantSettings:
    """Return what `settings_text` was given."""
    return _decoded(text, TenantSettings) if text else _TENANT


def key_settings(text: str) -> KeySettings:
    """Return what `settings_text` was given."""
    return _decoded(text, KeySettings) if text else _KEY


@lru_cache(4096)
def _decoded(text: str, kind: type[Any]) -> Any:
    return msgspec.json.decode(text, type=kind)
