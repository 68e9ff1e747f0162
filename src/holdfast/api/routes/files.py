"""Files by id, their versions, and searches."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import file_models, files, models
from holdfast.api.routes.params import (
    BINARY,
    DISPOSITION,
    FORM,
    FORM_PLACE,
    GUARDS,
    IDEMPOTENCY,
    IF_MATCH,
    IF_NONE,
    IF_RANGE,
    IF_SINCE,
    IF_UNSINCE,
    RANGE,
    WHOLE,
)
from holdfast.api.routing import Param, Route

_FILE: Final = "/api/v1/files/{file_id}"
_VERSION: Final = _FILE + "/versions/{version_id}"
_DOWNLOAD: Final = "/api/v1/files/download/{file_id}"
_READING: Final = (DISPOSITION, IF_MATCH, IF_NONE, IF_SINCE, IF_UNSINCE)
_READ: Final[dict[int, Any]] = {200: BINARY, 206: BINARY, 304: None}
_SAID: Final = Param(
    "If-Match",
    "`metadata_etag` or the file's id: go on only if nobody else changed what is said",
    where="header",
)
SEARCH: Final = (
    Param("bucket", "only this one; without it all that may be searched"),
    Param("prefix", "only keys that start with this"),
    Param("suffix", "only keys that end with this"),
    Param("tag", "`NAME=VALUE`; for several, `tag.NAME=VALUE` once for each"),
    Param("metadata", "`NAME=VALUE`; for several, `metadata.NAME=VALUE` once for each"),
    Param("content_type", "a media type, or a pattern such as `image/*`"),
    Param("min_size", "bytes, or `10MB`"),
    Param("max_size", "bytes, or `10MB`"),
    Param("since", "stored at or after this time (ISO 8601; UTC unless it says otherwise)"),
    Param("until", "stored before this time"),
    Param(
        "limit", "files in a page; more than 1,000 counts as 1,000", {**WHOLE, "minimum": 1, "default": 100}
    ),
    Param("cursor", "the last page's `cursor`"),
)


def file_routes(door: Any) -> tuple[Route, ...]:
    """Return the routes of files; `door` is a `FileDoor`."""
    return (
        Route(
            "POST",
            "/api/v1/files/upload",
            door.upload,
            "Upload one or many files, each answered with its id",
            (*FORM_PLACE, *GUARDS, IDEMPOTENCY),
            FORM,
            {201: file_models.FilesUploaded, 207: file_models.FilesUploaded},
        ),
        *_FILES,
    )


_FILES: Final = (
    Route("GET", "/api/v1/files", files.search, "Find files", SEARCH, answers={200: file_models.FoundFiles}),
    Route(
        "GET",
        _DOWNLOAD,
        files.download,
        "Download a file by id",
        (*_READING, RANGE, IF_RANGE),
        answers=_READ,
        public=True,
    ),
    Route(
        "HEAD",
        _DOWNLOAD,
        files.head,
        "Look at a file by id",
        _READING,
        answers={200: None, 304: None},
        public=True,
    ),
    Route(
        "GET",
        _FILE,
        files.show,
        "Show what is known of a file",
        (IF_NONE,),
        answers={200: file_models.FileInfo, 304: None},
    ),
    Route(
        "PUT",
        _FILE,
        files.update,
        "Replace metadata, tags or type of a file",
        (_SAID,),
        file_models.FileUpdate,
        {200: file_models.FileInfo},
    ),
    Route(
        "PATCH",
        _FILE,
        files.patch,
        "Change metadata, tags or type of a file",
        (_SAID,),
        file_models.FilePatch,
        {200: file_models.FileInfo},
    ),
    Route("DELETE", _FILE, files.delete, "Remove a file for good", GUARDS, answers={200: models.Done}),
    Route(
        "GET",
        _FILE + "/versions",
        files.list_versions,
        "List the versions of a file's key",
        (Param("after", "behind this version: the last page's `next_after`"), SEARCH[-2]),
        answers={200: file_models.FileVersions},
    ),
    Route(
        "GET",
        _VERSION,
        files.show_version,
        "Show one version of a file's key",
        answers={200: file_models.FileInfo},
    ),
    Route(
        "POST",
        _VERSION + "/restore",
        files.restore_version,
        "Make a version current again",
        answers={201: file_models.FileInfo, 200: file_models.FileInfo},
    ),
    Route(
        "DELETE",
        _VERSION,
        files.delete_version,
        "Remove one version for good",
        GUARDS,
        answers={200: models.Done},
    ),
)
