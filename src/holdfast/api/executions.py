"""Executions and the artifacts that they left: where each is, how to get it, or its bytes."""

from __future__ import annotations

from base64 import b64encode
from typing import Final
from urllib.parse import quote

from msgspec import UnsetType

from holdfast.api.artifact_intake import take_artifact
from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.conditions import range_of
from holdfast.api.describe import SAFE, disposition, iso
from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange
from holdfast.api.execution_models import (
    ArtifactDownload,
    ArtifactInfo,
    ExecutionChange,
    ExecutionDone,
    Executions,
    NewExecution,
    artifact_info,
    execution_info,
)
from holdfast.api.listing import number
from holdfast.api.models import decode, encode
from holdfast.api.reading import send_object
from holdfast.api.sharing import base_of
from holdfast.core.errors import InvalidRangeError, InvalidRequestError
from holdfast.core.records import Artifact, Execution
from holdfast.core.types import Span
from holdfast.engine.executions import DATABASE, FILESYSTEM
from holdfast.engine.in_place import OpenFile
from holdfast.engine.signing import OBJECTS, Wish
from holdfast.policy.signing import Purpose

_RUNS: Final = "/api/v1/executions"
_LIFETIME: Final = 3600  #: seconds that the URL of a download holds


class ExecutionDoor:
    """Runs and artifacts. URLs are under `public_url`, or under the address by which each request came."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")

    # -- executions ---------------------------------------------------------------------------------------------
    async def create(self, exchange: Exchange) -> None:
        """Record a run; answers 201."""
        wish = decode(NewExecution, await small_body(exchange, MAX_JSON) or b"{}")
        made = await exchange.session.executions.create(
            wish.execution_id, name=wish.name, status=wish.status, metadata=wish.metadata
        )
        await exchange.answer_json(201, encode(execution_info(made)))

    async def list(self, exchange: Exchange) -> None:
        """Answer with a page of runs, the newest first."""
        before, after = _place(exchange.query.get("cursor", ""))
        found, more = await exchange.session.executions.list(
            before=before, after=after, limit=number(exchange, "limit", 100)
        )
        cursor = f"{found[-1].created}.{found[-1].id}" if more else ""
        await exchange.answer_json(200, encode(Executions([execution_info(one) for one in found], cursor)))

    async def show(self, exchange: Exchange, execution_id: str) -> None:
        """Answer with a run and all artifacts that it left."""
        found, artifacts = await exchange.session.executions.get(execution_id)
        told = [self._info(exchange, artifact) for artifact in artifacts]
        await exchange.answer_json(200, encode(execution_info(found, told)))

    async def change(self, exchange: Exchange, execution_id: str) -> None:
        """Change name, status or metadata of a run."""
        wish = decode(ExecutionChange, await small_body(exchange, MAX_JSON))
        made: Execution = await exchange.session.executions.update(
            execution_id,
            name=_given(wish.name),
            status=_given(wish.status),
            metadata=None if isinstance(wish.metadata, UnsetType) else wish.metadata,
        )
        await exchange.answer_json(200, encode(execution_info(made)))

    async def remove(self, exchange: Exchange, execution_id: str) -> None:
        """Remove a run with all its artifacts, for good; files in place are only forgotten."""
        count = await exchange.session.executions.delete(execution_id)
        await exchange.answer_json(
            200, encode(ExecutionDone("Execution deleted successfully", execution_id, count))
        )

    # -- artifacts ----------------------------------------------------------------------------------------------
    async def add(self, exchange: Exchange, execution_id: str) -> None:
        """Store an artifact; answers 201. It is sent as a form, as JSON, or as bytes with `?name=`.

        Small contents lie in the database, others in object storage; the kind of artifact says in which bucket.
        """
        made = await take_artifact(exchange, execution_id)
        await exchange.answer_json(201, encode(self._info(exchange, made)))

    async def show_artifact(self, exchange: Exchange, execution_id: str, artifact_id: str) -> None:
        """Answer with what is known of an artifact, as it is now."""
        found = await exchange.session.executions.artifact(execution_id, artifact_id)
        await exchange.answer_json(200, encode(self._info(exchange, found)))

    async def remove_artifact(self, exchange: Exchange, execution_id: str, artifact_id: str) -> None:
        """Remove an artifact with its content, for good; a file in place is only forgotten. 204."""
        await exchange.session.executions.remove(execution_id, artifact_id)
        await exchange.answer(204, ())

    async def download(self, exchange: Exchange, execution_id: str, artifact_id: str) -> None:
        """Answer with how to get an artifact: a signed URL from object storage, the content itself from the database.

        With `?redirect=true` the URL is the answer's Location (302). A file in place is sent at once.
        """
        artifact = await exchange.session.executions.reading(execution_id, artifact_id)
        if artifact.storage_type == FILESYSTEM:
            await _send_file(exchange, artifact)
        elif artifact.storage_type == DATABASE and not _redirects(exchange):
            await self._inline(exchange, artifact)
        else:
            await self._link(exchange, artifact)

    async def stream(self, exchange: Exchange, execution_id: str, artifact_id: str) -> None:
        """Answer with the bytes of an artifact, or a range of them, wherever they are."""
        artifact = await exchange.session.executions.reading(execution_id, artifact_id)
        if artifact.storage_type == FILESYSTEM:
            await _send_file(exchange, artifact)
        else:
            await send_object(exchange, artifact.bucket, artifact.key, artifact.version_id)

    # -----------------------------------------------------------------------------------------------------------
    async def _link(self, exchange: Exchange, artifact: Artifact) -> None:
        wish = Wish(Purpose.GET, _LIFETIME, query={"version_id": artifact.version_id})
        signed = await exchange.session.presign(artifact.bucket, artifact.key, wish)
        url = self._base(exchange) + signed.path
        if _redirects(exchange):
            headers = (
                (b"location", url.encode()),
                (b"cache-control", b"no-store"),
                (b"content-length", b"0"),
            )
            await exchange.answer(302, headers)
            return
        said = _download(artifact, download_url=url, expires_at=iso(signed.expires))
        await exchange.answer_json(200, encode(said))

    async def _inline(self, exchange: Exchange, artifact: Artifact) -> None:
        async with exchange.session.get(
            artifact.bucket, artifact.key, version_id=artifact.version_id
        ) as reader:
            data = await reader.read()
        try:
            text, encoding = data.decode(), "utf-8"
        except UnicodeDecodeError:
            text, encoding = b64encode(data).decode(), "base64"
        await exchange.answer_json(200, encode(_download(artifact, content=text, encoding=encoding)))

    def _info(self, exchange: Exchange, artifact: Artifact) -> ArtifactInfo:
        if artifact.bucket:
            place = quote(f"{artifact.bucket}/{artifact.key}", safe="/~")
            path = f"{OBJECTS}{place}?version_id={artifact.version_id}"
        else:
            path = f"{_RUNS}/{quote(artifact.execution_id)}/artifacts/{quote(artifact.id)}/stream"
        return artifact_info(artifact, self._base(exchange) + path)

    def _base(self, exchange: Exchange) -> str:
        return self._public_url or base_of(exchange)


async def _send_file(exchange: Exchange, artifact: Artifact) -> None:
    """Send a file that lies in place, or a range of it."""
    async with exchange.session.executions.file(artifact) as file:
        wish = range_of(exchange)
        try:
            span = Span(0, file.size) if wish is None else wish.resolve(file.size)
        except InvalidRangeError as error:
            total = b"bytes */%d" % file.size
            raise HttpRefusalError(416, error.message, headers=[(b"content-range", total)]) from error
        headers = [
            (b"content-type", artifact.content_type.encode("ascii", "replace")),
            (b"content-disposition", disposition("attachment", artifact.name)),
            (b"content-length", b"%d" % span.length),
            *SAFE,
        ]
        if wish is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (span.offset, span.end - 1, file.size)))
        if exchange.method == "HEAD" or not span.length:
            await exchange.answer(200 if wish is None else 206, headers)
            return
        await _stream(exchange, 200 if wish is None else 206, headers, file, span, artifact.checksum)


async def _stream(
    exchange: Exchange,
    status: int,
    headers: list[tuple[bytes, bytes]],
    file: OpenFile,
    span: Span,
    checksum: str,
) -> None:
    chunks = file.chunks(span, checksum)
    first = await anext(chunks)  # so that a file which is not the one that was registered is still an error
    await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": first, "more_body": True})
    async for chunk in chunks:
        await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


def _download(artifact: Artifact, **way: str) -> ArtifactDownload:
    """Return the answer with one of its two ways: `download_url` and `expires_at`, or `content` and `encoding`."""
    return ArtifactDownload(
        artifact_id=artifact.id,
        storage_type=artifact.storage_type,
        filename=artifact.name,
        content_type=artifact.content_type,
        size=artifact.size,
        checksum=artifact.checksum or None,
        **way,
    )


def _redirects(exchange: Exchange) -> bool:
    wish = exchange.query.get("redirect", "false").lower()
    if wish not in ("true", "false", "1", "0"):
        raise InvalidRequestError("redirect is true or false")
    return wish in ("true", "1")


def _place(cursor: str) -> tuple[int, str]:
    """Return (time, id) of the run that a page ended with."""
    created, _, last = cursor.partition(".")
    if not cursor:
        return 1 << 62, ""
    if not created.isascii() or not created.isdigit() or len(created) > 18:
        raise InvalidRequestError("the cursor is the next_cursor of a page")
    return int(created), last


def _given(text: str | UnsetType) -> str | None:
    return None if isinstance(text, UnsetType) else text
