"""The service itself."""

from __future__ import annotations

from holdfast.api import models
from holdfast.api.routing import Handler, Route


def service(health: Handler, metrics: Handler, openapi: Handler, *, metrics_open: bool) -> tuple[Route, ...]:
    """Return the routes about the service itself."""
    return (
        Route(
            "GET",
            "/health",
            health,
            "Whether the service can work",
            answers={200: models.Health, 503: models.Health},
            open=True,
        ),
        Route("GET", "/metrics", metrics, "Figures for Prometheus", answers={200: "text"}, open=metrics_open),
        Route("GET", "/openapi.json", openapi, "This description", answers={200: dict}, open=True),
    )
