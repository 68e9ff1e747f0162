"""Legal hold, retention lock, and what lifecycle rules want of an object."""

from __future__ import annotations

from typing import Final

from holdfast.api import retention
from holdfast.api.routes.params import VERSION_ID
from holdfast.api.routing import Route

_HOLD: Final = "/api/v1/hold/{bucket}/{key...}"
_LOCK: Final = "/api/v1/retention/{bucket}/{key...}"

RETENTION: Final = (
    Route(
        "GET",
        _HOLD,
        retention.show_hold,
        "What keeps a version",
        (VERSION_ID,),
        answers={200: retention.KeptInfo},
    ),
    Route(
        "PUT",
        _HOLD,
        retention.set_hold,
        "Set or clear a legal hold",
        (VERSION_ID,),
        retention.HoldWish,
        {200: retention.KeptInfo},
    ),
    Route(
        "GET",
        _LOCK,
        retention.show_hold,
        "What keeps a version",
        (VERSION_ID,),
        answers={200: retention.KeptInfo},
    ),
    Route(
        "PUT",
        _LOCK,
        retention.set_lock,
        "Set, lengthen or lift a retention lock",
        (VERSION_ID,),
        retention.LockWish,
        {200: retention.KeptInfo},
    ),
    Route(
        "GET",
        "/api/v1/lifecycle/explain/{bucket}/{key...}",
        retention.explain,
        "What becomes of an object, and why",
        (VERSION_ID,),
        answers={200: retention.LifeInfo},
    ),
)
