"""The verbs over a server's REST door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import quote

from holdfast.core.clock import Environment
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.names import check_bucket, check_key, check_prefix
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
from holdfast.library.client import AsyncClient, Download, Parts
from holdfast.library.http import wire
from holdfast.library.http.download import HttpDownload
from holdfast.library.http.transport import Repeat, Transport
from holdfast.library.source import Source, as_body

#: One stream is the fastest way and keeps a digest of the whole; from a GiB on, losing it all to a broken connection
#: would cost more than that.
PARTS: Final = Parts(above=1 << 30, size=128 << 20)


class HttpClient(AsyncClient):
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

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    # -- buckets ------------------------------------------------------------------------------------------------
    async def create_bucket(self, name: str, *, versioning: bool = False) -> Bucket:
        """See `AsyncClient`."""
        wish = {"name": check_bucket(name), "versioning": versioning}
        answer = await self._http.call("POST", "buckets", json=wish, repeat=Repeat.REFUSED)
        return wire.bucket(answer)

    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """See `AsyncClient`."""
        answer = await self._http.call("GET", "buckets")
        return [(wire.bucket(item), wire.usage(item)) for item in wire.items(answer, "buckets")]

    async def delete_bucket(self, name: str) -> None:
        """See `AsyncClient`."""
        await self._http.call("DELETE", f"buckets/{_bucket(name)}", repeat=Repeat.REFUSED)

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
    ) -> Version:
        """See `AsyncClient`. A key of its own makes a repeated request write once."""
        headers = wire.about_headers(content_type, metadata, tags, digests) | wire.condition_headers(
            conditions
        )
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

    # -- large uploads ------------------------------------------------------------------------------------------
    async def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
    ) -> Upload:
        """See `AsyncClient`. A lost answer leaves an upload that expires by itself."""
        wish = {"bucket": bucket, "key": check_key(key), "metadata": dict(metadata), "tags": dict(tags)}
        if content_type is not None:
            wish["content_type"] = content_type
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
        parts: Sequence[tuple[int, str]],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """See `AsyncClient`. Asked again after success, the server answers with the version it made."""
        answer = await self._http.call(
            "POST",
            f"uploads/{quote(upload_id, safe='')}/complete",
            query=_place(bucket, key),
            headers=wire.condition_headers(conditions),
            json={"parts": [{"number": number, "etag": etag} for number, etag in parts]},
        )
        return wire.version(answer, bucket, key)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """See `AsyncClient`."""
        path = f"uploads/{quote(upload_id, safe='')}"
        await self._http.call("DELETE", path, query=_place(bucket, key), repeat=Repeat.REFUSED)


def _bucket(name: str) -> str:
    """Return a bucket's name for a path; one that cannot be a bucket's is refused before it could be a path."""
    return quote(check_bucket(name), safe="")


def _object(bucket: str, key: str) -> str:
    """Return the path of an object: the key's own slashes stay, all else is escaped."""
    return f"objects/{_bucket(bucket)}/{quote(check_key(key), safe='/~')}"


def _place(bucket: str, key: str) -> dict[str, str | int | None]:
    return {"bucket": check_bucket(bucket), "key": check_key(key)}
