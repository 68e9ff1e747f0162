"""What storing costs."""

from __future__ import annotations

from typing import Final

from holdfast.api import costs
from holdfast.api.routing import Param, Route

_BY: Final = Param(
    "by",
    "how the report is cut; a class is the label `hot`, `cold` or `archive` of a store",
    {"type": "string", "enum": ["store", "tenant", "bucket", "class"], "default": "store"},
)
_MEASURE: Final = Param(
    "measure",
    "`true`: look at every copy first instead of using the last measurement; for operators",
    {"type": "string", "enum": ["true", "false"]},
)

COST: Final = (
    Route(
        "GET",
        "/api/v1/cost",
        costs.show_cost,
        "What is stored costs so much a month",
        (
            _BY,
            Param("tenant", "only of this tenant; other tenants than one's own are for operators"),
            _MEASURE,
        ),
        answers={200: costs.CostAnswer},
    ),
    Route(
        "GET", "/api/v1/cost/prices", costs.show_prices, "Show the price book", answers={200: costs.PriceList}
    ),
    Route(
        "POST",
        "/api/v1/cost/compare",
        costs.compare_costs,
        "Compare one price for all with a price for each part",
        (),
        costs.CompareWish,
        {200: costs.CompareAnswer},
    ),
)
