"""Signed URLs."""

from __future__ import annotations

from typing import Any

from holdfast.api.routing import Route
from holdfast.api.sharing import DownloadWish, Sharing, SignedLink, SignWish, UploadWish


def sharing(made: Sharing | type[Sharing] = Sharing) -> tuple[Route, ...]:
    """Return the routes that make signed URLs; the class itself serves to describe them."""
    table: tuple[tuple[str, Any, str, Any], ...] = (
        ("/api/v1/storage/upload-url", made.upload_url, "Make a URL to upload with", UploadWish),
        ("/api/v1/storage/download-url", made.download_url, "Make a URL to download with", DownloadWish),
        ("/api/v1/sign", made.sign, "Make a signed URL", SignWish),
    )
    return tuple(
        Route("POST", path, handler, summary, body=body, answers={201: SignedLink})
        for path, handler, summary, body in table
    )
