"""What storing costs."""

from __future__ import annotations

from typing import Final

from holdfast.api import costs, spending
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
    Route(
        "GET",
        "/api/v1/cost/ledger",
        spending.show_ledger,
        "What stores were asked, as their providers bill it; for operators",
        (
            Param("days", "the last so many days, 1 to 3,660", {"type": "integer", "default": 30}),
            Param("store", "only of this store"),
        ),
        answers={200: spending.LedgerAnswer},
    ),
    Route(
        "POST",
        "/api/v1/cost/what-if",
        spending.show_what_if,
        "What the same use would cost at other prices; for operators",
        (),
        spending.WhatIfWish,
        {200: spending.WhatIfAnswer},
    ),
    Route(
        "GET",
        "/api/v1/cost/savings",
        spending.show_savings,
        "What was saved so far against one price for everything; for operators",
        (
            Param(
                "single",
                "the key of the price that is compared with",
                {"type": "string", "default": spending.SINGLE},
            ),
            Param("days", "the last so many days, 1 to 3,660", {"type": "integer", "default": 365}),
        ),
        answers={200: spending.SavingsAnswer},
    ),
    Route(
        "GET",
        "/api/v1/cost/advice",
        spending.show_advice,
        "Where objects that nobody asks for would be cheaper; for operators",
        (
            Param("suppose", "NAME=PRICE of stores that are not there yet, with commas between"),
            Param("tenant", "only of this tenant"),
            Param(
                "horizon",
                "days over which a move has to pay, 30 to 3,650",
                {"type": "integer", "default": 365},
            ),
        ),
        answers={200: spending.AdviceAnswer},
    ),
)
