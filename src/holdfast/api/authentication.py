"""From what a request carries to who asks: a chain of readers, each for one kind of credential.

A reader returns a principal, or None when the request carries nothing of its kind; what is carried and does not hold is
an error, never a reason to look further. So a bad token is refused also where none is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange
from holdfast.api.rating import GUESSES, Failures
from holdfast.api.routing import Route, Router
from holdfast.core.errors import (
    HoldfastError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from holdfast.core.types import Principal, TenantState
from holdfast.engine.directory import Directory
from holdfast.engine.engine import Engine
from holdfast.engine.jwt import LONGEST
from holdfast.engine.principals import anonymous, may_pass

Next = Callable[[Exchange], Awaitable[None]]
TokenReader = Callable[[str], Awaitable[Principal]]
TENANT: Final = "hf_tenant"  #: the query parameter that names the tenant of a public bucket
_NEEDED: Final = "a token is needed: Authorization: Bearer TOKEN"
_LONGEST_TENANT: Final = 63


class CredentialReader(Protocol):
    """Reads one kind of credential."""

    async def __call__(self, exchange: Exchange, route: Route | None) -> Principal | None:
        """Return who asks, None when the request has no such credential; raise when it has one that does not hold.

        `route` is None when there is nothing at the path.
        """
        ...


class BearerToken:
    """`Authorization: Bearer`, with an API key or a signed token."""

    def __init__(self, read: TokenReader) -> None:
        self._read = read

    async def __call__(self, exchange: Exchange, route: Route | None) -> Principal | None:
        """Return whose token it is."""
        given = exchange.headers.get(b"authorization")
        if given is None:
            return None
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or len(token) > LONGEST:
            raise UnauthenticatedError("the Authorization header is not of the kind Bearer TOKEN")
        return await self._read(token.strip().decode("utf-8", "replace"))


class Development:
    """Everybody is the operator: for `--dev` alone."""

    def __init__(self, read: TokenReader) -> None:
        self._read = read

    async def __call__(self, exchange: Exchange, route: Route | None) -> Principal | None:
        """Return the principal of development mode."""
        return await self._read("")


class Nobody:
    """Who brings no credential may read objects of public buckets, and nothing else."""

    def __init__(self, directory: Directory, tenant: str) -> None:
        self._directory = directory
        self._tenant = tenant

    async def __call__(self, exchange: Exchange, route: Route | None) -> Principal | None:
        """Return nobody, of the tenant that the query names or else of the service's own."""
        if route is None or not route.public:
            return None
        name = exchange.query.get(TENANT, self._tenant)
        tenant = await self._directory.tenant(name) if 0 < len(name) <= _LONGEST_TENANT else None
        if tenant is None or tenant.state is not TenantState.ACTIVE:
            raise UnauthenticatedError(_NEEDED)
        nobody = anonymous(tenant)
        if not may_pass(nobody, exchange.address):
            raise UnauthenticatedError(_NEEDED)  # a stranger does not learn which tenants there are
        return nobody


class Authenticate:
    """Finds the route, and who asks; only open routes go on without a principal."""

    def __init__(
        self,
        router: Router,
        engine: Engine,
        readers: Sequence[CredentialReader],
        failures: Failures,
    ) -> None:
        self._router = router
        self._engine = engine
        self._readers = readers
        self._failures = failures

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Go on as somebody."""
        try:
            route, _ = self._router.find(exchange)
        except (HttpRefusalError, InvalidRequestError):
            await self._who(exchange, None)  # a stranger does not learn what exists
            raise
        exchange.handler = route.handler
        if not route.open:
            principal = await self._who(exchange, route)
            exchange.principal = principal
            exchange.session = self._engine.session(
                principal, request_id=exchange.request_id, address=exchange.address
            )
        await next(exchange)

    async def identify(self, exchange: Exchange) -> Principal | None:
        """Return who asks on an open route; None for whoever brings nothing that holds.

        Guesses count as they do elsewhere, and an address with too many is told nothing.
        """
        if self._failures.behind(exchange) > 0:
            return None
        try:
            return await self._find(exchange, None)
        except GUESSES:
            await self._failures.count(exchange)
        except HoldfastError:
            pass
        return None

    async def _who(self, exchange: Exchange, route: Route | None) -> Principal:
        found = await self._find(exchange, route)
        if found is None:
            raise UnauthenticatedError(_NEEDED)
        return found

    async def _find(self, exchange: Exchange, route: Route | None) -> Principal | None:
        for read in self._readers:
            principal = await read(exchange, route)
            if principal is not None:
                exchange.claimed = principal
                if not may_pass(principal, exchange.address):
                    raise PermissionDeniedError("this credential cannot be used from this address")
                return principal
        return None


async def run_route(exchange: Exchange, next: Next) -> None:
    """Run the handler of the route that was found: the last layer."""
    await exchange.handler(exchange, *(exchange.pieces or ()))
