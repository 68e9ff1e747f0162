"""Where objects belong: rules, explanations and simulations. For operators."""

from __future__ import annotations

from typing import Final

from holdfast.api import placing
from holdfast.api.routes.params import VERSION_ID
from holdfast.api.routing import Param, Route

_RULES: Final = "/api/v1/placement/rules"
_EXPLAIN: Final = "/api/v1/placement/explain"

PLACING: Final = (
    Route("GET", _RULES, placing.show_rules, "Show the placement rules", answers={200: placing.RulesAnswer}),
    Route(
        "PUT",
        _RULES,
        placing.put_rules,
        "Replace the placement rules of the catalog",
        (),
        placing.RulesWish,
        {200: placing.RulesAnswer},
    ),
    Route(
        "GET",
        _EXPLAIN,
        placing.explain_object,
        "Explain where an object belongs, and where it is",
        (
            Param("bucket", "its bucket", required=True),
            Param("key", "its key", required=True),
            VERSION_ID,
            Param("tenant", "its tenant; one's own when missing"),
        ),
        answers={200: placing.ExplainAnswer},
    ),
    Route(
        "POST",
        _EXPLAIN,
        placing.explain_facts,
        "Explain where an object would belong",
        (),
        placing.FactsForm,
        {200: placing.ExplainAnswer},
    ),
    Route(
        "POST",
        "/api/v1/placement/simulate",
        placing.simulate,
        "Tell what other rules would do, before they are made",
        (),
        placing.SimulateWish,
        {200: placing.SimulateAnswer},
    ),
)
