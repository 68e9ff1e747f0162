"""Buckets and listings."""

from __future__ import annotations

from typing import Final

from holdfast.api import listing, models
from holdfast.api.routes.params import MARKER, PAGE
from holdfast.api.routing import Param, Route

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
