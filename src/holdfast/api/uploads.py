"""Multipart uploads: open, parts in any order, complete or give up. Bucket and key travel in the query."""

from __future__ import annotations

from holdfast.api.body import MAX_JSON, body_of, small_body
from holdfast.api.conditions import conditions_of
from holdfast.api.describe import version_headers
from holdfast.api.digests import digests_of
from holdfast.api.exchange import Exchange
from holdfast.api.listing import MAX_PAGE, number
from holdfast.api.models import (
    Completion,
    NewUpload,
    Parts,
    Uploads,
    decode,
    encode,
    part_info,
    stored,
    upload_info,
)
from holdfast.api.signed import place_signed
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.write import ObjectInput


async def create_upload(exchange: Exchange) -> None:
    """Open an upload; answers 201 with its id, or refuses a `size` for which there is no room."""
    wish = decode(NewUpload, await small_body(exchange, MAX_JSON))
    about = ObjectInput(wish.content_type, wish.metadata, wish.tags, storage_class=wish.storage_class)
    upload = await exchange.session.create_upload(
        wish.bucket, wish.key, about, size=wish.size, expires_in=wish.expires_in
    )
    await exchange.answer_json(201, encode(upload_info(upload)))


async def list_uploads(exchange: Exchange) -> None:
    """Answer with one page of open uploads of a bucket."""
    query = exchange.query
    bucket = _required(exchange, "bucket")
    found, truncated = await exchange.session.list_uploads(
        bucket,
        prefix=query.get("prefix", ""),
        key_marker=query.get("key_marker", ""),
        id_marker=query.get("id_marker", ""),
        limit=number(exchange, "limit", MAX_PAGE, most=MAX_PAGE),
    )
    answer = Uploads(bucket, [upload_info(upload) for upload in found], truncated)
    await exchange.answer_json(200, encode(answer))


async def put_part(exchange: Exchange, upload_id: str, part: str) -> None:
    """Store the request's body as one part; a part sent again replaces itself."""
    bucket, key = _place(exchange)
    if not (part.isascii() and part.isdigit() and len(part) <= 5 and 1 <= int(part) <= 10_000):
        raise InvalidRequestError("a part's number is 1 to 10,000")
    made = await exchange.session.put_part(
        bucket, key, upload_id, int(part), await body_of(exchange), digests=digests_of(exchange)
    )
    await exchange.answer_json(200, encode(part_info(made)), [(b"etag", b'"%s"' % made.etag.encode())])


async def list_parts(exchange: Exchange, upload_id: str) -> None:
    """Answer with one page of the parts that have arrived."""
    bucket, key = _place(exchange)
    limit = number(exchange, "limit", MAX_PAGE, least=1, most=MAX_PAGE)
    parts = await exchange.session.list_parts(
        bucket, key, upload_id, after=number(exchange, "after", 0, most=10_000), limit=limit
    )
    answer = Parts(upload_id, [part_info(part) for part in parts], len(parts) == limit)
    await exchange.answer_json(200, encode(answer))


async def complete_upload(exchange: Exchange, upload_id: str) -> None:
    """Make the object of its parts; answers 201. Asked again for the same parts, it answers with what it made."""
    bucket, key = _place(exchange)
    wish = decode(Completion, await small_body(exchange, MAX_JSON))
    version = await exchange.session.complete_upload(
        bucket,
        key,
        upload_id,
        [(part.number, part.etag.strip('"')) for part in wish.parts],
        conditions=conditions_of(exchange),
    )
    await exchange.answer_json(201, encode(stored(version)), version_headers(version))


async def abort_upload(exchange: Exchange, upload_id: str) -> None:
    """Give the upload up; answers 204."""
    bucket, key = _place(exchange)
    await exchange.session.abort_upload(bucket, key, upload_id)
    await exchange.answer(204, [])


def _place(exchange: Exchange) -> tuple[str, str]:
    signed = place_signed(exchange)
    if signed is not None and not exchange.query.keys() & {"bucket", "key"}:
        return signed
    return _required(exchange, "bucket"), _required(exchange, "key")


def _required(exchange: Exchange, name: str) -> str:
    value = exchange.query.get(name)
    if not value:
        raise InvalidRequestError(f"the query must name the {name}: ?{name}=…")
    return value
