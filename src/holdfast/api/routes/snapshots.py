"""Snapshots of buckets, and differences between moments."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import moments
from holdfast.api.routes.params import AT, MARKER, WHOLE
from holdfast.api.routing import Param, Route

_ALL: Final = "/api/v1/snapshots/{bucket}"
_ONE: Final = _ALL + "/{name}"
_LIMIT: Final = Param("limit", "more than 1,000 counts as 1,000", {**WHOLE, "default": 1000})
_SAID: Final[dict[int, Any]] = {200: moments.SnapshotInfo}

SNAPSHOTS: Final = (
    Route(
        "GET",
        _ALL,
        moments.list_snapshots,
        "List snapshots of a bucket",
        (MARKER, _LIMIT),
        answers={200: moments.SnapshotList},
    ),
    Route("GET", _ONE, moments.show_snapshot, "Show a snapshot", answers=_SAID),
    Route(
        "PUT",
        _ONE,
        moments.create_snapshot,
        "Give a moment of a bucket a name",
        (),
        moments.SnapshotWish,
        {201: moments.SnapshotInfo},
    ),
    Route("DELETE", _ONE, moments.delete_snapshot, "Forget a snapshot", answers={204: None}),
    Route(
        "GET",
        "/api/v1/differences/{bucket}",
        moments.differences,
        "Tell which keys are not the same at two moments",
        (
            AT,
            Param("until", "the later moment; without it, now"),
            Param("prefix", "only keys that start with this"),
            MARKER,
            _LIMIT,
        ),
        answers={200: moments.Differences},
    ),
)
