"""The routes of an older storage service, over our own objects: whoever wrote for it goes on without a change.

Mended on the way: a token is needed as everywhere, bodies are streamed, names are unique, what is saved as JSON is called
so, and there is nothing to keep in step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast.api import documents
from holdfast.api.describe import iso
from holdfast.api.digests import FORM_FIELDS, of_fields
from holdfast.api.documents import ARTIFACT, CHECKPOINT, DATASET, MODEL, Document, Kind
from holdfast.api.exchange import Exchange
from holdfast.api.form_order import ordered
from holdfast.api.forms import FormPart, parts_of
from holdfast.api.listing import number
from holdfast.api.models import encode
from holdfast.api.reading import describe_object, send_object
from holdfast.api.wanted import Wanted
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.search import Search
from holdfast.core.types import NO_DIGESTS, Digests, Version
from holdfast.engine.write import ObjectInput

MOST: Final = 10_000  #: objects that a list looks at
_HELD: Final = 8 << 20  #: bytes of a file that may wait for the fields after it
_PAGE: Final = 1000
_BEFORE: Final = ("bucket", "key", "path", "sha256", "md5")  #: fields that say something of a file that flows


@dataclass(slots=True)
class _File:
    """A file of a form, and the fields around it."""

    fields: dict[str, str]
    filename: str
    content_type: str | None
    body: Body


class Compat:
    """Files, models, checkpoints, artifacts and datasets as the older service served them."""

    def __init__(self, wanted: Wanted, environment: Environment) -> None:
        self._wanted = wanted
        self._environment = environment

    # -- files --------------------------------------------------------------------------------------------------
    async def upload_to(self, exchange: Exchange, bucket: str, key: str) -> None:
        """Store the form's file under this bucket and key; answers 201."""

        async def store(file: _File) -> Version:
            await self._wanted.ensure(exchange.session, bucket)
            return await exchange.session.put(bucket, key, file.body, _about(file))

        await _answer_stored(exchange, await _one_file(exchange, store))

    async def upload(self, exchange: Exchange) -> None:
        """Store the form's file under its own name in the default bucket; answers 201.

        The fields `bucket` and `key`, before the file, name another place; a key may be `s3://bucket/key`.
        """

        async def store(file: _File) -> Version:
            given = {**exchange.query, **file.fields}
            key = given.get("key") or given.get("path") or file.filename
            if not key:
                raise InvalidRequestError("the file has no name; send a filename or the field key before it")
            bucket, key = documents.split_path(key) or (self._wanted.chosen(given.get("bucket", "")), key)
            await self._wanted.ensure(exchange.session, bucket)
            return await exchange.session.put(bucket, key, file.body, _about(file))

        await _answer_stored(exchange, await _one_file(exchange, store))

    async def download(self, exchange: Exchange, filename: str) -> None:
        """Answer with a file of the default bucket, or of `?bucket=`; the name may be `s3://bucket/key`, encoded."""
        bucket, key = self._place(exchange, filename)
        await send_object(exchange, bucket, key, None)

    async def look(self, exchange: Exchange, filename: str) -> None:
        """Answer with the headers that a download would have."""
        bucket, key = self._place(exchange, filename)
        await describe_object(exchange, bucket, key, None)

    def _place(self, exchange: Exchange, filename: str) -> tuple[str, str]:
        found = documents.split_path(filename)
        return found or (self._wanted.chosen(exchange.query.get("bucket", "")), filename)

    # -- documents ----------------------------------------------------------------------------------------------
    async def save_model(self, exchange: Exchange) -> None:
        """Store a model with its metadata, a JSON object with `job_id`; answers 201."""
        await self._save(exchange, MODEL)

    async def save_checkpoint(self, exchange: Exchange) -> None:
        """Store a checkpoint with its metadata, a JSON object with `job_id` and `epoch`; answers 201."""
        await self._save(exchange, CHECKPOINT)

    async def save_artifact(self, exchange: Exchange) -> None:
        """Store an artifact with its metadata, a JSON object with `job_id` and `artifact_type`; answers 201."""
        await self._save(exchange, ARTIFACT)

    async def save_dataset(self, exchange: Exchange) -> None:
        """Store a dataset with its metadata, a JSON object; its name is the file's when it has none; answers 201."""
        await self._save(exchange, DATASET)

    async def list_models(self, exchange: Exchange) -> None:
        """Answer with models, the newest first, of one job or of all."""
        wish = wish_for(job_id=exchange.query.get("job_id"))
        await self._list(exchange, MODEL, wish, limit=number(exchange, "limit", 50))

    async def list_datasets(self, exchange: Exchange) -> None:
        """Answer with datasets, the newest first."""
        await self._list(exchange, DATASET, Search(), limit=number(exchange, "limit", 100))

    async def list_checkpoints(self, exchange: Exchange, job_id: str) -> None:
        """Answer with the checkpoints of a job, the highest epoch first."""
        await self._list(exchange, CHECKPOINT, wish_for(job_id=job_id), limit=MOST)

    async def list_artifacts(self, exchange: Exchange, job_id: str) -> None:
        """Answer with the artifacts of a job, the newest first, of one type or of all."""
        wish = wish_for(job_id=job_id, artifact_type=exchange.query.get("type"))
        await self._list(exchange, ARTIFACT, wish, limit=MOST)

    async def get_model(self, exchange: Exchange, model_id: str) -> None:
        """Answer with a model's content."""
        version = await exchange.session.file(model_id, "get")
        if version.ref.bucket != MODEL.bucket:
            raise NotFoundError("there is no model of that id")
        await send_object(exchange, version.ref.bucket, version.ref.key, version.id)

    async def clean_checkpoints(self, exchange: Exchange, job_id: str) -> None:
        """Remove the checkpoints of a job but the `keep` of the highest epochs."""
        keep = number(exchange, "keep", 5)
        found, more = await find(exchange, CHECKPOINT, wish_for(job_id=job_id))
        if more:
            raise InvalidRequestError(f"the job has more than {MOST} checkpoints; remove some by name first")
        for version, _ in found[keep:]:
            await exchange.session.delete(version.ref.bucket, version.ref.key, version_id=version.id)
        count = len(found[keep:])
        said = {"message": f"Cleaned up {count} old checkpoints", "deleted_count": count}
        await exchange.answer_json(200, encode(said))

    async def save(
        self,
        exchange: Exchange,
        kind: Kind,
        document: Document,
        body: Body,
        content_type: str | None,
        filename: str,
        digests: Digests = NO_DIGESTS,
    ) -> Version:
        """Store an object with its document."""
        document = documents.check(kind, document, filename)
        key = documents.key_of(kind, document, filename, self._environment)
        await self._wanted.ensure(exchange.session, kind.bucket)
        about = ObjectInput(content_type, documents.metadata_of(kind, document), digests=digests)
        return await exchange.session.put(kind.bucket, key, body, about)

    async def _save(self, exchange: Exchange, kind: Kind) -> None:

        async def store(file: _File) -> Version:
            document = documents.parse(file.fields.get("metadata", ""))
            content_type = document.get("content_type")
            known = content_type if isinstance(content_type, str) and content_type else _type_of(file)
            digests = of_fields(file.fields)
            return await self.save(exchange, kind, document, file.body, known, file.filename, digests)

        version = await _one_file(exchange, store, needs="metadata")
        told = documents.document_of(kind, version)
        result = {
            "minio_path": told["minio_path"],
            "mongo_id": version.id,
            "file_id": version.id,
            "object_name": version.ref.key,
            "checksum": told["checksum"],
        }
        said = {"message": f"{kind.name.capitalize()} saved successfully", "result": result}
        await exchange.answer_json(201, encode(said))

    async def _list(self, exchange: Exchange, kind: Kind, wish: Search, *, limit: int) -> None:
        found, more = await find(exchange, kind, wish)
        shown = [documents.shown(kind, document) for _, document in found[:limit]]
        said = {kind.bucket: shown, "count": len(shown), "truncated": more or len(found) > limit}
        await exchange.answer_json(200, encode(said))

    # -- the whole ----------------------------------------------------------------------------------------------
    async def sync(self, exchange: Exchange) -> None:
        """Answer that nothing had to be brought into step: documents lie with the objects that they describe."""
        await exchange.session.buckets()  # whoever may not look learns nothing
        results = {bucket: {"synced": 0, "errors": []} for bucket in documents.BUCKETS}
        said = {
            "message": "Data synchronization completed",
            "results": results,
            "timestamp": iso(self._environment.clock.now()),
        }
        await exchange.answer_json(200, encode(said))

    async def validate(self, exchange: Exchange) -> None:
        """Answer with how many objects and documents each bucket holds: the same, since they are one."""
        found = {bucket.name: usage for bucket, usage in await exchange.session.buckets()}
        there = {bucket: found[bucket] for bucket in documents.BUCKETS if bucket in found}
        missing = {"exists": False, "error": "the bucket is made when it is first needed"}
        validation: dict[str, Any] = {
            "minio_buckets": {
                bucket: missing
                if bucket not in there
                else {
                    "exists": True,
                    "object_count": there[bucket].objects,
                    "total_size": there[bucket].bytes,
                }
                for bucket in documents.BUCKETS
            },
            "mongodb_collections": {
                bucket: missing
                if bucket not in there
                else {"exists": True, "document_count": there[bucket].objects}
                for bucket in documents.BUCKETS
            },
            "consistency_issues": [],
        }
        said = {"validation": validation, "timestamp": iso(self._environment.clock.now())}
        await exchange.answer_json(200, encode(said))


async def find(exchange: Exchange, kind: Kind, wish: Search) -> tuple[list[tuple[Version, Document]], bool]:
    """Return objects with their documents in the order of lists, and whether there were too many to look at."""
    found: list[tuple[Version, Document]] = []
    cursor = ""
    with contextlib.suppress(NotFoundError):  # nobody has made the bucket yet
        while True:
            page = await exchange.session.search(wish, bucket=kind.bucket, limit=_PAGE, cursor=cursor)
            found += [(version, documents.document_of(kind, version)) for version in page.items]
            cursor = page.cursor
            if not cursor or len(found) >= MOST:
                break
    found.sort(key=lambda pair: documents.rank(kind, pair[1], pair[0]), reverse=True)
    return found, bool(cursor)


def wish_for(**metadata: str | None) -> Search:
    """Return a search for what has all of these in its metadata; None and "" ask nothing."""
    return Search(metadata={name: value for name, value in metadata.items() if value})


async def _one_file(
    exchange: Exchange, store: Callable[[_File], Awaitable[Version]], *, needs: str | None = None
) -> Version:
    """Store the one file of a form and return its version; a file before the field that it `needs` is held."""
    fields: dict[str, str] = {}
    held: _File | None = None
    version: Version | None = None
    async for part in ordered(parts_of(exchange), _BEFORE if needs is None else ()):
        if part.filename is None and part.name != "file":
            fields[part.name] = await part.text()
            if version is not None and part.name in FORM_FIELDS:
                raise InvalidRequestError(
                    f"send the field {part.name} before the file: it is stored, and was not compared"
                )
        elif held is not None or version is not None:
            raise InvalidRequestError("send one file at a time here; /api/v1/upload takes many")
        elif needs is None or needs in fields:
            version = await store(_file(fields, part, Body.of_stream(part.chunks)))
        else:
            held = _file(fields, part, Body.of_bytes(await _all(part)))
    if held is not None:
        version = await store(held)
    if version is None:
        raise InvalidRequestError("No file provided: send it as a part called 'file' with a filename")
    return version


def _file(fields: dict[str, str], part: FormPart, body: Body) -> _File:
    name = (part.filename or "").replace("\\", "/").rpartition("/")[2]
    return _File(fields, name, part.content_type, body)


async def _all(part: FormPart) -> bytes:
    content = bytearray()
    async for chunk in part.chunks:
        content += chunk
        if len(content) > _HELD:
            raise InvalidRequestError("send the field metadata before a file of more than 8 MiB")
    return bytes(content)


def _about(file: _File) -> ObjectInput:
    return ObjectInput(_type_of(file), digests=of_fields(file.fields))


def _type_of(file: _File) -> str | None:
    return None if file.content_type in (None, "", "application/octet-stream") else file.content_type


async def _answer_stored(exchange: Exchange, version: Version) -> None:
    said = {
        "success": True,
        "message": "File uploaded successfully",
        "bucket": version.ref.bucket,
        "key": version.ref.key,
        "object_name": version.ref.key,
        "filename": version.ref.key.rpartition("/")[2],
        "size": version.size,
        "etag": version.etag,
        "file_id": version.id,
        "minio_path": documents.path_of(version),
    }
    await exchange.answer_json(201, encode(said))
