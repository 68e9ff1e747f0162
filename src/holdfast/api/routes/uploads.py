"""Multipart uploads."""

from __future__ import annotations

from typing import Final

from holdfast.api import models, uploads
from holdfast.api.routes.params import BINARY, DIGESTS, GUARDS, PAGE, PLACE, WHOLE
from holdfast.api.routing import Param, Route

_UPLOAD: Final = "/api/v1/uploads/{upload_id}"

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
        (*PLACE, Param("after", "parts above this number", WHOLE), PAGE[2]),
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
