"""Copies that the service makes, inside a bucket or from another one: in one request, or in as many as it wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs.client import GcsClient
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.backends.object_store.multipart import COMPLETE_SECONDS
from holdfast.core.errors import PreconditionFailedError, UnavailableError

_MOST_REWRITES: Final = 100_000
_MOST_IN_VAIN: Final = 3  #: answers in a row that tell of no more bytes than the one before
_META: Final = "x-goog-meta-"
#: What the service keeps of an object, by the header that shows it and the name that the JSON interface has for it.
_KEPT: Final = {
    "content-type": "contentType",
    "content-disposition": "contentDisposition",
    "content-language": "contentLanguage",
    "cache-control": "cacheControl",
}


async def copy(
    client: GcsClient, where: Where, origin: GcsSettings, source: str, found: Mapping[str, str], target: str
) -> None:
    """Make `target` a copy of the object at key `source` of the bucket of `origin`; metadata goes along.

    `found` is what a HEAD of the source told. Nothing is visible before the last request.

    Raises:
        NotFoundError, PermissionDeniedError: the source is not there, or `client` may not read it.
        UnavailableError: the source was changed meanwhile, or the service does not get on.
    """
    body = _described(client, found)
    asked = {"ifSourceGenerationMatch": generation} if (generation := _number(found)) else {}
    if client.settings.kms_key:
        asked["destinationKmsKeyName"] = client.settings.kms_key
    if origin.user_project and not client.settings.user_project:
        asked["userProject"] = origin.user_project  # somebody has to pay for reading there
    path = f"/storage/v1/{_place(origin.bucket, source)}/rewriteTo/{_place(client.settings.bucket, target)}"
    token, done, vain = "", -1, 0
    for _ in range(_MOST_REWRITES):
        answer = await _asked(
            client, where, path, {**asked, **({"rewriteToken": token} if token else {})}, body
        )
        if answer.get("done") is True:
            return
        before, token = done, str(answer.get("rewriteToken") or "")
        done = _bytes(answer)
        vain = vain + 1 if done <= before else 0
        if not token or vain >= _MOST_IN_VAIN:
            break
    raise UnavailableError(
        "the store does not get on with the copy",
        operation=where.operation,
        store=where.store,
        name=where.name,
    )


async def _asked(
    client: GcsClient, where: Where, path: str, query: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    target = f"{path}?{urlencode(query)}" if query else path
    try:
        return await client.json(where, "POST", target, body=body, patience=COMPLETE_SECONDS)
    except PreconditionFailedError as error:
        raise UnavailableError(
            "the source was changed while it was to be copied",
            operation=where.operation,
            store=where.store,
            name=where.name,
        ) from error


def _described(client: GcsClient, found: Mapping[str, str]) -> bytes:
    """Return what is said of the copy: nothing, and it is as its source; all of it where it has a class of its own.

    Also of what others stored compressed: the copy is just bytes, which nobody is to unpack.
    """
    packed = found.get("x-goog-stored-content-encoding", "identity") not in ("", "identity")
    if not (client.settings.storage_class or packed):
        return b""
    told: dict[str, Any] = {name: found[header] for header, name in _KEPT.items() if header in found}
    told["metadata"] = {
        name.removeprefix(_META): value for name, value in found.items() if name.startswith(_META)
    }
    if client.settings.storage_class:
        told["storageClass"] = client.settings.storage_class
    return json.dumps(told).encode()


def _place(bucket: str, key: str) -> str:
    return f"b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"


def _number(found: Mapping[str, str]) -> str:
    """Return the generation that an answer tells, "" when it tells none."""
    told = found.get("x-goog-generation", "")
    return told if told.isdigit() else ""


def _bytes(answer: Mapping[str, Any]) -> int:
    told = str(answer.get("totalBytesRewritten", ""))
    return int(told) if told.isdigit() else 0
