"""The door put together: the layers in their order, and the routes behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from holdfast.api import openapi, routes
from holdfast.api.exchange import Exchange, Receive, Scope, Send
from holdfast.api.health import HealthCheck
from holdfast.api.metrics import door_metrics, show_metrics
from holdfast.api.middleware import Authenticate, Authorise, Bound, Observe, RequestIds, SameSite, ShapeErrors
from holdfast.api.routing import Router
from holdfast.api.server.cycle import ClientGone
from holdfast.config.settings import Settings
from holdfast.core.clock import Environment
from holdfast.engine.engine import Engine

Layer = Callable[..., Awaitable[None]]


class Door:
    """The REST door as an ASGI application. Made by `create_app`."""

    def __init__(self, layers: list[Layer], router: Router, environment: Environment) -> None:
        self.router = router
        self._ids = RequestIds(environment)
        run: Callable[[Exchange], Awaitable[None]] = _unreachable
        for layer in reversed(layers):
            run = partial(layer, next=run)
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"this application does not speak {scope['type']!r}")
        exchange = Exchange(scope, receive, send)
        exchange.request_id = self._ids.of(exchange.headers.get(b"x-request-id"))
        try:
            await self._run(exchange)
        except ClientGone:
            if scope.get("extensions", {}).get("holdfast") is not None:
                raise  # our server then ends the connection


def create_app(
    engine: Engine,
    *,
    authenticate: Authenticate,
    settings: Settings,
    environment: Environment | None = None,
) -> Door:
    """Return the REST door over `engine`.

    Args:
        authenticate: returns whose token it is, or raises `UnauthenticatedError`. In development mode it is asked
            with "" for requests that carry none.
        settings: limits, what is public, what is logged.
    """
    environment = environment or engine.context.environment
    health = HealthCheck(engine, settings.tenant, environment)
    describe = openapi.Page()
    router = Router(
        (
            *routes.OBJECTS,
            *routes.BUCKETS,
            *routes.UPLOADS,
            *routes.service(
                health.show,
                show_metrics,
                describe.show,
                metrics_open=settings.dev or settings.metrics_public,
            ),
        )
    )
    describe.routes = router.routes
    layers: list[Layer] = [
        Observe(
            environment.clock, door_metrics(), every=settings.access_log
        ),  # sees what was answered in the end
        ShapeErrors(),  # all below may raise; nothing but an answer leaves
        Bound(settings.limits.max_requests),  # before any work is done for the request
        *([SameSite()] if settings.dev else []),  # before a principal is given away
        Authorise(router, engine, authenticate, dev=settings.dev),  # last: the route runs as somebody
    ]
    return Door(layers, router, environment)


async def _unreachable(exchange: Exchange, **_: Any) -> None:
    raise AssertionError("the last layer runs the route")
