"""Objects by bucket and key, and uploads by form."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import models, reading, uploading, writing
from holdfast.api.routes.params import (
    ABOUT,
    BINARY,
    COPY_SOURCE,
    DIGESTS,
    FORM,
    FORM_PLACE,
    GUARDS,
    IDEMPOTENCY,
    IF_RANGE,
    RANGE,
    READING,
    VERSION_ID,
)
from holdfast.api.routing import Route

_OBJECT: Final = "/api/v1/objects/{bucket}/{key...}"
_DOWNLOAD: Final = "/api/v1/download/{bucket}/{key...}"
_READ: Final[dict[int, Any]] = {200: BINARY, 206: BINARY, 304: None}
_HEAD: Final[dict[int, Any]] = {200: None, 304: None}

OBJECTS: Final = (
    Route(
        "GET",
        _OBJECT,
        reading.get_object,
        "Read an object",
        (*READING, RANGE, IF_RANGE),
        answers=_READ,
        public=True,
    ),
    Route("HEAD", _OBJECT, reading.head_object, "Look at an object", READING, answers=_HEAD, public=True),
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
        "GET",
        _DOWNLOAD,
        reading.get_object,
        "Download a file",
        (*READING, RANGE, IF_RANGE),
        answers=_READ,
        public=True,
    ),
    Route("HEAD", _DOWNLOAD, reading.head_object, "Look at a file", READING, answers=_HEAD, public=True),
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
        (*GUARDS, IDEMPOTENCY),
        models.Copy,
        {201: models.Stored},
    ),
)
