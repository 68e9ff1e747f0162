"""Signed tokens as credentials: those of configured issuers, and the ones that this service signs itself.

A token is verified once a minute at most; whether it, or what it rests on, was revoked is asked every few seconds. A
token of our own names every credential that it was made with, so that it ends with each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from holdfast.catalog.contract import Catalog
from holdfast.core.clock import Clock
from holdfast.core.errors import InvalidRequestError, UnauthenticatedError
from holdfast.core.types import Principal, Scope
from holdfast.engine.directory import Directory
from holdfast.engine.issuers import Issuer, OneKey, check_kid, check_type, key_of
from holdfast.engine.jwt import Unverified, check_audience, check_times, parse, refusal, text_claim, verify
from holdfast.engine.principals import address_rules, check_tenant
from holdfast.engine.secrets import RootSecret
from holdfast.policy.access import GRANTABLE
from holdfast.policy.addresses import NO_RULES
from holdfast.policy.scopes import parse_scopes

OWN: Final = "holdfast"  #: issuer and audience of the tokens that this service signs
OWN_KID: Final = "1"
_VERIFIED: Final = 60.0  #: seconds that a signature is taken as verified
_REMEMBERED: Final = 4096
_DEEPEST: Final = 8  #: credentials that a token may rest on


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that was verified says."""

    issuer: str
    subject: str
    tenant: str
    role: str
    scopes: tuple[Scope, ...]
    expires: int  #: microseconds
    credentials: tuple[str, ...]
    jti: str = ""  #: of a token of our own
    root: str = ""  #: likewise: what it began with


def own_issuer(secret: RootSecret) -> Issuer:
    """Return this service as an issuer of tokens."""
    return Issuer(
        OWN,
        OWN,
        OWN,
        "HS256",
        OneKey(key_of(secret.derive("jwt"), "HS256")),
        kids=frozenset({OWN_KID}),
        tenant_claim="tenant",
        role=GRANTABLE[-1],
        role_claim="role",
        scope_claim="scope",
        types=frozenset({"jwt"}),
        own=True,
    )


def token_id(tenant: str, issuer: str, jti: str) -> str:
    """Return the name under which a token is revoked: no tenant can name those of another."""
    return f"{tenant}/{issuer}:{jti}"


def new_jti(role: str, unique: str) -> str:
    """Return what a token of our own is called: its role, which so cannot be hidden from whoever revokes it."""
    return f"{role}-{unique}"


def role_of_jti(jti: str) -> str:
    """Return the role of the token of our own that is called so; the highest for a name that tells none."""
    role = jti.partition("-")[0]
    return role if role in GRANTABLE else GRANTABLE[-1]


class Tokens:
    """Turns signed tokens into principals."""

    def __init__(self, issuers: Iterable[Issuer], catalog: Catalog, clock: Clock) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._directory = Directory(catalog, clock)
        self._clock = clock
        self._verified: dict[bytes, tuple[float, Claims]] = {}

    async def __call__(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            UnauthenticatedError: it is forged, malformed, expired, revoked, or its issuer is not known here.
            PermissionDeniedError: its tenant is suspended.
        """
        return await self._principal(await self.claims(token))

    async def claims(self, token: str) -> Claims:
        """Return what `token` says, verified, whether it was revoked or not; raise `UnauthenticatedError`."""
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(fingerprint)
        if known is not None and known[0] > self._clock.monotonic():
            if known[1].expires > self._clock.now():
                return known[1]
            raise refusal("it has expired")
        claims = await self._verify(parse(token))
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[fingerprint] = (self._clock.monotonic() + _VERIFIED, claims)
        return claims

    async def _verify(self, token: Unverified) -> Claims:
        said = token.claims.get("iss")
        issuer = self._issuers.get(said) if isinstance(said, str) else None
        if issuer is None:
            raise refusal("its issuer is not one of this service")
        check_type(issuer, token.header)
        kid = check_kid(issuer, token.header)
        if token.header.get("alg") != issuer.algorithm:
            raise refusal("it is signed with another algorithm than its issuer's")
        verify(token, await issuer.keys.find(kid), issuer.algorithm)
        return self._claims(issuer, token.claims)

    def _claims(self, issuer: Issuer, claims: Mapping[str, Any]) -> Claims:
        ends = check_times(claims, now=self._clock.now() / 1e6, leeway=issuer.leeway)
        check_audience(claims, issuer.audience)
        tenant = _tenant_of(issuer, claims)
        return Claims(
            issuer.name,
            text_claim(claims, "sub"),
            tenant,
            _role_of(issuer, claims),
            _scopes_of(issuer, claims),
            int((ends + issuer.leeway) * 1_000_000),
            _credentials_of(issuer, tenant, claims),
            text_claim(claims, "jti") if issuer.own else "",
            text_claim(claims, "of", most=600) if issuer.own and "of" in claims else "",
        )

    async def _principal(self, claims: Claims) -> Principal:
        tenant = await self._directory.tenant(claims.tenant)
        if tenant is None:
            raise refusal("its tenant is not known here")
        principal = Principal(
            id=f"{claims.issuer}:{claims.jti or claims.subject}",  # our own let their maker choose the subject
            tenant=claims.tenant,
            role=claims.role,
            name=claims.subject,
            scopes=claims.scopes,
            ip=address_rules(tenant, NO_RULES),
            tenant_rate=tenant.settings.rate,
            expires=claims.expires,
            credentials=claims.credentials,
            root=claims.root,
        )
        for credential in claims.credentials:
            kind, _, name = credential.partition(":")
            if kind == "key":
                key = await self._directory.key(name)
                if key is None or key.tenant != claims.tenant:
                    raise refusal("the key that it was made with is not known")
                await self._directory.check_key(key, self._clock.now())
                rules = address_rules(tenant, key.settings.ip)
                principal = replace(principal, ip=rules, rate=key.settings.rate)
            elif await self._directory.revoked(credential):
                raise UnauthenticatedError("the token, or one that it was made with, was revoked")
        check_tenant(tenant)
        return principal


def _tenant_of(issuer: Issuer, claims: Mapping[str, Any]) -> str:
    if not issuer.tenant_claim:
        return issuer.tenant
    tenant = text_claim(claims, issuer.tenant_claim, most=63)
    if issuer.tenants and tenant not in issuer.tenants:
        raise refusal("its issuer does not speak for that tenant")
    return tenant


def _role_of(issuer: Issuer, claims: Mapping[str, Any]) -> str:
    """Return the role that a token claims, never one above what its issuer may give."""
    if not issuer.role_claim:
        return issuer.role
    allowed = GRANTABLE[: GRANTABLE.index(issuer.role) + 1]
    said = claims.get(issuer.role_claim)
    if isinstance(said, str) and said in allowed:
        return said
    if isinstance(said, list):  # as of an identity provider with many roles for many services
        for role in reversed(allowed):
            if role in said:
                return role
    raise refusal("it claims no role that its issuer may give")


def _scopes_of(issuer: Issuer, claims: Mapping[str, Any]) -> tuple[Scope, ...]:
    if not issuer.scope_claim:
        return ()
    said = claims.get(issuer.scope_claim)
    if said is None and issuer.own:
        return ()
    texts = said.split() if isinstance(said, str) else said
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise refusal("it claims no scopes")  # none must not mean all
    try:
        return parse_scopes(texts)
    except InvalidRequestError as error:
        raise refusal(error.message) from None


def _credentials_of(issuer: Issuer, tenant: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return under which names the token can be revoked: its own, and those of what it was made with."""
    own = (token_id(tenant, issuer.name, text_claim(claims, "jti")),) if issuer.own or "jti" in claims else ()
    if not issuer.own:
        return own
    before = claims.get("by", [])
    if not isinstance(before, list) or not all(isinstance(one, str) and len(one) <= 600 for one in before):
        raise refusal("it does not say what it was made with")
    if len(before) > _DEEPEST:
        raise refusal("it was made with too many others")
    return (*own, *before)
