"""What the catalog shall be like."""

from __future__ import annotations

from typing import Final

from holdfast.api import declaring
from holdfast.api.routing import Route

DECLARING: Final = (
    Route(
        "POST",
        "/api/v1/config/plan",
        declaring.plan_config,
        "Tell what would have to change in the catalog",
        (),
        declaring.ConfigWish,
        {200: declaring.ConfigChanges},
    ),
    Route(
        "POST",
        "/api/v1/config/apply",
        declaring.apply_config,
        "Make the catalog as described",
        (),
        declaring.ConfigOrder,
        {200: declaring.ConfigChanges},
    ),
)
