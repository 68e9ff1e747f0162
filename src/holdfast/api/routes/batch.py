"""Requests over many objects, and how far they are."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import file_models
from holdfast.api.routes.params import BINARY, FORM, FORM_PLACE, GUARDS, IDEMPOTENCY, WHOLE
from holdfast.api.routing import Param, Route

_ROOT: Final = "/api/v1/batch"
_BATCH: Final = _ROOT + "/{batch_id}"
_DONE: Final[dict[int, Any]] = {
    200: file_models.BatchResults,
    207: file_models.BatchResults,
    202: file_models.BatchInfo,
}
_ID: Final = Param("batch_id", "a name of your own, to watch the progress by")
_LIMIT: Final = Param("limit", "batches in a page", {**WHOLE, "minimum": 1, "default": 100})


def batch_routes(files: Any, batches: Any) -> tuple[Route, ...]:
    """Return the routes of batches; `files` is a `FileDoor` and `batches` a `BatchDoor`."""
    one: dict[int, Any] = {200: file_models.BatchInfo}
    return (
        Route(
            "POST",
            _ROOT + "/upload",
            files.upload_many,
            "Upload up to 10,000 files",
            (*FORM_PLACE, _ID, *GUARDS, IDEMPOTENCY),
            FORM,
            {201: file_models.FilesUploaded, 207: file_models.FilesUploaded},
        ),
        Route(
            "POST",
            _ROOT + "/download",
            batches.download,
            "Download many objects as one archive",
            (),
            file_models.BatchDownload,
            {200: BINARY},
        ),
        Route(
            "POST",
            _ROOT + "/delete",
            batches.delete,
            "Remove many objects",
            (),
            file_models.BatchDelete,
            _DONE,
        ),
        Route("POST", _ROOT + "/copy", batches.copy, "Copy many objects", (), file_models.BatchCopy, _DONE),
        Route("POST", _ROOT + "/tag", batches.tag, "Tag many objects", (), file_models.BatchTag, _DONE),
        Route(
            "GET",
            _ROOT,
            batches.list,
            "List batches",
            (Param("before", "the last page's `next_before`", WHOLE), _LIMIT),
            answers={200: file_models.BatchList},
        ),
        Route("GET", _BATCH, batches.show, "How far a batch is", answers=one),
        Route("DELETE", _BATCH, batches.cancel, "Stop a batch", answers=one),
        Route(
            "GET",
            _BATCH + "/events",
            batches.events,
            "Watch a batch",
            (Param("wait", "seconds to wait for a batch that has not begun; at most 60", WHOLE),),
            answers={200: "events"},
        ),
    )
