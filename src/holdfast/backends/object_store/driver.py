"""The object-store library behind a narrow door: the few calls used of it, and the knowledge of where it bites.

* Its constructor reads `AWS_*` variables; everything that matters is therefore said explicitly.
* Small bodies must be bytes: an iterator always becomes a multipart upload.
* An upload that is cancelled leaves its parts behind; one whose source fails takes them back (see `upload.Feed`).
* It does not repeat a DELETE whose connection broke, and asks for one by POST; deletes are therefore ours.
* Its default deadline of 30 s includes the body; here silence is bounded, not duration.
* It keeps keys until five minutes before their end, cannot be told that they have ended sooner, and in the middle of an
  upload it cannot await new ones. So each set of keys has a client of its own; keys that end send their parts by hand.
* A blob's name is not checked by us but by the engine; names of the blob grammar come through unchanged (tested).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import obstore
from obstore.store import S3Store

from holdfast.backends.object_store import metadata
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.credentials import Credentials, CredentialSource, newer, renewable
from holdfast.backends.object_store.errors import KeysEndedError, Where, from_obstore, unsaid
from holdfast.backends.object_store.library import STANDARD, client_options, retry_config
from holdfast.backends.object_store.settings import S3Settings
from holdfast.backends.object_store.upload import Feed, Plan, StoppedError
from holdfast.core.backend import PutOptions
from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.core.types import BlobInfo

T = TypeVar("T")


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
        self._lent = _Lent()
        self._store = _open(settings, self._lent)
        self.renewable = renewable(source)

    async def keys(self) -> Credentials:
        """Return the keys that hold now."""
        return await self._source.current()

    async def put_bytes(self, where: Where, key: str, data: bytes, options: PutOptions) -> str | None:
        """Store `data` in one request and return the ETag without quotes."""
        attributes = _attributes(self._settings, options)

        async def send(store: S3Store) -> Any:
            return await obstore.put_async(
                store,
                key,
                data,
                attributes=attributes,
                use_multipart=False,
                mode="create" if where.if_absent else "overwrite",
            )

        return _plain((await self._with_keys(where, send))["e_tag"])

    async def put_stream(
        self, where: Where, key: str, feed: Feed, plan: Plan, options: PutOptions
    ) -> str | None:
        """Store what `feed` yields, in parts, and return the ETag; cancelled, it waits until the parts are given back."""
        attributes = _attributes(self._settings, options)
        store = self._opened(await self._source.current())
        upload = asyncio.ensure_future(_send(store, key, feed, plan, attributes))
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

        async def ask(store: S3Store) -> Found:
            if wish is None:
                return found_in(where, await obstore.get_async(store, key))
            return found_in(where, await obstore.get_async(store, key, options={"range": wish}))

        return await self._with_keys(where, ask)

    async def fetch(self, where: Where, key: str, most: int) -> bytes:
        """Return the first `most` bytes of `key`, or all if it has fewer, with one call of the library instead of two."""

        async def ask(store: S3Store) -> bytes:
            return (await obstore.get_range_async(store, key, start=0, end=most)).to_bytes()

        return await self._with_keys(where, ask)

    async def head(self, where: Where, key: str) -> BlobInfo:
        """Return what is known of `key`."""

        async def ask(store: S3Store) -> BlobInfo:
            try:
                return found_in(where, await obstore.get_async(store, key, options={"head": True})).info
            except Exception as error:
                raise unsaid(from_obstore(error, where), where, self.renewable) from error

        return await self._with_keys(where, ask)

    def translate(self, error: BaseException, where: Where) -> HoldfastError:
        """Return our error for one of the library's."""
        return from_obstore(error, where)

    async def _with_keys(self, where: Where, call: Callable[[S3Store], Awaitable[T]]) -> T:
        """Return what `call` does; done once more when the server says that the keys have ended and there are newer ones."""
        keys = await self._source.current()
        try:
            try:
                return await call(self._opened(keys))
            except Exception as error:
                raise from_obstore(error, where) from error
        except KeysEndedError:
            found = await newer(self._source, keys)
            if found is None:
                raise
        try:
            return await call(self._opened(found))
        except Exception as error:
            raise from_obstore(error, where) from error

    def _opened(self, keys: Credentials) -> S3Store:
        """Return the library's client for these keys; the one before lives on until its last request has ended."""
        if self._lent.keys is None:
            self._lent.keys = keys
        elif self._lent.keys is not keys and self._lent.keys != keys:
            self._lent = _Lent(keys)
            self._store = _open(self._settings, self._lent)
        return self._store


@dataclass(slots=True)
class _Lent:
    """Keys as the library asks for them: once, from a thread without a loop."""

    keys: Credentials | None = None

    def __call__(self) -> dict[str, Any]:
        assert self.keys is not None
        held = self.keys
        return {
            "access_key_id": held.access_key,
            "secret_access_key": held.secret_key,
            "token": held.token,
            "expires_at": None,
        }


def _open(settings: S3Settings, credentials: Any) -> S3Store:
    address = Address.of(settings)
    # With the bucket in the host the library wants it in the endpoint; else it adds it to the path itself.
    base = address.root if settings.addressing == "virtual" else address.root.rpartition("/")[0]
    config: dict[str, Any] = {
        "endpoint": f"{address.scheme}://{address.host}{base}",
        "aws_endpoint_url_s3": f"{address.scheme}://{address.host}{base}",
        "region": settings.server.region,
        "virtual_hosted_style_request": settings.addressing == "virtual",
        "unsigned_payload": settings.tls,
        "skip_signature": False,
        "s3_express": False,
        "conditional_put": "etag",
        **_encryption(settings),
    }
    if settings.checksum_algorithm:
        config["checksum_algorithm"] = settings.checksum_algorithm
    authority = settings.ca_file.read_bytes() if settings.ca_file is not None else b""
    return S3Store(
        settings.bucket,
        config=cast(Any, config),
        client_options=client_options(settings, plain=not settings.tls, authority=authority),
        retry_config=retry_config(settings),
        credential_provider=credentials,
    )


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
    if settings.storage_class and not (options.awake and settings.sleeps):
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


def found_in(where: Where, result: Any) -> Found:
    """Return what an answer of the library to get or head says.

    Raises:
        UnavailableError: it has neither an ETag nor a time, as the page of a gateway that answers with 200.
    """
    meta: Mapping[str, Any] = result.meta
    if not meta["e_tag"] and meta["last_modified"].timestamp() <= 0:
        raise UnavailableError(
            "the answer is not the store's own; something stands between it and us",
            operation=where.operation,
            store=where.store,
            name=where.name,
        )
    extra = {key: value for key, value in result.attributes.items() if key not in STANDARD}
    info = BlobInfo(
        name=where.name,
        size=meta["size"],
        modified=int(meta["last_modified"].timestamp() * 1_000_000),
        etag=_plain(meta["e_tag"]),
        metadata=metadata.decode(extra) if extra else {},
    )
    return Found(info, result.range, result)


def _plain(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None
