"""How artifacts come in: as a form with a file, as JSON with a small content, or as bytes with their name in the query."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Final

from holdfast.api.body import MAX_JSON, body_of, small_body
from holdfast.api.describe import content_type_of
from holdfast.api.digests import digests_of, of_fields
from holdfast.api.documents import parse
from holdfast.api.exchange import Exchange
from holdfast.api.execution_models import ArtifactContent
from holdfast.api.forms import FormPart, is_form, parts_of
from holdfast.api.models import decode
from holdfast.config.units import parse_time
from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError
from holdfast.core.records import Artifact
from holdfast.core.types import NO_DIGESTS, Digests
from holdfast.engine.executions import Executions, NewArtifact

_FIELDS: Final = (
    *("name", "artifact_id", "artifact_type", "retention_policy", "content_type"),
    *("compression", "encryption_key_ref"),
)
_DIGESTS: Final = ("checksum", "sha256", "md5")
_PLAIN: Final = ("", "application/octet-stream")


async def take_artifact(exchange: Exchange, execution_id: str) -> Artifact:
    """Store what the request brings as an artifact of a run."""
    runs = exchange.session.executions
    await runs.expect(execution_id)
    if is_form(exchange):
        return await _form(exchange, runs, execution_id)
    if (content_type_of(exchange) or "").partition(";")[
        0
    ].strip().lower() == "application/json" and not exchange.query:
        return await _json(exchange, runs, execution_id)
    wish = _wish(
        exchange.query, exchange.query.get("name", ""), content_type_of(exchange), digests_of(exchange)
    )
    return await runs.add(execution_id, wish, await body_of(exchange))


async def _form(exchange: Exchange, runs: Executions, execution_id: str) -> Artifact:
    fields: dict[str, str] = {}
    made: Artifact | None = None
    async for part in parts_of(exchange):
        if made is not None:
            raise InvalidRequestError("the file comes last, and there is one; it is stored")
        if part.filename is None and part.name != "file":
            if part.name not in (*_FIELDS, *_DIGESTS, "metadata"):
                raise InvalidRequestError(
                    f"there is no field {part.name[:40]!r} here; there are {', '.join(_FIELDS)}"
                )
            fields[part.name] = await part.text()
            continue
        made = await runs.add(execution_id, _of_form(fields, part), Body.of_stream(part.chunks))
    if made is None:
        raise InvalidRequestError("no file: send it as the last part, called 'file', with a filename")
    return made


def _of_form(fields: Mapping[str, str], part: FormPart) -> NewArtifact:
    digests = {
        "sha256" if name == "checksum" else name: text for name, text in fields.items() if name in _DIGESTS
    }
    called = "checksum" if "checksum" in fields else "sha256"
    kind = part.content_type if part.content_type not in _PLAIN else None
    return _wish(fields, part.filename or "", kind, of_fields(digests, sha256=called))


def _wish(fields: Mapping[str, str], name: str, content_type: str | None, digests: Digests) -> NewArtifact:
    metadata = parse(fields["metadata"]) if fields.get("metadata") else {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidRequestError("metadata is a JSON object of strings")
    return NewArtifact(
        fields.get("name") or name,
        fields.get("artifact_id", ""),
        fields.get("artifact_type") or "artifact",
        fields.get("retention_policy", ""),
        fields.get("content_type") or content_type,
        fields.get("compression", ""),
        fields.get("encryption_key_ref", ""),
        {key: str(value) for key, value in metadata.items()},
        digests,
    )


async def _json(exchange: Exchange, runs: Executions, execution_id: str) -> Artifact:
    said = decode(ArtifactContent, await small_body(exchange, MAX_JSON))
    if (said.content is None) == (said.file_path is None):
        raise InvalidRequestError("send either content or file_path; large contents go as a form or as bytes")
    wish = NewArtifact(
        said.name,
        said.artifact_id or "",
        said.artifact_type,
        said.retention_policy or "",
        said.content_type,
        said.compression,
        said.encryption_key_ref,
        said.metadata,
        NO_DIGESTS if said.checksum is None else of_fields({"sha256": said.checksum}, sha256="checksum"),
    )
    if said.file_path is not None:
        seconds = None if said.expires_in is None else _seconds(said.expires_in)
        return await runs.register(execution_id, wish, said.file_path, seconds=seconds)
    if said.expires_in is not None:
        raise InvalidRequestError("expires_in is for files in place; contents go when their bucket says so")
    return await runs.add(execution_id, wish, Body.of_bytes(_bytes(said)))


def _bytes(said: ArtifactContent) -> bytes:
    text = said.content or ""
    if said.encoding == "utf-8":
        return text.encode()
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise InvalidRequestError("the content is not Base64") from None


def _seconds(value: int | str) -> float:
    try:
        found = parse_time(value)
    except ValueError as error:
        raise InvalidRequestError(f"expires_in: {error}") from None
    assert isinstance(found, int | float)
    return float(found)
