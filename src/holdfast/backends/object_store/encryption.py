"""The headers by which S3 is asked to encrypt what it stores."""

from __future__ import annotations

import base64
import hashlib

from holdfast.backends.object_store.settings import S3Settings

_CUSTOMER = "x-amz-server-side-encryption-customer"
_SOURCE = "x-amz-copy-source-server-side-encryption-customer"


def write_headers(settings: S3Settings, *, awake: bool = False) -> dict[str, str]:
    """Return the headers of a request that makes a blob: storage class and encryption; `awake`: one that can be read."""
    placed = settings.storage_class and not (awake and settings.sleeps)
    headers = {"x-amz-storage-class": settings.storage_class} if placed else {}
    if settings.sse == "sse-s3":
        headers["x-amz-server-side-encryption"] = "AES256"
    elif settings.sse == "sse-kms":
        headers["x-amz-server-side-encryption"] = "aws:kms"
        if settings.sse_kms_key_id:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = settings.sse_kms_key_id
    return headers | key_headers(settings)


def key_headers(settings: S3Settings) -> dict[str, str]:
    """Return the headers that every request on a blob's bytes needs: the customer's key under SSE-C, else nothing."""
    return _customer(settings, _CUSTOMER)


def source_headers(settings: S3Settings) -> dict[str, str]:
    """Return the headers by which the source of a copy is read."""
    return _customer(settings, _SOURCE)


def _customer(settings: S3Settings, prefix: str) -> dict[str, str]:
    if settings.sse != "sse-c":
        return {}
    key = settings.sse_c_key.get_secret_value()
    digest = hashlib.md5(base64.b64decode(key), usedforsecurity=False).digest()
    return {
        f"{prefix}-algorithm": "AES256",
        f"{prefix}-key": key,
        f"{prefix}-key-md5": base64.b64encode(digest).decode(),
    }
