"""Who did what, and the proof that nobody changed the answer."""

from __future__ import annotations

from typing import Final

from holdfast.api import auditing
from holdfast.api.routes.params import WHOLE
from holdfast.api.routing import Param, Route

_SERVICE: Final = Param(
    "service",
    "`true`: what belongs to no tenant; for operators",
    {"type": "string", "enum": ["true", "false"]},
)
_LIMIT: Final = Param(
    "limit", "at most so many records", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)

AUDIT: Final = (
    Route(
        "GET",
        "/api/v1/audit",
        auditing.show_audit,
        "List who did what, oldest first",
        (
            Param("bucket", "only of this bucket"),
            Param("prefix", "only of keys that begin so"),
            Param("principal", "only of this credential's id"),
            Param("since", "not before this time, RFC 3339"),
            Param("until", "before this time, RFC 3339"),
            Param("after", "only records with a greater number", WHOLE),
            _LIMIT,
            _SERVICE,
        ),
        answers={200: auditing.Records},
    ),
    Route(
        "GET",
        "/api/v1/audit/verify",
        auditing.verify_audit,
        "Tell whether the audit is whole",
        (Param("expect", "a `head` seen earlier, which must still be part of it"), _SERVICE),
        answers={200: auditing.Verification},
    ),
)
