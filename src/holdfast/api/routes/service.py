"""The service itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.api import models
from holdfast.api.health import Alive, DetailedHealth, HealthCheck, Ready
from holdfast.api.routing import Route

if TYPE_CHECKING:
    from holdfast.api.scrape import Scrape

_DETAILED = {200: DetailedHealth, 503: DetailedHealth}


def service(
    health: HealthCheck | type[HealthCheck],
    scrape: Scrape | type[Scrape],
    description: Any,
    *,
    metrics_open: bool,
) -> tuple[Route, ...]:
    """Return the routes about the service itself; classes instead of objects do for a description."""
    return (
        Route(
            "GET",
            "/health",
            health.show,
            "Whether the service can work",
            answers={200: models.Health, 503: models.Health},
            open=True,
        ),
        Route(
            "GET",
            "/health/live",
            health.show_live,
            "Whether the process lives",
            answers={200: Alive},
            open=True,
        ),
        Route(
            "GET",
            "/health/ready",
            health.show_ready,
            "Whether requests can be sent here",
            answers={200: Ready, 503: Ready},
            open=True,
        ),
        Route("GET", "/api/v1/health/detailed", health.show_detailed, "Every check", answers=_DETAILED),
        Route("GET", "/api/v1/storage/health", health.show_detailed, "Health of storage", answers=_DETAILED),
        Route(
            "GET", "/metrics", scrape.show, "Figures for Prometheus", answers={200: "text"}, open=metrics_open
        ),
        Route("GET", "/openapi.json", description.show, "This description", answers={200: dict}, open=True),
    )
