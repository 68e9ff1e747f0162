"""The door put together: the layers in their order, and the routes behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from holdfast.api import documents, openapi, routes
from holdfast.api.access_log import AccessLog, audit_metrics
from holdfast.api.addresses import ClientAddress
from holdfast.api.authentication import (
    Authenticate,
    BearerToken,
    CredentialReader,
    Development,
    Nobody,
    TokenReader,
    run_route,
)
from holdfast.api.batches import BatchDoor
from holdfast.api.cleanup import Cleanup
from holdfast.api.compat import Compat
from holdfast.api.cors import Cors
from holdfast.api.disks import Disks
from holdfast.api.exchange import Exchange, Receive, Scope, Send
from holdfast.api.executions import ExecutionDoor
from holdfast.api.files import FileDoor
from holdfast.api.health import HealthCheck
from holdfast.api.job_events import Watchers
from holdfast.api.jobs import JobDoor
from holdfast.api.metrics import door_metrics
from holdfast.api.middleware import Bound, Observe, RequestIds, SameSite, ShapeErrors
from holdfast.api.pages.docs import DocsPage
from holdfast.api.pages.session import BrowserSessions
from holdfast.api.rating import Failures, RateAddress, RatePrincipal, Rating
from holdfast.api.reconciling import Reconciling
from holdfast.api.routing import Router
from holdfast.api.scrape import Scrape
from holdfast.api.server.cycle import ClientGone
from holdfast.api.sharing import Sharing
from holdfast.api.signed import SignedUrls
from holdfast.api.stats import StatsPage
from holdfast.api.training import Jobs
from holdfast.api.tus import Tus
from holdfast.api.wanted import Wanted
from holdfast.config.settings import RateLimits, Settings
from holdfast.core.clock import Environment
from holdfast.engine.engine import Engine
from holdfast.engine.limiter import Limiter
from holdfast.engine.signing import Verifier
from holdfast.jobs.installed import installed
from holdfast.jobs.kinds import Kinds

Layer = Callable[..., Awaitable[None]]


class Door:
    """The REST door as an ASGI application. Made by `create_app`."""

    def __init__(self, layers: list[Layer], router: Router, environment: Environment, scrape: Scrape) -> None:
        self.router = router
        self.scrape = scrape
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
    authenticate: TokenReader,
    settings: Settings,
    environment: Environment | None = None,
    kinds: Kinds | None = None,
) -> Door:
    """Return the REST door over `engine`.

    Args:
        authenticate: returns whose token it is, or raises `UnauthenticatedError`. In development mode it is asked
            with "" for requests that carry none.
        settings: limits, what is public, what is logged.
        kinds: of jobs that can be started; all that there are where nothing is said.
    """
    environment = environment or engine.context.environment
    disks = Disks(settings, engine.stores, environment.clock)
    health = HealthCheck(engine, settings, environment, disks)
    scrape = Scrape(engine, settings, environment)
    known = documents.BUCKETS if settings.compat else ()
    stats = StatsPage(engine, environment, disks, known)
    wanted = Wanted(settings.default_bucket, known)
    compat = Compat(wanted, environment)
    describe = openapi.Page()
    record = AccessLog(engine.audit.recorder, environment.clock, reads=settings.audit_reads)
    audit_metrics().recorder = engine.audit.recorder
    docs = DocsPage(lambda: openapi.document(router.routes))
    sessions = BrowserSessions(
        engine.context,
        engine.directory,
        authenticate,
        lifetime=settings.session_lifetime,
        public_url=settings.public_url,
    )
    files, watchers = FileDoor(engine, wanted), Watchers(engine)
    router = Router(
        (
            *routes.OBJECTS,
            *routes.BUCKETS,
            *routes.UPLOADS,
            *routes.file_routes(files),
            *routes.batch_routes(
                files, BatchDoor(engine, environment.clock, watchers, audit_reads=settings.audit_reads)
            ),
            *routes.ACCESS,
            *routes.AUDIT,
            *routes.DECLARING,
            *routes.COST,
            *routes.MOVING,
            *routes.PLACING,
            *routes.RETENTION,
            *routes.SNAPSHOTS,
            *routes.ENCRYPTING,
            *routes.BACKUPS,
            *routes.FINDINGS,
            *routes.FOLLOWING,
            *routes.STORES,
            *routes.tus(Tus(settings.limits.max_object_size)),
            *routes.service(health, scrape, describe, metrics_open=settings.dev or settings.metrics_public),
            *routes.stats(stats, scrape, Cleanup(engine)),
            *routes.reconciliation(Reconciling(engine)),
            *routes.jobs(JobDoor(engine, kinds or installed(), watchers)),
            *routes.sharing(Sharing(settings.public_url)),
            *routes.executions(ExecutionDoor(settings.public_url)),
            *(routes.pages(docs, sessions) if settings.docs else ()),
            *(routes.compat(compat, Jobs(compat, wanted, environment)) if settings.compat else ()),
            *(routes.STORAGES if settings.compat else ()),
        )
    )
    describe.routes = router.routes
    readers: list[CredentialReader] = [
        SignedUrls(Verifier(engine.context, engine.directory)),
        BearerToken(authenticate),
        *([sessions] if settings.docs else []),
        Development(authenticate) if settings.dev else Nobody(engine.directory, settings.tenant),
    ]
    rating = _rating(engine, settings, environment)
    failures = Failures(rating, settings.rate.failures)
    authentication = Authenticate(router, engine, readers, failures)
    health.identify = authentication.identify
    limited = settings.rate.address != RateLimits() or settings.rate.failures is not None
    layers: list[Layer] = [
        ClientAddress(settings.trusted_proxies, settings.forwarded_header),  # everything after goes by it
        Observe(
            environment.clock, door_metrics(), record, every=settings.access_log
        ),  # sees what was answered in the end
        ShapeErrors(),  # all below may raise; nothing but an answer leaves
        *([Cors(settings.cors)] if settings.cors.origins else []),  # a browser's question carries no token
        Bound(settings.limits.max_requests),  # before any work is done for the request
        *([SameSite()] if settings.dev else []),  # before a principal is given away
        *(
            [RateAddress(rating, settings.rate.address, failures)] if limited else []
        ),  # before anybody knows who asks
        authentication,  # after that, the route is known and runs as somebody
        RatePrincipal(rating, settings.rate),
        run_route,
    ]
    return Door(layers, router, environment, scrape)


def _rating(engine: Engine, settings: Settings, environment: Environment) -> Rating:
    """Return what keeps rate limits.

    On PostgreSQL all processes keep them together; on SQLite its processes split each limit evenly.
    """
    shared = not settings.catalog_url.startswith("sqlite")
    limiter = Limiter(
        environment.clock, lease=engine.catalog.lease_rate if shared else None, share=settings.workers
    )
    return Rating(limiter, settings.rate, environment.clock)


async def _unreachable(exchange: Exchange, **_: Any) -> None:
    raise AssertionError("the last layer runs the route")
