"""Resumable uploads by the tus protocol."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.routes.params import BINARY
from holdfast.api.routing import Param, Route
from holdfast.api.tus import Tus

_ROOT: Final = "/api/v1/tus"
_UPLOAD: Final = _ROOT + "/{upload_id}"
_COUNT: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9]{1,18}$"}


def _header(name: str, description: str, schema: dict[str, Any] | None = None) -> Param:
    return Param(name, description, schema or {"type": "string"}, "header")


_VERSION: Final = Param("Tus-Resumable", "`1.0.0`", {"type": "string", "enum": ["1.0.0"]}, "header", True)
_CHECKSUM: Final = _header("Upload-Checksum", "an algorithm and the digest of this body in Base64; checked")
_LENGTH: Final = _header("Upload-Length", "bytes of the whole", _COUNT)
_CREATION: Final = (
    _VERSION,
    Param("bucket", "where the object goes; or `bucket` in Upload-Metadata"),
    Param("key", "its key; or `key`, or `filename`, in Upload-Metadata"),
    _LENGTH,
    _header("Upload-Defer-Length", "`1`: a later PATCH tells the length"),
    _header(
        "Upload-Metadata",
        "pairs of a name and Base64: bucket, key, filename and filetype are understood, others are kept as metadata",
    ),
    _header("Upload-Concat", "`partial`, or `final;` and the addresses of finished partial uploads"),
    _CHECKSUM,
)
_OFFSET: Final = _header("Upload-Offset", "how many bytes are there already", _COUNT)
_OVERRIDE: Final = _header("X-HTTP-Method-Override", "`HEAD`, `PATCH` or `DELETE`")


def tus(door: Tus | type[Tus]) -> tuple[Route, ...]:
    """Return the routes of resumable uploads."""
    return (
        Route("OPTIONS", _ROOT, door.options, "What tus offers here", answers={204: None}, open=True),
        Route("POST", _ROOT, door.create, "Open a resumable upload", _CREATION, answers={201: None}),
        Route(
            "OPTIONS",
            _UPLOAD,
            door.options_of,
            "What tus offers for an upload",
            answers={204: None},
            open=True,
        ),
        Route("HEAD", _UPLOAD, door.head, "How far an upload is", (_VERSION,), answers={200: None}),
        Route(
            "PATCH",
            _UPLOAD,
            door.patch,
            "Append to an upload",
            (_VERSION, _OFFSET, _LENGTH, _CHECKSUM),
            BINARY,
            {204: None},
        ),
        Route("DELETE", _UPLOAD, door.delete, "Give a resumable upload up", (_VERSION,), answers={204: None}),
        Route(
            "POST",
            _UPLOAD,
            door.post,
            "The same by POST",
            (_VERSION, _OVERRIDE, _OFFSET, _LENGTH, _CHECKSUM),
            answers={200: None, 204: None},
        ),
    )
