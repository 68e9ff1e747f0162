"""The object-store library behind a narrow door: the few calls used of it, and the knowledge of where it bites.

* Its constructor reads `AWS_*` variables; everything that matters is therefore said explicitly.
* Small bodies must be bytes: an iterator always becomes a multipart upload.
* An upload that is cancelled leaves its parts behind; one whose source fails takes them back (see `upload.Feed`).
* It does not repeat a DELETE whose connection broke, and asks for one by POST; deletes are therefore ours.
* Its default deadline of 30 s includes the body; here silence is bounded, not duration.
* A blob's name is not checked by us but by the engine; names of the blob grammar come through unchanged (tested).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import obstore
from obstore.store import S3Store

from holdfast.backends.object_store import metadata
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.control import RETRIED
from holdfast.backends.object_store.credentials import CredentialSource
from holdfast.backends.object_store.errors import Where, from_obstore
from holdfast.backends.object_store.settings import S3Settings
from holdfast.backends.object_store.upload import Feed, Plan, StoppedError
from holdfast.core.backend import PutOptions
from holdfast.core.errors import HoldfastError
from holdfast.core.types import BlobInfo

#: Attributes that the library names itself; whatever else it shows is user metadata.
_STANDARD = frozenset(
    {
        "Content-Type",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Cache-Control",
        "Storage-Class",
    }
)
_NEVER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to get or head: what is known, which bytes will come (start, end), and where from."""

    info: BlobInfo
    span: tuple[int, int]
    result: Any  #: obstore's GetResult; its type is not importable at run time


class Driver:
    """Put, get and head of one bucket by key."""

    def __init__(self, settings: S3Settings, source: CredentialSource) -> None:
        self._settings = settings
        self._source = source
        self._store = _open(settings, self._credentials)

    async def put_bytes(self, where: Where, key: str, data: bytes, options: PutOptions) -> str | None:
        """Store `data` in one request and return the ETag without quotes."""
        try:
            result = await obstore.put_async(
                self._store,
                key,
                data,
                attributes=_attributes(self._settings, options),
                use_multipart=False,
                mode="create" if where.if_absent else "overwrite",
            )
        except Exception as error:
            raise from_obstore(error, where) from error
        return _plain(result["e_tag"])

    async def put_stream(
        self, where: Where, key: str, feed: Feed, plan: Plan, options: PutOptions
    ) -> str | None:
        """Store what `feed` yields, in parts, and return the ETag; cancelled, it waits until the parts are given back."""
        attributes = _attributes(self._settings, options)
        upload = asyncio.ensure_future(_send(self._store, key, feed, plan, attributes))
        try:
            result = await asyncio.shield(upload)
        except asyncio.CancelledError:
            feed.stop()
            await _settled(upload)
            raise
        except HoldfastError:
            raise
        except Exception as error:
            if feed.error is not None and not isinstance(feed.error, StoppedError):
                raise feed.error from error
            raise from_obstore(error, where) from error
        finally:
            await feed.close()
        return _plain(result["e_tag"])

    async def get(self, where: Where, key: str, wish: Any = None) -> Found:
        """Open `key`, all of it or the range that `wish` is in the library's terms."""
        try:
            if wish is None:
                result = await obstore.get_async(self._store, key)
            else:
                result = await obstore.get_async(self._store, key, options={"range": wish})
            return _found(where.name, result)
        except Exception as error:
            raise from_obstore(error, where) from error

    async def head(self, where: Where, key: str) -> BlobInfo:
        """Return what is known of `key`."""
        try:
            return _found(where.name, await obstore.get_async(self._store, key, options={"head": True})).info
        except Exception as error:
            raise from_obstore(error, where) from error

    async def _credentials(self) -> dict[str, Any]:
        held = await self._source.current()
        ends = datetime.fromtimestamp(held.expires / 1e6, UTC) if held.expires else None
        return {
            "access_key_id": held.access_key,
            "secret_access_key": held.secret_key,
            "token": held.token,
            "expires_at": ends,
        }


def _open(settings: S3Settings, credentials: Any) -> S3Store:
    address = Address.of(settings)
    # With the bucket in the host the library wants it in the endpoint; else it adds it to the path itself.
    base = address.root if settings.addressing == "virtual" else address.root.rpartition("/")[0]
    config: dict[str, Any] = {
        "endpoint": f"{address.scheme}://{address.host}{base}",
        "aws_endpoint_url_s3": f"{address.scheme}://{address.host}{base}",
        "region": settings.region,
        "virtual_hosted_style_request": settings.addressing == "virtual",
        "unsigned_payload": settings.tls,
        "skip_signature": False,
        "s3_express": False,
        "conditional_put": "etag",
        **_encryption(settings),
    }
    if settings.checksum_algorithm:
        config["checksum_algorithm"] = settings.checksum_algorithm
    return S3Store(
        settings.bucket,
        config=cast(Any, config),
        client_options=cast(Any, _client(settings)),
        retry_config={
            "max_retries": settings.retries,
            "retry_timeout": timedelta(seconds=RETRIED),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
        credential_provider=credentials,
    )


def _client(settings: S3Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=settings.connect_timeout),
        "read_timeout": timedelta(seconds=settings.read_timeout),
        "timeout": _NEVER,
        "allow_http": not settings.tls,
        "allow_invalid_certificates": not settings.verify_tls,
        "pool_idle_timeout": timedelta(seconds=30),
    }
    if settings.ca_file is not None:
        options["root_certificate"] = settings.ca_file.read_bytes()
    return options


def _encryption(settings: S3Settings) -> dict[str, Any]:
    if settings.sse == "none":
        return {}
    if settings.sse == "sse-c":
        return {
            "server_side_encryption": "sse-c",
            "sse_customer_key_base64": settings.sse_c_key.get_secret_value(),
        }
    kind = "AES256" if settings.sse == "sse-s3" else "aws:kms"
    return {"server_side_encryption": kind} | (
        {"sse_kms_key_id": settings.sse_kms_key_id} if settings.sse_kms_key_id else {}
    )


def _attributes(settings: S3Settings, options: PutOptions) -> Any:
    attributes: dict[str, str] = {"Content-Type": metadata.check_content_type(options.content_type)}
    if settings.storage_class:
        attributes["Storage-Class"] = settings.storage_class
    if options.metadata:
        attributes |= metadata.encode(options.metadata)
    return attributes


async def _send(store: S3Store, key: str, feed: Feed, plan: Plan, attributes: Any) -> Any:
    return await obstore.put_async(
        store,
        key,
        cast(Any, feed),
        attributes=attributes,
        use_multipart=True,
        chunk_size=plan.part_size,
        max_concurrency=plan.concurrency,
    )


async def _settled(upload: asyncio.Future[Any]) -> None:
    """Wait until the upload has ended, whatever it ends with and however often we are cancelled meanwhile."""
    while not upload.done():
        try:
            await asyncio.shield(upload)
        except asyncio.CancelledError:
            continue
        except Exception:
            return


def _found(name: str, result: Any) -> Found:
    meta: Mapping[str, Any] = result.meta
    extra = {key: value for key, value in result.attributes.items() if key not in _STANDARD}
    info = BlobInfo(
        name=name,
        size=meta["size"],
        modified=int(meta["last_modified"].timestamp() * 1_000_000),
        etag=_plain(meta["e_tag"]),
        metadata=metadata.decode(extra) if extra else {},
    )
    return Found(info, result.range, result)


def _plain(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None
