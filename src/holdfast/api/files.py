"""Files by id: a file is one content of an object, and its id leads to that content for as long as it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import msgspec

from holdfast.api.batching import tracked
from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.conditions import conditions_of
from holdfast.api.exchange import Exchange
from holdfast.api.file_models import (
    FilePatch,
    FilesUploaded,
    FileUpdate,
    FileVersions,
    FoundFiles,
    file_info,
)
from holdfast.api.forms import MAX_PARTS
from holdfast.api.intake import take_files
from holdfast.api.listing import number
from holdfast.api.models import Done, Stored, decode, encode, listed
from holdfast.api.reading import describe_object, send_object
from holdfast.api.searching import search_of
from holdfast.api.uploading import Fields, one_of
from holdfast.api.wanted import Wanted
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Version
from holdfast.engine.batches import MAX_ITEMS
from holdfast.engine.describing import Change, said_etag
from holdfast.engine.engine import Engine
from holdfast.engine.files import gone

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Validators:
    etag: str
    created: int


class FileDoor:
    """Files by id. Uploads that name no bucket go to the default one."""

    def __init__(self, engine: Engine, wanted: Wanted) -> None:
        self._engine = engine
        self._wanted = wanted

    async def upload(self, exchange: Exchange) -> None:
        """Store every file of a form; answers 201, or 207 when some of several files failed.

        The form's fields count for the files after them: `bucket`, `key` (or `path`), `content_type`, `metadata`,
        `tags`, `sha256`, `md5`. A form with a single file that fails is answered with its error.
        """
        await self._take(exchange, MAX_PARTS)

    async def upload_many(self, exchange: Exchange) -> None:
        """Store up to 10,000 files of a form; answers 201, or 207 when some failed.

        With `batch_id` in the query its progress can be watched from another connection.
        """
        await self._take(exchange, 3 * MAX_ITEMS, batch_id=exchange.query.get("batch_id") or None)

    async def _take(self, exchange: Exchange, most: int, *, batch_id: str | None = None) -> None:
        query = exchange.query
        fields = Fields(query.get("bucket", ""), query.get("key") or query.get("path", ""))
        if not fields.bucket and self._wanted.default:
            fields.bucket = self._wanted.default
        fields.before = partial(self._wanted.ensure, exchange.session)
        async with tracked(self._engine, exchange, "upload", 0, batch_id) as progress:

            def tell(bucket: str, key: str, end: Version | HoldfastError) -> None:
                progress.expect(progress.batch.total + 1)
                if isinstance(end, HoldfastError):
                    progress.failed(bucket, key, end)
                else:
                    progress.went_well(end.size)

            outcomes, errors = await take_files(exchange, fields, most=most, tell=tell)
        exchange.more = None
        if len(outcomes) == len(errors) == 1:
            raise errors[0]
        well = len(outcomes) - len(errors)
        said = "File uploaded successfully" if len(outcomes) == 1 else f"{well} files uploaded successfully"
        answer = FilesUploaded(
            success=not errors,
            message=said if not errors else f"{well} of {len(outcomes)} files uploaded",
            bucket=one_of({outcome.bucket for outcome in outcomes}),
            files=outcomes,
            **({"file_id": outcomes[0].file_id} if len(outcomes) == 1 else {}),
            **({} if batch_id is None else {"batch_id": batch_id}),
        )
        await exchange.answer_json(207 if errors else 201, encode(answer))


async def download(exchange: Exchange, file_id: str) -> None:
    """Answer with a file's content, or one range of it: 200, 206, 304, 404, 412 or 416."""
    ref = (await exchange.session.file(file_id, "get")).ref
    await send_object(exchange, ref.bucket, ref.key, file_id)


async def head(exchange: Exchange, file_id: str) -> None:
    """Answer with the headers that a download would have."""
    ref = (await exchange.session.file(file_id)).ref
    await describe_object(exchange, ref.bucket, ref.key, file_id)


async def show(exchange: Exchange, file_id: str) -> None:
    """Answer with all that is known of a file. The ETag is that of what is said about it (`metadata_etag`)."""
    version = await exchange.session.file(file_id)
    etag = said_etag(version)
    if not conditions_of(exchange).check_read(_Validators(etag, version.created)):
        await exchange.answer(304, _etag(version))
        return
    facts = await exchange.session.file_facts(version)
    await exchange.answer_json(200, encode(file_info(version, facts)), _etag(version))


async def update(exchange: Exchange, file_id: str) -> None:
    """Say other things about a file: each member that is given takes the place of what was there.

    `If-Match` with the `metadata_etag` refuses the change (412) when somebody else made one meanwhile.
    """
    wish = decode(FileUpdate, await small_body(exchange, MAX_JSON))
    await _change(exchange, file_id, Change(wish.content_type, wish.metadata, wish.tags))


async def patch(exchange: Exchange, file_id: str) -> None:
    """Change what is said about a file entry by entry: each is set, and one that is null is taken away.

    `If-Match` with the `metadata_etag` refuses the change (412) when somebody else made one meanwhile.
    """
    wish = decode(FilePatch, await small_body(exchange, MAX_JSON))
    await _change(exchange, file_id, Change(wish.content_type, wish.metadata, wish.tags, merge=True))


async def _change(exchange: Exchange, file_id: str, change: Change) -> None:
    session = exchange.session
    ref = (await session.file(file_id, "update")).ref
    changed = await session.update(
        ref.bucket, ref.key, change, version_id=file_id, conditions=conditions_of(exchange)
    )
    await exchange.answer_json(200, encode(file_info(changed)), _etag(changed))


async def delete(exchange: Exchange, file_id: str) -> None:
    """Remove a file for good. Where versions are kept, the next older one becomes current."""
    await _delete(exchange, await exchange.session.file(file_id, "delete"))


async def list_versions(exchange: Exchange, file_id: str) -> None:
    """Answer with the versions of the file's key, the newest first; delete markers are among them."""
    ref = (await exchange.session.file(file_id, "versions")).ref
    limit = number(exchange, "limit", 100, least=1, most=_PAGE)
    after = exchange.query.get("after", "")
    page, more = await exchange.session.key_versions(ref.bucket, ref.key, after=after, limit=limit)
    files = [_listed(version, full=True) for version in page]
    answer = FileVersions(ref.bucket, ref.key, files, more, page[-1].id if more else "")
    await exchange.answer_json(200, encode(answer))


async def show_version(exchange: Exchange, file_id: str, version_id: str) -> None:
    """Answer with all that is known of one version of the file's key."""
    version = await _version(exchange, file_id, version_id, "head")
    facts = await exchange.session.file_facts(version)
    await exchange.answer_json(200, encode(file_info(version, facts)), _etag(version))


async def restore_version(exchange: Exchange, file_id: str, version_id: str) -> None:
    """Make an old version current again, as a new version; answers 201, or 200 when it is current already."""
    ref = (await _version(exchange, file_id, version_id, "get")).ref
    version, made = await exchange.session.restore(ref.bucket, ref.key, version_id)
    answer = encode(file_info(version, restored=made))
    await exchange.answer_json(201 if made else 200, answer, _etag(version))


async def delete_version(exchange: Exchange, file_id: str, version_id: str) -> None:
    """Remove one version of the file's key for good."""
    await _delete(exchange, await _version(exchange, file_id, version_id, "delete"))


async def search(exchange: Exchange) -> None:
    """Answer with one page of the current objects that match all that the query asks, by bucket and key.

    Without `bucket`, all buckets that the token may search are searched. Tags and metadata are found by an index; a
    page looks at about 10,000 objects at most, so it may be short or empty and still be `truncated`.
    """
    query = exchange.query
    found = await exchange.session.search(
        search_of(query),
        bucket=query.get("bucket") or None,
        limit=number(exchange, "limit", 100, least=1, most=_PAGE),
        cursor=query.get("cursor", ""),
    )
    files = [_listed(version) for version in found.items]
    await exchange.answer_json(200, encode(FoundFiles(files, found.truncated, found.cursor)))


async def _version(exchange: Exchange, file_id: str, version_id: str, verb: str) -> Version:
    """Return a version of the same key as the file's."""
    file = await exchange.session.file(file_id, verb)
    version = await exchange.session.file(version_id, verb)
    if version.ref != file.ref:
        raise gone(version_id)
    return version


async def _delete(exchange: Exchange, version: Version) -> None:
    ref = version.ref
    deleted = await exchange.session.delete(
        ref.bucket, ref.key, version_id=version.id, conditions=conditions_of(exchange)
    )
    there = deleted.version_id is not None
    said = "File deleted successfully" if there else "There was no such file"
    done = Done(message=said, bucket=ref.bucket, key=ref.key, deleted=there)
    await exchange.answer_json(200, encode(done))


def _listed(version: Version, *, full: bool = False) -> Stored:
    return msgspec.structs.replace(listed(version, full=full), bucket=version.ref.bucket, file_id=version.id)


def _etag(version: Version) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"etag", b'"%s"' % said_etag(version).encode()),)
