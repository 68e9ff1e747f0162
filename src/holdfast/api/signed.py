"""Signed URLs as the credential of a request."""

from __future__ import annotations

from holdfast.api.authentication import TENANT
from holdfast.api.exchange import Exchange, decode_once
from holdfast.api.routing import Route
from holdfast.core.errors import InvalidRequestError, PermissionDeniedError
from holdfast.core.types import Principal
from holdfast.engine.signing import Verifier
from holdfast.policy.signing import MARK, is_signed


class SignedUrls:
    """Reads the signature of a request. Whoever has one brings no other credential."""

    def __init__(self, verify: Verifier) -> None:
        self._verify = verify

    async def __call__(self, exchange: Exchange, route: Route | None) -> Principal | None:
        """Return who may make this request because of its signature; None when it carries none.

        Raises:
            PermissionDeniedError: it carries one that does not hold for this request.
        """
        if not is_signed(exchange.scope["query_string"]):
            return None
        try:
            path, query = decode_once(exchange.raw_path, "the path"), exchange.query
        except InvalidRequestError:
            raise PermissionDeniedError("the signed URL was changed, or was not made here") from None
        if not any(name.startswith(MARK) and name != TENANT for name in query):
            return None  # only the tenant of a public bucket is named
        if b"authorization" in exchange.headers:
            raise InvalidRequestError("send a token or use a signed URL, not both")
        return await self._verify(exchange.method, path, query)


def place_signed(exchange: Exchange) -> tuple[str, str] | None:
    """Return bucket and key that a signed URL is for; None for every other principal."""
    principal = exchange.session.principal
    if principal.grant is None or not principal.scopes or principal.scopes[0].key is None:
        return None
    return principal.scopes[0].bucket, principal.scopes[0].key
