"""Signed URLs: made for a principal, and turned back into one that may do exactly what was signed, and no more.

Nothing is stored for a URL. It names who signed it and the generation of the tenant's signing key, so it ends with the
credential that it rests on, with the tenant, or when the generation is raised. What is known of these is trusted for a
few seconds. A URL that stores once leaves its nonce in the transaction that commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, unquote, urlencode

from holdfast.core.errors import (
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from holdfast.core.names import check_bucket, check_key
from holdfast.core.types import (
    EMPTY,
    Grant,
    IpRules,
    ObjectRef,
    Principal,
    Scope,
    Tenant,
)
from holdfast.engine.context import Context
from holdfast.engine.directory import Directory
from holdfast.engine.principals import address_rules, check_tenant, key_principal
from holdfast.policy import signing
from holdfast.policy.access import decide
from holdfast.policy.addresses import NO_RULES
from holdfast.policy.signing import MAX_LIFETIME, SIGNATURE, Purpose, Terms

OBJECTS: Final = "/api/v1/objects/"  #: below it are the URLs of single objects
UPLOADS: Final = "/api/v1/uploads"
_SECOND: Final = 1_000_000
_CHANGED: Final = "the signed URL was changed, or was not made here"
_ROOT: Final = "of:"  #: begins what a URL says of where its credentials began


class ForgedError(PermissionDeniedError):
    """The signature is not one of this service: somebody may be guessing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a signed URL for. `expires_in` in seconds, at most 7 days; see `Grant` for the rest."""

    purpose: Purpose = Purpose.GET
    expires_in: int = 3600
    content_type: str = ""
    max_size: int | None = None
    ip: str = ""
    once: bool = False
    query: Mapping[str, str] = field(
        default_factory=lambda: EMPTY
    )  #: parameters that belong to the request, as `version_id`


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed request: the path with its query, to be put behind the service's address. `expires`: microseconds."""

    path: str
    method: str
    expires: int
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY)


async def sign(context: Context, principal: Principal, ref: ObjectRef, wish: Wish) -> Signed:
    """Return a signed request for `ref` that `principal`, who may do it, hands on.

    Raises:
        InvalidRequestError: a wish that cannot be signed.
    """
    check_bucket(ref.bucket)
    check_key(ref.key)
    now = await context.catalog.now()
    tenant = await context.catalog.tenant(ref.tenant)
    terms = Terms(
        tenant=ref.tenant,
        issuer=_issuer(principal),
        generation=tenant.signing_generation,
        expires=now // _SECOND + wish.expires_in,
        purpose=wish.purpose,
        path=f"{ref.bucket}/{ref.key}" if wish.purpose is Purpose.UPLOAD else "",
        content_type=wish.content_type,
        max_size=wish.max_size,
        ip=signing.network(wish.ip) if wish.ip else "",
        once=context.environment.new_id().replace("-", "") if wish.once else "",
    )
    signing.check_terms(terms, now // _SECOND)
    if principal.expires is not None and terms.expires * _SECOND > principal.expires:
        terms = replace(terms, expires=principal.expires // _SECOND)
    if wish.query and wish.purpose is not Purpose.GET:
        raise InvalidRequestError("version_id and the like are for URLs that read")
    if any(name.startswith(signing.MARK) for name in wish.query):
        raise InvalidRequestError("parameters that begin with hf_ belong to the signature")
    whole = wish.purpose is Purpose.UPLOAD
    path = UPLOADS if whole else OBJECTS + f"{ref.bucket}/{ref.key}"
    query = {**wish.query, **terms.parameters()}
    signature = signing.sign(_key(context, terms), signing.message(wish.purpose, path, query))
    tail = urlencode({**query, SIGNATURE: signature}, quote_via=quote, safe="")
    headers = {"Content-Type": wish.content_type} if _exact(wish.content_type) else EMPTY
    return Signed(
        f"{quote(path, safe='/~')}?{tail}",
        "POST" if whole else wish.purpose.value,
        terms.expires * _SECOND,
        headers if wish.purpose is Purpose.PUT else EMPTY,
    )


class Verifier:
    """Turns signed requests into principals, as far as `directory` says that whoever signed still may."""

    def __init__(self, context: Context, directory: Directory) -> None:
        self._context = context
        self._directory = directory

    async def __call__(self, method: str, path: str, query: Mapping[str, str]) -> Principal:
        """Return who may make this request because of its signature. `path` is decoded once.

        Raises:
            ForgedError: the URL was changed.
            PermissionDeniedError: it is over, is for something else, or whoever signed it may no longer.
        """
        terms = signing.read(query)
        if terms is None:
            raise ForgedError(_CHANGED)
        text = signing.message(terms.purpose, path, query)
        if not signing.holds(_key(self._context, terms), text, query[SIGNATURE]):
            raise ForgedError(_CHANGED)
        if terms.expires * _SECOND <= await self._context.catalog.now():
            raise PermissionDeniedError("this signed URL has expired; ask for a new one")
        if not _is_for(terms, method, path, query):
            raise PermissionDeniedError(
                f"this signed URL is for {terms.purpose.value} and not for this request"
            )
        tenant = await self._directory.tenant(terms.tenant)
        if tenant is None or terms.generation != tenant.signing_generation:
            raise PermissionDeniedError("this signed URL was revoked")
        check_tenant(tenant)
        bucket, _, key = (terms.path or path.removeprefix(OBJECTS)).partition("/")
        return _bearer(terms, tenant, await self._issuer(terms, tenant), bucket, key)

    async def _issuer(self, terms: Terms, tenant: Tenant) -> Principal:
        """Return the rights that the credentials behind a URL still give; each of them must still hold."""
        rules = address_rules(tenant, NO_RULES)
        found = Principal(terms.issuer, tenant.name, "writer", ip=rules, tenant_rate=tenant.settings.rate)
        for credential in _credentials(terms.issuer):
            kind, _, name = credential.partition(":")
            if kind == "key":
                found = await self._key_holder(name, tenant)
            elif await self._directory.revoked(credential):
                raise PermissionDeniedError("the token that signed this URL was revoked")
        return found

    async def _key_holder(self, key_id: str, tenant: Tenant) -> Principal:
        key = await self._directory.key(key_id)
        if key is None or key.tenant != tenant.name:
            raise PermissionDeniedError("the key that signed this URL is gone")
        try:
            await self._directory.check_key(key, await self._context.catalog.now())
        except UnauthenticatedError:
            raise PermissionDeniedError("the key that signed this URL was revoked or has expired") from None
        return key_principal(key, tenant)


def _bearer(terms: Terms, tenant: Tenant, issuer: Principal, bucket: str, key: str) -> Principal:
    for verb in terms.purpose.verbs:
        decision = decide(issuer, verb, bucket=bucket, key=key)
        if not decision.allowed:
            raise PermissionDeniedError(f"whoever signed this URL may no longer do this: {decision.reason}")
    own = (IpRules(allow=(terms.ip,)),) if terms.ip else ()
    grant = Grant(terms.max_size, terms.content_type or None, terms.once, terms.expires * _SECOND)
    return Principal(
        id=f"url:{terms.issuer}"[:255],
        tenant=terms.tenant,
        role=issuer.role,
        name="signed URL",
        scopes=(Scope(bucket, verbs=terms.purpose.verbs, key=key),),
        ip=(*issuer.ip, *own),
        rate=issuer.rate,
        tenant_rate=tenant.settings.rate,
        grant=grant,
        expires=terms.expires * _SECOND,
        credentials=tuple(_credentials(terms.issuer)),
        root=_root(terms.issuer),
    )


def _is_for(terms: Terms, method: str, path: str, query: Mapping[str, str]) -> bool:
    """Tell whether a request is one of those that the terms are for."""
    if terms.purpose is Purpose.GET:
        return method in ("GET", "HEAD") and path.startswith(OBJECTS)
    if terms.purpose is Purpose.PUT:
        return method == "PUT" and path.startswith(OBJECTS)
    others = {name for name in query if not name.startswith(signing.MARK)}
    if others - {"bucket", "key", "after", "limit"}:
        return False
    for room in (UPLOADS, "/api/v1/tus"):
        if path == room:
            return method in ("POST", "OPTIONS")
        if path.startswith(room + "/"):
            return True
    return False


def _key(context: Context, terms: Terms) -> bytes:
    return context.secret.derive("sign", terms.tenant, str(terms.generation))


def _issuer(principal: Principal) -> str:
    """Return the credentials of `principal` as one text; its id where it has none that could be revoked."""
    root = principal.root or principal.id
    if not principal.credentials:
        return f"id:{quote(root, safe='')}"
    issuer = ",".join(quote(credential, safe=":") for credential in principal.credentials)
    return issuer if _root(issuer) == root else f"{issuer},{_ROOT}{quote(root, safe='')}"


def _credentials(issuer: str) -> list[str]:
    parts = [] if issuer.startswith("id:") else issuer.split(",")
    return [unquote(part) for part in parts if not part.startswith(_ROOT)]


def _root(issuer: str) -> str:
    """Return the id of the principal that the credentials of a URL began with."""
    last = issuer.rpartition(",")[2]
    if last.startswith(("id:", "key:", _ROOT)):
        return unquote(last.partition(":")[2])
    return unquote(last).partition("/")[2]


def _exact(content_type: str) -> bool:
    return bool(content_type) and not content_type.endswith("/*")


def lifetime_left(principal: Principal, now: int) -> int:
    """Return for how many whole seconds the principal's signed URL still holds, at most the longest that any may."""
    return min(MAX_LIFETIME, max(0, (principal.expires or 0) - now) // _SECOND)
