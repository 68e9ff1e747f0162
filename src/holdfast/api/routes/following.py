"""Upstreams of buckets. For operators."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import upstreams
from holdfast.api.routing import Param, Route

_ALL: Final = "/api/v1/upstreams"
_ONE: Final = _ALL + "/{bucket}"
_TENANT: Final = (Param("tenant", "whose bucket it is; one's own tenant when it is not given"),)
_FORCE: Final = Param(
    "force",
    "`true`: even if changes are still to be written out",
    {"type": "string", "enum": ["true", "false"]},
)
_EACH: Final = (Param("tenant", "only those of this tenant"),)
_SAID: Final[dict[int, Any]] = {200: upstreams.UpstreamForm}

FOLLOWING: Final = (
    Route(
        "GET",
        _ALL,
        upstreams.show_upstreams,
        "List what buckets follow",
        _EACH,
        answers={200: upstreams.UpstreamsAnswer},
    ),
    Route("GET", _ONE, upstreams.show_upstream, "Tell what a bucket follows", _TENANT, answers=_SAID),
    Route(
        "PUT",
        _ONE,
        upstreams.attach_upstream,
        "Have a bucket follow a store",
        (),
        upstreams.UpstreamWish,
        _SAID,
    ),
    Route(
        "PATCH",
        _ONE,
        upstreams.change_upstream,
        "Change how a bucket follows a store",
        _TENANT,
        upstreams.UpstreamChange,
        _SAID,
    ),
    Route(
        "POST",
        _ONE + "/back",
        upstreams.take_upstream_back,
        "Write out what was changed, to go back",
        _TENANT,
        answers=_SAID,
    ),
    Route(
        "DELETE",
        _ONE,
        upstreams.detach_upstream,
        "Have a bucket follow nothing any more",
        (*_TENANT, _FORCE),
        answers={204: None},
    ),
)
