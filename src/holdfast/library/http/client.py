"""The verbs over a server's REST door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final
from urllib.parse import quote

from holdfast.core.backend import SignedUrl
from holdfast.core.clock import Environment
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.core.names import check_bucket, check_key, check_prefix
from holdfast.core.search import Found, Search
from holdfast.core.types import (
    EMPTY,
    NO_DIGESTS,
    Bucket,
    ByteRange,
    Deleted,
    Digests,
    ListPage,
    Part,
    Upload,
    Usage,
    Version,
    VersionPage,
)
from holdfast.engine.buckets import BucketStats
from holdfast.engine.provisioning import Provisioned
from holdfast.library.client import AsyncClient, Download, Parts
from holdfast.library.http import wire
from holdfast.library.http.download import HttpDownload
from holdfast.library.http.jobs import HttpJobs
from holdfast.library.http.keeping import HttpKeeping
from holdfast.library.http.moments import HttpMoments
from holdfast.library.http.moving import HttpMoves
from holdfast.library.http.transport import Repeat, Transport
from holdfast.library.many import Report
from holdfast.library.parts import PartLike, named
from holdfast.library.source import Source, as_body

#: One stream is the fastest way and keeps a digest of the whole; from a GiB on, losing it all to a broken connection
#: would cost more than that.
PARTS: Final = Parts(above=1 << 30, size=128 << 20)

_BATCH: Final = 200  #: objects of a batch that is answered with how it went with each


class HttpClient(HttpJobs, HttpKeeping, HttpMoments, HttpMoves, AsyncClient):
    """A client of the server at `base`. Takes what `Transport` takes; made inside the event loop that uses it."""

    def __init__(
        self,
        base: str,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        timeout: float = 60.0,
        environment: Environment | None = None,
    ) -> None:
        self._http = Transport(base, token=token, ca_file=ca_file, timeout=timeout, environment=environment)

    @property
    def parts(self) -> Parts | None:
        """See `AsyncClient`."""
        return PARTS

    @property
    def public_url(self) -> str:
        """See `AsyncClient`."""
        return self._http.base

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    # -- buckets ------------------------------------------------------------------------------------------------
    async def create_bucket(
        self, name: str, *, versioning: bool = False, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """See `AsyncClient`."""
        wish = {"name": check_bucket(name), "versioning": versioning, **settings}
        answer = await self._http.call("POST", "buckets", json=wish, repeat=Repeat.REFUSED)
        return wire.bucket(answer)

    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """See `AsyncClient`."""
        answer = await self._http.call("GET", "buckets")
        return [(wire.bucket(item), wire.usage(item)) for item in wire.items(answer, "buckets")]

    async def update_bucket(
        self, name: str, *, versioning: bool | None = None, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """See `AsyncClient`."""
        wish = dict(settings) if versioning is None else {"versioning": versioning, **settings}
        return wire.bucket(await self._http.call("PATCH", f"buckets/{_bucket(name)}", json=wish))

    async def bucket(self, name: str) -> BucketStats:
        """See `AsyncClient`."""
        facts = await self._http.call("GET", f"buckets/{_bucket(name)}")
        return wire.bucket_stats(facts)

    async def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """See `AsyncClient`."""
        query = {"force": "true"} if force else None
        await self._http.call("DELETE", f"buckets/{_bucket(name)}", query=query, repeat=Repeat.REFUSED)

    # -- objects ------------------------------------------------------------------------------------------------
    async def put(
        self,
        bucket: str,
        key: str,
        data: Source,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
        digests: Digests = NO_DIGESTS,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency_key: str | None = None,
        storage_class: str = "",
    ) -> Version:
        """See `AsyncClient`. A key of its own makes a repeated request write once."""
        headers = wire.about_headers(content_type, metadata, tags, digests, storage_class)
        headers |= wire.condition_headers(conditions)
        headers["Idempotency-Key"] = idempotency_key or self._http.environment.new_id()
        answer = await self._http.send("PUT", _object(bucket, key), headers=headers, body=as_body(data))
        async with answer:
            return wire.version_from_put(bucket, key, answer.headers, await answer.read())

    def stream(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[Download]:
        """See `AsyncClient`."""
        return HttpDownload(
            self._http,
            _object(bucket, key),
            bucket,
            key,
            version_id=version_id,
            wish=range,
            conditions=conditions,
        )

    async def head(self, bucket: str, key: str, *, version_id: str | None = None) -> Version:
        """See `AsyncClient`."""
        answer = await self._http.send("HEAD", _object(bucket, key), query={"version_id": version_id})
        answer.release()
        return wire.version_from_headers(bucket, key, answer.headers)

    async def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Deleted:
        """See `AsyncClient`. Not repeated when the answer is lost: a second one could leave a second marker."""
        answer = await self._http.send(
            "DELETE",
            _object(bucket, key),
            query={"version_id": version_id},
            headers=wire.condition_headers(conditions),
            repeat=Repeat.SAFE if version_id else Repeat.REFUSED,
        )
        answer.release()
        return wire.deleted(answer.headers)

    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        source_version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """See `AsyncClient`."""
        wish = {
            "source": wire.named(*source, version_id=source_version_id),
            "target": wire.named(*target),
        }
        answer = await self._http.call(
            "POST", "copy", json=wish, headers=wire.condition_headers(conditions), repeat=Repeat.REFUSED
        )
        return wire.version(answer, *target)

    async def list_page(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", marker: str = "", limit: int = 1000
    ) -> ListPage:
        """See `AsyncClient`."""
        query = {
            "prefix": check_prefix(prefix),
            "delimiter": check_prefix(delimiter),
            "marker": check_prefix(marker),
            "limit": limit,
        }
        return wire.list_page(await self._http.call("GET", f"list/{_bucket(bucket)}", query=query), bucket)

    async def versions_page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        """See `AsyncClient`."""
        query = {
            "prefix": check_prefix(prefix),
            "delimiter": check_prefix(delimiter),
            "key_marker": check_prefix(key_marker),
            "version_marker": version_marker,
            "limit": limit,
        }
        answer = await self._http.call("GET", f"versions/{_bucket(bucket)}", query=query)
        return wire.version_page(answer, bucket)

    # -- files by id, searches, and what is said about a content ------------------------------------------------
    async def file(self, file_id: str) -> Version:
        """See `AsyncClient`."""
        return wire.version(await self._http.call("GET", _file(file_id)), "")

    async def update(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        merge: bool = True,
        version_id: str | None = None,
    ) -> Version:
        """See `AsyncClient`."""
        file_id = version_id or (await self.head(bucket, key)).id
        wish = {"content_type": content_type, "metadata": metadata, "tags": tags}
        said = {name: _plain(value) for name, value in wish.items() if value is not None}
        answer = await self._http.call("PATCH" if merge else "PUT", _file(file_id), json=said)
        return wire.version(answer, bucket, key)

    async def restore(self, bucket: str, key: str, version_id: str) -> Version:
        """See `AsyncClient`."""
        path = f"{_file(version_id)}/versions/{quote(version_id, safe='')}/restore"
        return wire.version(await self._http.call("POST", path, repeat=Repeat.REFUSED), bucket, key)

    async def search_page(
        self, wish: Search, *, bucket: str | None = None, limit: int = 1000, cursor: str = ""
    ) -> Found:
        """See `AsyncClient`."""
        query = {**wire.search_query(wish), "bucket": bucket, "limit": limit, "cursor": cursor or None}
        answer = await self._http.call("GET", "files", query=query)
        found = [wire.version(item, "") for item in wire.items(answer, "files")]
        return Found(found, answer.get("cursor") or "")

    async def delete_many(self, bucket: str, keys: Iterable[str]) -> Report:
        """See `AsyncClient`. Two hundred at a time."""
        return await self._batches("delete", bucket, list(keys), {}, super().delete_many)

    async def tag_many(
        self,
        bucket: str,
        keys: Iterable[str],
        *,
        tags: Mapping[str, str | None] | None = None,
        metadata: Mapping[str, str | None] | None = None,
    ) -> Report:
        """See `AsyncClient`. Two hundred at a time."""
        wish = {"tags": tags, "metadata": metadata}
        more = {name: dict(value) for name, value in wish.items() if value is not None}
        singly = partial(super().tag_many, tags=tags, metadata=metadata)
        return await self._batches("tag", bucket, list(keys), more, singly)

    async def _batches(
        self,
        what: str,
        bucket: str,
        keys: Sequence[str],
        more: Mapping[str, object],
        singly: Callable[[str, Iterable[str]], Awaitable[Report]],
    ) -> Report:
        """Send a request for each two hundred keys. Where all of one failed, ask `singly` which way each did."""
        report = Report()
        keys = list(dict.fromkeys(keys))
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            wish = {"bucket": check_bucket(bucket), "keys": some, **more}
            try:
                answer = await self._http.call("POST", f"batch/{what}", json=wish, repeat=Repeat.REFUSED)
            except (NotFoundError, PermissionDeniedError, InvalidRequestError):
                report += await singly(bucket, some)
            else:
                report += wire.report(answer)
        return report

    # -- large uploads ------------------------------------------------------------------------------------------
    async def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
        size: int | None = None,
        expires_in: float | None = None,
        storage_class: str = "",
    ) -> Upload:
        """See `AsyncClient`. A lost answer leaves an upload that expires by itself."""
        wish: dict[str, object] = {
            "bucket": bucket,
            "key": check_key(key),
            "metadata": dict(metadata),
            "tags": dict(tags),
        }
        more = {
            "content_type": content_type,
            "size": size,
            "expires_in": expires_in,
            "storage_class": storage_class or None,
        }
        wish |= {name: value for name, value in more.items() if value is not None}
        return wire.upload(await self._http.call("POST", "uploads", json=wish), bucket)

    async def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: Source,
        *,
        digests: Digests = NO_DIGESTS,
    ) -> Part:
        """See `AsyncClient`. A part sent twice replaces itself, so it is repeated like anything replayable."""
        answer = await self._http.send(
            "PUT",
            f"uploads/{quote(upload_id, safe='')}/parts/{number}",
            query=_place(bucket, key),
            headers=wire.digest_headers(digests),
            body=as_body(data),
        )
        return wire.part(await self._http.decode(answer))

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Part]:
        """See `AsyncClient`."""
        query = {**_place(bucket, key), "after": after, "limit": limit}
        answer = await self._http.call("GET", f"uploads/{quote(upload_id, safe='')}/parts", query=query)
        return [wire.part(item) for item in wire.items(answer, "parts")]

    async def list_uploads(
        self, bucket: str, *, prefix: str = "", key_marker: str = "", id_marker: str = "", limit: int = 1000
    ) -> tuple[Sequence[Upload], bool]:
        """See `AsyncClient`."""
        query = {
            "bucket": check_bucket(bucket),
            "prefix": check_prefix(prefix),
            "key_marker": check_prefix(key_marker),
            "id_marker": id_marker,
            "limit": limit,
        }
        answer = await self._http.call("GET", "uploads", query=query)
        return [wire.upload(item, bucket) for item in wire.items(answer, "uploads")], bool(
            answer.get("truncated")
        )

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[PartLike],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """See `AsyncClient`. Asked again after success, the server answers with the version it made."""
        answer = await self._http.call(
            "POST",
            f"uploads/{quote(upload_id, safe='')}/complete",
            query=_place(bucket, key),
            headers=wire.condition_headers(conditions),
            json={"parts": [{"number": number, "etag": etag} for number, etag in named(parts)]},
        )
        return wire.version(answer, bucket, key)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """See `AsyncClient`."""
        path = f"uploads/{quote(upload_id, safe='')}"
        await self._http.call("DELETE", path, query=_place(bucket, key), repeat=Repeat.REFUSED)

    # -- folders ------------------------------------------------------------------------------------------------
    async def provision(
        self, content_types: Sequence[str], categories: Sequence[str], subfolders: Sequence[str] | None = None
    ) -> Provisioned:
        """See `AsyncClient`."""
        home = wire.tenant(await self._http.call("GET", "whoami"))
        wish = {
            "content_types": list(content_types),
            "categories": list(categories),
            "subfolders": None if subfolders is None else list(subfolders),
        }
        path = f"tenants/{quote(home, safe='')}/provision"
        return wire.provisioned(await self._http.call("POST", path, json=wish, repeat=Repeat.SAFE))

    # -- signed URLs --------------------------------------------------------------------------------------------
    async def presign(
        self,
        bucket: str,
        key: str,
        method: str = "GET",
        *,
        expires_in: float = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        once: bool = False,
        ip: str | None = None,
        version_id: str | None = None,
    ) -> SignedUrl:
        """See `AsyncClient`."""
        wish = {
            "bucket": bucket,
            "key": key,
            "method": method,
            "expires_in": int(expires_in),
            "content_type": content_type,
            "max_size": max_size,
            "once": once,
            "ip": ip,
            "version_id": version_id,
        }
        return wire.signed_url(await self._http.call("POST", "sign", json=wish))


def _bucket(name: str) -> str:
    """Return a bucket's name for a path; one that cannot be a bucket's is refused before it could be a path."""
    return quote(check_bucket(name), safe="")


def _object(bucket: str, key: str) -> str:
    """Return the path of an object: the key's own slashes stay, all else is escaped."""
    return f"objects/{_bucket(bucket)}/{quote(check_key(key), safe='/~')}"


def _place(bucket: str, key: str) -> dict[str, str | int | None]:
    return {"bucket": check_bucket(bucket), "key": check_key(key)}


def _file(file_id: str) -> str:
    return f"files/{quote(file_id, safe='')}"


def _plain(value: str | Mapping[str, str | None]) -> object:
    return value if isinstance(value, str) else dict(value)
