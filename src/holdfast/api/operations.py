"""What a request is to an operator: one word for each kind of operation, however many routes offer it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

#: Parts of route templates and the operation they mean by method ("" for any other); the first that fits counts.
_TABLE: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("/api/v1/uploads", {"PUT": "upload_part", "": "multipart"}),
    ("/api/v1/tus", {"PATCH": "upload_part", "": "multipart"}),
    ("/api/v1/batch", {"": "batch"}),
    ("/copy", {"": "copy"}),
    ("/restore", {"": "copy"}),
    ("/cleanup", {"": "delete"}),
    ("/objects/", {"GET": "download", "HEAD": "head", "PUT": "upload", "DELETE": "delete"}),
    ("/download", {"GET": "download", "HEAD": "head"}),
    ("/upload-url", {"": "sign"}),
    ("/download-url", {"": "sign"}),
    ("/sign", {"": "sign"}),
    ("/upload", {"": "upload"}),
    ("/delete/", {"": "delete"}),
    ("/versions", {"GET": "list", "DELETE": "delete"}),
    ("/list/", {"": "list"}),
    ("/buckets/{name}/files", {"": "list"}),
    ("/buckets", {"": "bucket"}),
    ("/files/{file_id}", {"GET": "head", "HEAD": "head", "DELETE": "delete", "": "update"}),
    ("/files", {"GET": "list"}),
)
_OURSELVES: Final = ("/health", "/metrics", "/stats", "/openapi.json", "/docs")


@lru_cache(512)
def operation_of(method: str, route: str) -> str:
    """Return the operation that a request by `method` on the template `route` is; "" when it is about the service."""
    if route == "other" or any(word in route for word in _OURSELVES):
        return ""
    for part, operations in _TABLE:
        if part in route:
            return operations.get(method) or operations.get("") or "other"
    return "other"
