"""The JSON of tenants, keys and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.config.units import parse_size, parse_time
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import ApiKey, Bucket, IpRules, Principal, Quota, QuotaUse, Rate, Tenant, Usage
from holdfast.engine.minting import Minted
from holdfast.engine.provisioning import Provisioned
from holdfast.policy.scopes import format_scope

Role = Literal["reader", "writer", "admin", "operator"]
ScopeText = Annotated[
    str,
    Meta(
        max_length=3600,
        description="`[VERB,…:]BUCKET`, `BUCKET/PREFIX*` or `BUCKET/KEY`; verbs are those of a session, or "
        "`read`, `write`, `admin`",
    ),
]
Scopes = Annotated[list[ScopeText], Meta(max_length=64)]
Networks = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=256)]
Bytes = int | Annotated[str, Meta(max_length=32)]
Lifetime = Annotated[int | str, Meta(description="seconds, or text such as `90d`")]
TenantName = Annotated[str, Meta(max_length=63)]


class Addresses(Struct, frozen=True, forbid_unknown_fields=True):
    """Networks (CIDR) that may come in; a denied one may not, and where some are allowed, no others."""

    allow: Networks = []
    deny: Networks = []


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """The most that may be held; without a number, no limit."""

    max_bytes: Bytes | None = None
    max_objects: Annotated[int, Meta(ge=0)] | None = None


class Pace(Struct, frozen=True, forbid_unknown_fields=True):
    """The most per second; without a number, no limit."""

    requests: float | None = None
    bytes_in: Bytes | None = None
    bytes_out: Bytes | None = None


class NewKey(Struct, frozen=True, forbid_unknown_fields=True):
    """An API key to be made. Without scopes it gets those of the credential that asks."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    role: Role = "reader"
    scopes: Scopes = []
    expires_in: Lifetime | None = None
    ip: Addresses = Addresses()
    rate: Pace = Pace()
    tenant: TenantName | None = None


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be signed. What is not given is that of the credential that asks."""

    name: Annotated[str, Meta(max_length=200)] = ""
    role: Role | None = None
    scopes: Scopes = []
    expires_in: Lifetime = 3600


class TokenName(Struct, frozen=True, forbid_unknown_fields=True):
    """Which token: one by `ISSUER:JTI`, or without that the one that the request is made with."""

    id: Annotated[str, Meta(max_length=600)] | None = None
    tenant: TenantName | None = None


class NewTenant(Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: TenantName
    quota: Limits = Limits()
    ip: Addresses = Addresses()
    rate: Pace = Pace()
    inline: Bytes | None = None


class TenantChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a tenant; what is missing stays."""

    state: Literal["active", "suspended"] | UnsetType = UNSET
    quota: Limits | UnsetType = UNSET
    ip: Addresses | UnsetType = UNSET
    rate: Pace | UnsetType = UNSET
    inline: Bytes | UnsetType | None = UNSET


class KeyInfo(Struct, frozen=True, kw_only=True):
    """An API key. `token` is there only in the answer that made it."""

    id: str
    name: str
    tenant: str
    role: str
    scopes: list[str]
    created: str
    expires: str | None
    revoked: str | None
    ip: Addresses
    rate: Pace
    token: str | UnsetType = UNSET


class Keys(Struct, frozen=True):
    """The keys of a tenant."""

    keys: list[KeyInfo]


class TokenInfo(Struct, frozen=True):
    """A token that was signed; it cannot be seen again. `id` is under which it can be revoked."""

    token: str
    id: str
    name: str
    tenant: str
    role: str
    scopes: list[str]
    expires: str


class Who(Struct, frozen=True):
    """Who asks."""

    id: str
    name: str
    tenant: str
    role: str
    scopes: list[str]
    expires: str | None


class BucketUse(Struct, frozen=True):
    """What a bucket of a tenant holds."""

    name: str
    objects: int
    versions: int
    bytes: int
    upload_bytes: int


class Hierarchy(Struct, frozen=True, forbid_unknown_fields=True):
    """A hierarchy to be made: buckets, in each the categories, in each of these the subfolders.

    Without content types those of the service (portraits, videos, previews, nft_markers); without categories or
    subfolders those of the time before, at first Image, QR, nft_markers and nft_cache.
    """

    content_types: Annotated[list[Annotated[str, Meta(max_length=63)]], Meta(max_length=100)] = []
    categories: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=1000)] = []
    subfolders: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=100)] | None = None


class StoreFolders(Struct, frozen=True):
    """What was made in one store. `offered`: whether it has folders that show keys; `trouble`: why it did not work."""

    offered: bool
    made: int
    there: int
    trouble: str | None


class HierarchyInfo(Struct, frozen=True):
    """A hierarchy that is there now, and what of it was missing."""

    success: bool
    tenant: str
    content_types: list[str]
    categories: list[str]
    subfolders: list[str]
    buckets_made: list[str]
    folders_made: list[str]
    folders_there: int
    stores: dict[str, StoreFolders]


class TenantInfo(Struct, frozen=True, kw_only=True):
    """A tenant. `delete_after`: while it is being deleted, when it is removed; until then it can be restored."""

    name: str
    state: str
    created: str
    signing_generation: int
    quota: Limits
    ip: Addresses
    rate: Pace
    inline: int | None
    bytes: int | UnsetType = UNSET
    objects: int | UnsetType = UNSET
    reserved_bytes: int | UnsetType = UNSET
    reserved_objects: int | UnsetType = UNSET
    delete_after: str | UnsetType = UNSET
    categories: list[str] | UnsetType = UNSET
    subfolders: list[str] | UnsetType = UNSET
    buckets: list[BucketUse] | UnsetType = UNSET


class Tenants(Struct, frozen=True):
    """All tenants."""

    tenants: list[TenantInfo]


# -- in ---------------------------------------------------------------------------------------------------------------
def rules_of(said: Addresses) -> IpRules:
    """Return what was said as rules."""
    return IpRules(tuple(said.allow), tuple(said.deny))


def rate_of(said: Pace) -> Rate:
    """Return what was said as a rate; `InvalidRequestError` for a size that is none."""
    return Rate(said.requests, bytes_of(said.bytes_in), bytes_of(said.bytes_out))


def quota_of(said: Limits) -> Quota:
    """Return what was said as a quota; `InvalidRequestError` for a size that is none."""
    return Quota(bytes_of(said.max_bytes), said.max_objects)


def bytes_of(said: int | str | None) -> int | None:
    """Return a number of bytes, written as one or as `10GB`; `InvalidRequestError` when it is none."""
    return None if said is None else int(_parsed(parse_size, said))


def seconds_of(said: int | str) -> float:
    """Return seconds, written as such or as `1h`; `InvalidRequestError` when it is none."""
    return float(_parsed(parse_time, said))


def _parsed(parse: Any, said: int | str) -> Any:
    try:
        return parse(said)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None


# -- out --------------------------------------------------------------------------------------------------------------
def key_info(key: ApiKey, token: str | UnsetType = UNSET) -> KeyInfo:
    """Return a key as it travels."""
    settings = key.settings
    return KeyInfo(
        id=key.id,
        name=key.name,
        tenant=key.tenant,
        role=key.role,
        scopes=[format_scope(scope) for scope in settings.scopes],
        created=iso(key.created),
        expires=_iso(key.expires),
        revoked=_iso(key.revoked),
        ip=_addresses(settings.ip),
        rate=_pace(settings.rate),
        token=token,
    )


def token_info(minted: Minted) -> TokenInfo:
    """Return a new token as it travels."""
    scopes = [format_scope(scope) for scope in minted.scopes]
    short = minted.id.partition("/")[2]
    return TokenInfo(
        minted.token, short, minted.subject, minted.tenant, minted.role, scopes, iso(minted.expires)
    )


def who(principal: Principal) -> Who:
    """Return a principal as it travels."""
    scopes = [format_scope(scope) for scope in principal.scopes]
    return Who(
        principal.id, principal.name, principal.tenant, principal.role, scopes, _iso(principal.expires)
    )


def tenant_info(
    tenant: Tenant, use: QuotaUse | None = None, buckets: Sequence[tuple[Bucket, Usage]] | None = None
) -> TenantInfo:
    """Return a tenant as it travels, with what it holds where that is known."""
    quota = tenant.settings.quota if use is None else use.quota
    return TenantInfo(
        name=tenant.name,
        state=tenant.state.value,
        created=iso(tenant.created),
        signing_generation=tenant.signing_generation,
        quota=Limits(quota.max_bytes, quota.max_objects),
        ip=_addresses(tenant.settings.ip),
        rate=_pace(tenant.settings.rate),
        inline=tenant.settings.inline,
        bytes=UNSET if use is None else use.bytes,
        objects=UNSET if use is None else use.objects,
        reserved_bytes=UNSET if use is None else use.reserved_bytes,
        reserved_objects=UNSET if use is None else use.reserved_objects,
        delete_after=UNSET if tenant.delete_after is None else iso(tenant.delete_after),
        categories=list(tenant.settings.categories) or UNSET,
        subfolders=list(tenant.settings.subfolders) or UNSET,
        buckets=UNSET if buckets is None else [_use(*pair) for pair in buckets],
    )


def hierarchy_info(found: Provisioned) -> HierarchyInfo:
    """Return what was provisioned as it travels."""
    return HierarchyInfo(
        found.whole,
        found.tenant,
        list(found.content_types),
        list(found.categories),
        list(found.subfolders),
        found.buckets_made,
        found.folders_made,
        found.folders_there,
        {
            name: StoreFolders(store.offered, store.made, store.there, store.trouble or None)
            for name, store in found.stores.items()
        },
    )


def _use(bucket: Bucket, usage: Usage) -> BucketUse:
    return BucketUse(bucket.name, usage.objects, usage.versions, usage.bytes, usage.upload_bytes)


def _addresses(rules: IpRules) -> Addresses:
    return Addresses(list(rules.allow), list(rules.deny))


def _pace(rate: Rate) -> Pace:
    return Pace(rate.requests, rate.bytes_in, rate.bytes_out)


def _iso(micros: int | None) -> str | None:
    return None if micros is None else iso(micros)
