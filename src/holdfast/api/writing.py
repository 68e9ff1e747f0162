"""PUT and DELETE of an object by its path, and copies."""

from __future__ import annotations

from typing import Final

from holdfast.api.body import MAX_JSON, body_of, small_body
from holdfast.api.conditions import conditions_of
from holdfast.api.describe import about_of, version_headers
from holdfast.api.exchange import Exchange, decode_once
from holdfast.api.models import Copy, Done, decode, encode, stored
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import NO_DIGESTS, Version
from holdfast.engine.write import ObjectInput

COPY_SOURCE: Final = b"x-holdfast-copy-source"


async def put_object(exchange: Exchange, bucket: str, key: str) -> None:
    """Store the request's body, or a copy of the object that `x-holdfast-copy-source` names; answers 201."""
    if COPY_SOURCE in exchange.headers:
        version = await _copy_by_header(exchange, bucket, key)
    else:
        about, conditions = about_of(exchange), conditions_of(exchange)
        if b"expect" in exchange.headers:
            await exchange.session.expect_put(bucket, key, size=exchange.length, conditions=conditions)
        version = await exchange.session.put(
            bucket,
            key,
            await body_of(exchange),
            about,
            conditions=conditions,
            idempotency_key=exchange.header(b"idempotency-key"),
        )
    await exchange.answer_json(201, encode(stored(version)), version_headers(version))


async def delete_object(exchange: Exchange, bucket: str, key: str) -> None:
    """Remove an object, or the version named in the query; 204 also when nothing was there."""
    headers = await _delete(exchange, bucket, key)
    await exchange.answer(204, headers)


async def delete_file(exchange: Exchange, bucket: str, key: str) -> None:
    """Remove an object and say so in JSON; `deleted` is false when there was none."""
    headers = await _delete(exchange, bucket, key)
    there = bool(headers)
    message = "File deleted successfully" if there else "There was no such file"
    said = Done(message=message, bucket=bucket, key=key, deleted=there, object_name=key)
    await exchange.answer_json(200, encode(said), headers)


async def copy_object(exchange: Exchange) -> None:
    """Copy the object that the JSON names to where it says; answers 201."""
    wish = decode(Copy, await small_body(exchange, MAX_JSON))
    about = None
    if wish.content_type is not None or wish.metadata is not None or wish.tags is not None:
        about = ObjectInput(wish.content_type, wish.metadata or {}, wish.tags or {})
    version = await exchange.session.copy(
        (wish.source.bucket, wish.source.key),
        (wish.target.bucket, wish.target.key),
        source_version_id=wish.source.version_id,
        about=about,
        conditions=conditions_of(exchange),
        idempotency_key=exchange.header(b"idempotency-key"),
    )
    answer = encode(stored(version, "File copied successfully"))
    await exchange.answer_json(201, answer, version_headers(version))


async def _delete(exchange: Exchange, bucket: str, key: str) -> list[tuple[bytes, bytes]]:
    deleted = await exchange.session.delete(
        bucket, key, version_id=exchange.query.get("version_id") or None, conditions=conditions_of(exchange)
    )
    headers = []
    if deleted.version_id is not None:
        headers.append((b"x-holdfast-version-id", deleted.version_id.encode()))
    if deleted.delete_marker:
        headers.append((b"x-holdfast-delete-marker", b"true"))
    return headers


async def _copy_by_header(exchange: Exchange, bucket: str, key: str) -> Version:
    source, version_id = copy_source(exchange.headers[COPY_SOURCE])
    about = about_of(exchange)
    if about.digests != NO_DIGESTS:
        raise InvalidRequestError("a copy has no body, so it takes no digests of one")
    given = about.content_type or about.metadata or about.tags
    if about.storage_class and not given:
        raise InvalidRequestError(
            "with a storage class of its own, a copy says content type, metadata or tags anew too"
        )
    return await exchange.session.copy(
        source,
        (bucket, key),
        source_version_id=version_id,
        about=about if given else None,
        conditions=conditions_of(exchange),
        idempotency_key=exchange.header(b"idempotency-key"),
    )


def copy_source(value: bytes) -> tuple[tuple[str, str], str | None]:
    """Return ((bucket, key), version id or None) from `bucket/key?version_id=…`, percent-decoded once."""
    path, _, query = value.partition(b"?")
    bucket, slash, key = path.removeprefix(b"/").partition(b"/")
    if not slash or (query and not query.startswith(b"version_id=")):
        raise InvalidRequestError("x-holdfast-copy-source is bucket/key, with ?version_id=… if need be")
    version_id = decode_once(query.removeprefix(b"version_id="), "x-holdfast-copy-source") or None
    return (
        (decode_once(bucket, "x-holdfast-copy-source"), decode_once(key, "x-holdfast-copy-source")),
        version_id,
    )
