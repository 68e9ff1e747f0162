"""Uploads by form: one or many files, each stored while it arrives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from holdfast.api.body import body_of
from holdfast.api.conditions import conditions_of
from holdfast.api.describe import about_of, version_headers
from holdfast.api.digests import of_fields
from holdfast.api.exchange import Exchange, parse_query
from holdfast.api.form_order import is_file, ordered
from holdfast.api.forms import FormPart, is_form, parts_of
from holdfast.api.models import Stored, StoredFiles, decode, encode, stored
from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import EMPTY, NO_DIGESTS, Digests, Version
from holdfast.engine.write import ObjectInput

#: Fields that say something of a file: they go before it.
PLACING: Final = ("bucket", "key", "path", "content_type", "metadata", "tags", "sha256", "md5")
_ORDER: Final = "send the fields (bucket, key) before the file, or name them in the query: ?bucket=…&key=…"


@dataclass(slots=True)
class Fields:
    """What the fields said so far. `key` serves one file; one that ends with `/` goes before every file's name."""

    bucket: str = ""
    key: str = ""
    content_type: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    digests: Digests = NO_DIGESTS

    async def take(self, part: FormPart) -> None:
        """Take one field; unknown ones are skipped."""
        text = await part.text()
        if part.name == "bucket":
            self.bucket = text
        elif part.name in ("key", "path"):
            self.key = text
        elif part.name == "content_type":
            self.content_type = text or None
        elif part.name == "metadata":
            self.metadata = decode(dict[str, str], text.encode()) if text else {}
        elif part.name == "tags":
            self.tags = tags_of(text)
        elif part.name == "sha256":
            self.digests = replace(self.digests, sha256=of_fields({part.name: text}).sha256)
        elif part.name == "md5":
            self.digests = replace(self.digests, md5=of_fields({part.name: text}).md5)

    stored: int = 0  # files so far
    before: Callable[[str], Awaitable[None]] | None = None  #: called with the bucket before a file goes there

    def key_of(self, part: FormPart) -> str:
        """Return the key that a file would get; "" when nothing names it."""
        name = re.split(r"[/\\]", part.filename or "")[-1]
        if self.key.endswith("/"):
            return self.key + name if name else ""
        return self.key or name


async def upload(exchange: Exchange) -> None:
    """Store every file of a form; answers 201 with the one file, or with the list of all.

    The first file that fails ends the request; the error's `files` says which were stored before it.
    """
    fields = Fields(exchange.query.get("bucket", ""), exchange.query.get("key", ""))
    made: list[Version] = []
    async for part in ordered(parts_of(exchange), PLACING):
        if not is_file(part):
            await fields.take(part)
            continue
        made.append(await store_file(exchange, fields, part, first=not made))
        exchange.more = {"files": [msgspec.to_builtins(stored(version)) for version in made]}
    if not made:
        raise InvalidRequestError("the form holds no file; send it as a part called 'file' with a filename")
    if len(made) == 1:
        await exchange.answer_json(201, encode(stored(made[0])), version_headers(made[0]))
        return
    said = f"{len(made)} files uploaded successfully"
    files: list[Stored] = [stored(version) for version in made]
    await exchange.answer_json(
        201, encode(StoredFiles(True, said, one_of({version.ref.bucket for version in made}), files))
    )


async def upload_stream(exchange: Exchange) -> None:
    """Store one file of unknown length: a form, or the raw body with bucket and key in the query; answers 201."""
    if is_form(exchange):
        await upload(exchange)
        return
    bucket, key = exchange.query.get("bucket", ""), exchange.query.get("key", "")
    if not bucket or not key:
        raise InvalidRequestError("a raw body needs ?bucket=…&key=…; or send multipart/form-data")
    version = await exchange.session.put(
        bucket,
        key,
        await body_of(exchange),
        about_of(exchange),
        conditions=conditions_of(exchange),
        idempotency_key=exchange.header(b"idempotency-key"),
    )
    await exchange.answer_json(201, encode(stored(version)), version_headers(version))


async def store_file(exchange: Exchange, fields: Fields, part: FormPart, *, first: bool) -> Version:
    """Store one file of a form as the fields before it say."""
    key = _key(fields, part, first=first)
    if not fields.bucket or not key:
        raise InvalidRequestError(_ORDER)
    if fields.before is not None:
        await fields.before(fields.bucket)
    kind = fields.content_type or _kind(part)
    about = ObjectInput(kind, fields.metadata or EMPTY, fields.tags or EMPTY, fields.digests)
    fields.digests = NO_DIGESTS
    idempotency_key = exchange.header(b"idempotency-key")
    fields.stored += 1
    return await exchange.session.put(
        fields.bucket,
        key,
        Body.of_stream(part.chunks),
        about,
        conditions=conditions_of(exchange),
        idempotency_key=None if idempotency_key is None else _of_file(idempotency_key, fields.stored, key),
    )


def one_of(buckets: Collection[str]) -> str:
    """Return the bucket that all files went to; "" when they went to several."""
    return next(iter(buckets)) if len(buckets) == 1 else ""


def tags_of(text: str) -> dict[str, str]:
    """Return the tags that a form's field holds: a JSON object, `a=1&b=2` (percent-encoded) or `a=1,b=2`.

    Raises:
        InvalidRequestError: it is none of these.
    """
    text = text.strip()
    if text.startswith("{"):
        return decode(dict[str, str], text.encode())
    pairs = [pair for pair in text.split("&" if "&" in text else ",") if pair.strip()]
    if any(not pair.partition("=")[0].strip() or "=" not in pair for pair in pairs):
        raise InvalidRequestError('the field tags is like a=1&b=2, a=1,b=2 or {"a": "1"}')
    return parse_query("&".join(pair.strip() for pair in pairs).encode())


def _of_file(idempotency_key: str, place: int, key: str) -> str:
    """Return the idempotency key of one file of a form: its place and its key told apart from those of other requests."""
    told = "\0".join((idempotency_key, str(place), key)).encode("utf-8", "surrogatepass")
    return f"form:{hashlib.sha256(told).hexdigest()}"


def _key(fields: Fields, part: FormPart, *, first: bool) -> str:
    """Return the key of a file: the field's, the field's as a prefix, or the file's own name."""
    key = fields.key_of(part)
    if not fields.key and not key and not first:
        raise InvalidRequestError("a further file needs a key of its own before it, or a filename")
    if not fields.key.endswith("/"):
        fields.key = ""
    return key


def _kind(part: FormPart) -> str | None:
    """Return the part's own type, unless it is only what clients say when they do not know."""
    return None if part.content_type in (None, "", "application/octet-stream") else part.content_type
