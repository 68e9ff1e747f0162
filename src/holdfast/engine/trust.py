"""From the settings of `[auth.issuers]` to issuers whose tokens are taken, this service itself among them."""

from __future__ import annotations

from holdfast.catalog.contract import Catalog
from holdfast.config.issuers import AuthSettings, IssuerSettings
from holdfast.config.secrets import read_secret
from holdfast.core.clock import Clock
from holdfast.core.errors import ConfigError
from holdfast.engine.issuers import Issuer, Keys, KeySet, OneKey, key_of, key_set, read_key_file
from holdfast.engine.jwks import RemoteKeys
from holdfast.engine.secrets import RootSecret
from holdfast.engine.tokens import Tokens, own_issuer


def open_tokens(settings: AuthSettings, secret: RootSecret, catalog: Catalog, clock: Clock) -> Tokens:
    """Return the reader of signed tokens; `ConfigError` naming the issuer whose keys cannot be used."""
    issuers = [own_issuer(secret)]
    for name, one in settings.issuers.items():
        try:
            issuers.append(_issuer(name, one, clock))
        except ConfigError as error:
            raise ConfigError(f"auth.issuers.{name}: {error.message}") from error
    return Tokens(issuers, catalog, clock)


def _issuer(name: str, settings: IssuerSettings, clock: Clock) -> Issuer:
    return Issuer(
        name=name,
        issuer=settings.issuer,
        audience=settings.audience,
        algorithm=settings.algorithm,
        keys=_keys(settings, clock),
        kids=frozenset(settings.kids),
        tenant=settings.tenant,
        tenant_claim=settings.tenant_claim,
        tenants=frozenset(settings.tenants),
        role=settings.role,
        role_claim=settings.role_claim,
        scope_claim=settings.scope_claim,
        leeway=settings.leeway,
        types=frozenset("" if kind == "none" else kind.lower() for kind in settings.types),
    )


def _keys(settings: IssuerSettings, clock: Clock) -> Keys:
    algorithm, kids = settings.algorithm, frozenset(settings.kids)
    if settings.jwks_url:
        return RemoteKeys(settings.jwks_url, algorithm, kids, settings.jwks_networks, clock)
    if settings.jwks_file is not None:
        keys = key_set(read_key_file(settings.jwks_file), algorithm, kids)
        if not keys:
            raise ConfigError(f"{settings.jwks_file} holds no key with a kid for {algorithm} that is taken")
        return KeySet(keys)
    if settings.key_file is None:
        return OneKey(key_of(settings.key.get_secret_value(), algorithm))
    if algorithm.startswith("HS"):
        return OneKey(key_of(read_secret(settings.key_file, "key_file"), algorithm))
    return OneKey(key_of(read_key_file(settings.key_file), algorithm))
