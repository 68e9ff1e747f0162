"""Blobs on their way in: what they are described by, one request for a small one, and whether they arrived whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.backends.object_store import metadata
from holdfast.backends.object_store.control import Answer
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import digests
from holdfast.backends.object_store.gcs.client import GcsClient, foreign
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.core.backend import PutOptions
from holdfast.core.errors import CorruptedError, HoldfastError, NotFoundError

IF_NEW: Final = {"x-goog-if-generation-match": "0"}


def describing(settings: GcsSettings, options: PutOptions) -> dict[str, str]:
    """Return the headers of a request that makes a blob."""
    headers = {"content-type": metadata.check_content_type(options.content_type)} | stored(settings)
    return headers | {
        f"x-goog-meta-{name}": value for name, value in metadata.encode(options.metadata).items()
    }


def stored(settings: GcsSettings) -> dict[str, str]:
    """Return the headers that say how a new blob is kept."""
    headers = {"x-goog-storage-class": settings.storage_class} if settings.storage_class else {}
    if settings.kms_key:
        headers["x-goog-encryption-kms-key-name"] = settings.kms_key
    return headers


async def put_bytes(
    client: GcsClient, where: Where, key: str, data: bytes, headers: Mapping[str, str]
) -> str | None:
    """Store `data` in one request and return its ETag; the store refuses it when it arrives damaged."""
    crc = digests.sum_of(data)
    sent = {**headers, "x-goog-hash": digests.header(crc)}
    if where.if_absent:
        # Not sent again from here: a try whose answer was lost would meet itself.
        answer = await client.call(where, "PUT", key, headers=sent | IF_NEW, body=data, retries=0)
    else:
        answer = await client.call(where, "PUT", key, headers=sent, body=data)
    if not vouched(answer):
        answer = await seen(client, where, key, crc)
    await verify(client, where, key, answer, crc)
    return etag_of(answer)


def vouched(answer: Answer) -> bool:
    """Return whether an answer says what was made, as only the service can."""
    generation = answer.headers.get("x-goog-generation", "")
    return bool(etag_of(answer)) and (digests.told(answer.headers) is not None or generation.isdigit())


async def seen(client: GcsClient, where: Where, key: str, crc: int) -> Answer:
    """Return what the store says of the blob after an answer that did not; `UnavailableError` when it is not ours."""
    try:
        answer = await client.call(where, "HEAD", key)
    except NotFoundError as error:
        raise foreign(where) from error
    if digests.told(answer.headers) != crc:
        raise foreign(where)  # perhaps an older blob: nothing is taken back
    return answer


async def verify(client: GcsClient, where: Where, key: str, answer: Answer, crc: int) -> None:
    """Raise `CorruptedError`, and take the blob back, when the store reports other bytes than were sent."""
    found = digests.told(answer.headers)
    if found is None or found == crc:
        return
    generation = answer.headers.get("x-goog-generation", "")
    guard = {"x-goog-if-generation-match": generation} if generation.isdigit() else {}
    try:
        await client.call(where, "DELETE", key, headers=guard)
    except HoldfastError:
        pass  # the error that follows says that it was wrong in any case
    raise CorruptedError(
        "the store reports other bytes than were sent",
        operation=where.operation,
        store=where.store,
        name=where.name,
    )


def etag_of(answer: Answer) -> str | None:
    """Return the ETag of an answer without its quotes."""
    return answer.headers.get("etag", "").strip('"') or None
