"""Buckets and listings."""

from __future__ import annotations

from typing import Final

from holdfast.api import bucket_models, buckets, listing, models
from holdfast.api.routes.params import AT, MARKER, PAGE
from holdfast.api.routing import Param, Route

_BUCKET: Final = "/api/v1/buckets/{name}"
_FORCE: Final = Param(
    "force", "`true`: with everything in it, for good", {"type": "string", "enum": ["true", "false"]}
)

BUCKETS: Final = (
    Route(
        "GET",
        "/api/v1/buckets",
        buckets.list_buckets,
        "List buckets",
        answers={200: bucket_models.Buckets},
    ),
    Route(
        "POST",
        "/api/v1/buckets",
        buckets.create_bucket,
        "Make a bucket",
        (),
        bucket_models.NewBucket,
        {201: bucket_models.BucketDetail},
    ),
    Route("GET", _BUCKET, buckets.show_bucket, "Show a bucket", answers={200: bucket_models.BucketDetail}),
    Route("HEAD", _BUCKET, buckets.show_bucket, "Whether there is such a bucket", answers={200: None}),
    Route(
        "PUT",
        _BUCKET,
        buckets.put_bucket,
        "Make a bucket, or replace its settings",
        (),
        bucket_models.BucketChange,
        {200: bucket_models.BucketDetail, 201: bucket_models.BucketDetail},
    ),
    Route(
        "PATCH",
        _BUCKET,
        buckets.change_bucket,
        "Change settings of a bucket",
        (),
        bucket_models.BucketChange,
        {200: bucket_models.BucketDetail},
    ),
    Route(
        "DELETE",
        _BUCKET,
        buckets.delete_bucket,
        "Remove a bucket",
        (_FORCE,),
        answers={200: models.Done},
    ),
    Route(
        "GET",
        "/api/v1/storage/buckets",
        buckets.storage_buckets,
        "List what buckets hold and may hold",
        answers={200: bucket_models.StorageBuckets},
    ),
    Route(
        "GET",
        "/api/v1/storage/buckets/{name}/stats",
        buckets.storage_bucket,
        "Show what a bucket holds and may hold",
        answers={200: bucket_models.BucketFigures},
    ),
    Route(
        "GET",
        "/api/v1/storage/quota",
        buckets.show_quota,
        "Show the tenant's quota and its use",
        answers={200: bucket_models.QuotaInfo},
    ),
    Route(
        "GET",
        "/api/v1/buckets/{name}/files",
        listing.list_objects,
        "List a bucket",
        (*PAGE, MARKER, AT),
        answers={200: models.Listing},
    ),
    Route(
        "GET",
        "/api/v1/list/{bucket}",
        listing.list_objects,
        "List objects in byte order",
        (*PAGE, MARKER, AT),
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
