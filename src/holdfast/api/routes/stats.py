"""How much is stored, and how the service does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.api.cleanup import Cleaned, Cleanup
from holdfast.api.routing import Route
from holdfast.api.stats import Stats, StatsPage
from holdfast.api.summary import StorageMetrics

if TYPE_CHECKING:
    from holdfast.api.scrape import Scrape


def stats(
    page: StatsPage | type[StatsPage], scrape: Scrape | type[Scrape], cleanup: Cleanup | type[Cleanup]
) -> tuple[Route, ...]:
    """Return the routes of figures; classes instead of objects do for a description."""
    return (
        Route("GET", "/api/v1/stats", page.show, "How much is stored", answers={200: Stats}),
        Route("GET", "/api/v1/storage/stats", page.show, "How much is stored", answers={200: Stats}),
        Route(
            "GET",
            "/api/v1/storage/metrics",
            scrape.show_summary,
            "Counts, errors and latencies of operations and stores",
            answers={200: StorageMetrics},
        ),
        Route(
            "POST",
            "/api/v1/storage/cleanup",
            cleanup.run,
            "Remove what is past its retention, and delete bytes that are due",
            answers={200: Cleaned},
        ),
    )
