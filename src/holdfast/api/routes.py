"""Every route of the door, in one table: what serves and what describes it is the same line."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import listing, models, reading, uploading, uploads, writing
from holdfast.api.routing import Handler, Param, Route

_WHOLE: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
BINARY: Final = "binary"  #: a body of raw bytes
FORM: Final = "form"  #: a multipart form

VERSION_ID: Final = Param("version_id", "this version instead of the current one")
DISPOSITION: Final = Param(
    "disposition",
    "`inline` lets a browser show images, audio, video and plain text; everything else stays an attachment",
    {"type": "string", "enum": ["inline", "attachment"]},
)
IF_MATCH: Final = Param("If-Match", "ETags, or `*`: go on only if the object has one of them", where="header")
IF_NONE: Final = Param("If-None-Match", "ETags, or `*`: go on only if it has none of them", where="header")
IF_SINCE: Final = Param("If-Modified-Since", "an HTTP date; 304 if not changed since", where="header")
IF_UNSINCE: Final = Param("If-Unmodified-Since", "an HTTP date; 412 if changed since", where="header")
RANGE: Final = Param(
    "Range", "one range of bytes; several, or anything else, are ignored and all is sent", where="header"
)
IF_RANGE: Final = Param("If-Range", "ETag or date: the range only of this version", where="header")
READING: Final = (VERSION_ID, DISPOSITION, IF_MATCH, IF_NONE, IF_SINCE, IF_UNSINCE)
GUARDS: Final = (IF_MATCH, IF_NONE, IF_UNSINCE)
IDEMPOTENCY: Final = Param(
    "Idempotency-Key",
    "1 to 255 characters of the client's choice: the same request sent again is done once",
    {"type": "string", "maxLength": 255},
    "header",
)
ABOUT: Final = (
    Param("Content-Type", "of the object; guessed from the key when missing", where="header"),
    Param("x-holdfast-meta-NAME", "user metadata; name and value percent-encoded UTF-8", where="header"),
    Param("x-holdfast-tagging", "tags as `a=1&b=2`", where="header"),
)
DIGESTS: Final = (
    Param("Repr-Digest", "`sha-256=:BASE64:`, checked before anything becomes visible", where="header"),
    Param("Content-Digest", "as Repr-Digest", where="header"),
    Param("Content-MD5", "MD5 in Base64, checked", where="header"),
    Param("x-amz-checksum-sha256", "SHA-256 in Base64, checked", where="header"),
    Param("x-amz-checksum-crc64nvme", "CRC-64/NVME in Base64, checked", where="header"),
)
COPY_SOURCE: Final = Param(
    "x-holdfast-copy-source", "`bucket/key`, percent-encoded: copy that instead of the body", where="header"
)
PAGE: Final = (
    Param("prefix", "only keys that start with this"),
    Param("delimiter", "fold keys that share what comes before it into `prefixes`"),
    Param(
        "limit", "items and prefixes together; more than 1,000 counts as 1,000", {**_WHOLE, "default": 1000}
    ),
)
MARKER: Final = Param("marker", "start after this key or prefix: the last page's `next_marker`")
PLACE: Final = (
    Param("bucket", "the upload's bucket", required=True),
    Param("key", "the upload's key", required=True),
)
FORM_PLACE: Final = (Param("bucket", "instead of the field"), Param("key", "instead of the field"))

_OBJECT: Final = "/api/v1/objects/{bucket}/{key...}"
_DOWNLOAD: Final = "/api/v1/download/{bucket}/{key...}"
_UPLOAD: Final = "/api/v1/uploads/{upload_id}"
_READ: Final[dict[int, Any]] = {200: BINARY, 206: BINARY, 304: None}
_HEAD: Final[dict[int, Any]] = {200: None, 304: None}

OBJECTS: Final = (
    Route("GET", _OBJECT, reading.get_object, "Read an object", (*READING, RANGE, IF_RANGE), answers=_READ),
    Route("HEAD", _OBJECT, reading.head_object, "Look at an object", READING, answers=_HEAD),
    Route(
        "PUT",
        _OBJECT,
        writing.put_object,
        "Store the body, or a copy, as an object",
        (*ABOUT, *DIGESTS, *GUARDS, IDEMPOTENCY, COPY_SOURCE),
        BINARY,
        {201: models.Stored},
    ),
    Route(
        "DELETE",
        _OBJECT,
        writing.delete_object,
        "Remove an object or a version",
        (VERSION_ID, *GUARDS),
        answers={204: None},
    ),
    Route(
        "GET", _DOWNLOAD, reading.get_object, "Download a file", (*READING, RANGE, IF_RANGE), answers=_READ
    ),
    Route("HEAD", _DOWNLOAD, reading.head_object, "Look at a file", READING, answers=_HEAD),
    Route(
        "DELETE",
        "/api/v1/delete/{bucket}/{key...}",
        writing.delete_file,
        "Delete a file",
        (VERSION_ID, *GUARDS),
        answers={200: models.Done},
    ),
    Route(
        "POST",
        "/api/v1/upload",
        uploading.upload,
        "Upload one or many files by form",
        (*FORM_PLACE, *GUARDS, IDEMPOTENCY),
        FORM,
        {201: models.Stored | models.StoredFiles},
    ),
    Route(
        "POST",
        "/api/v1/upload/stream",
        uploading.upload_stream,
        "Upload a file of unknown length, by form or as the raw body",
        (*FORM_PLACE, *ABOUT, *DIGESTS, *GUARDS, IDEMPOTENCY),
        FORM,
        {201: models.Stored},
    ),
    Route(
        "POST",
        "/api/v1/copy",
        writing.copy_object,
        "Copy an object",
        GUARDS,
        models.Copy,
        {201: models.Stored},
    ),
)

BUCKETS: Final = (
    Route("GET", "/api/v1/buckets", listing.list_buckets, "List buckets", answers={200: models.Buckets}),
    Route(
        "POST",
        "/api/v1/buckets",
        listing.create_bucket,
        "Make a bucket",
        (),
        models.NewBucket,
        {201: models.BucketInfo},
    ),
    Route(
        "DELETE",
        "/api/v1/buckets/{name}",
        listing.delete_bucket,
        "Remove an empty bucket",
        answers={200: models.Done},
    ),
    Route(
        "GET",
        "/api/v1/buckets/{name}/files",
        listing.list_objects,
        "List a bucket",
        (*PAGE, MARKER),
        answers={200: models.Listing},
    ),
    Route(
        "GET",
        "/api/v1/list/{bucket}",
        listing.list_objects,
        "List objects in byte order",
        (*PAGE, MARKER),
        answers={200: models.Listing},
    ),
    Route(
        "GET",
        "/api/v1/versions/{bucket}",
        listing.list_versions,
        "List versions",
        (*PAGE, Param("key_marker", "`next_key_marker`"), Param("version_marker", "`next_version_marker`")),
        answers={200: models.Versions},
    ),
)

UPLOADS: Final = (
    Route(
        "POST",
        "/api/v1/uploads",
        uploads.create_upload,
        "Open a multipart upload",
        (),
        models.NewUpload,
        {201: models.UploadInfo},
    ),
    Route(
        "GET",
        "/api/v1/uploads",
        uploads.list_uploads,
        "List open uploads",
        (
            Param("bucket", "whose uploads", required=True),
            PAGE[0],
            PAGE[2],
            Param("key_marker", "the last item's key"),
            Param("id_marker", "the last item's upload_id"),
        ),
        answers={200: models.Uploads},
    ),
    Route(
        "PUT",
        _UPLOAD + "/parts/{number}",
        uploads.put_part,
        "Store a part",
        (*PLACE, *DIGESTS),
        BINARY,
        {200: models.PartInfo},
    ),
    Route(
        "GET",
        _UPLOAD + "/parts",
        uploads.list_parts,
        "List parts",
        (*PLACE, Param("after", "parts above this number", _WHOLE), PAGE[2]),
        answers={200: models.Parts},
    ),
    Route(
        "POST",
        _UPLOAD + "/complete",
        uploads.complete_upload,
        "Make the object of its parts",
        (*PLACE, *GUARDS),
        models.Completion,
        {201: models.Stored},
    ),
    Route("DELETE", _UPLOAD, uploads.abort_upload, "Give an upload up", PLACE, answers={204: None}),
)


def service(health: Handler, metrics: Handler, openapi: Handler, *, metrics_open: bool) -> tuple[Route, ...]:
    """Return the routes about the service itself."""
    return (
        Route(
            "GET",
            "/health",
            health,
            "Whether the service can work",
            answers={200: models.Health, 503: models.Health},
            open=True,
        ),
        Route("GET", "/metrics", metrics, "Figures for Prometheus", answers={200: "text"}, open=metrics_open),
        Route("GET", "/openapi.json", openapi, "This description", answers={200: dict}, open=True),
    )
