"""Tenants, keys and tokens as one principal may look after them. Every change is audited where it is made.

Nobody gives away more than they have: a new key or token lies inside the role, scopes, addresses and time of the
credential that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from holdfast.catalog.contract import Actor, Debts
from holdfast.core.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from holdfast.core.names import check_tenant
from holdfast.core.records import Debt
from holdfast.core.types import (
    ApiKey,
    Bucket,
    IpRules,
    KeySettings,
    ObjectRef,
    Principal,
    Quota,
    QuotaUse,
    Rate,
    Scope,
    Tenant,
    TenantSettings,
    TenantState,
    Threshold,
    Usage,
)
from holdfast.engine import applying, costs, explaining, provisioning, ruling, simulating
from holdfast.engine.applying import ConfigPlan
from holdfast.engine.backups.shelf import Shelf
from holdfast.engine.connections import Connections
from holdfast.engine.context import Context
from holdfast.engine.costs import By, CostReport
from holdfast.engine.encrypting import Encryption
from holdfast.engine.explaining import Explained
from holdfast.engine.findings import Findings
from holdfast.engine.keys import create_key
from holdfast.engine.lagging import lagging
from holdfast.engine.minting import DEEPEST, Minted, mint
from holdfast.engine.move_desk import Moves
from holdfast.engine.permits import Permit
from holdfast.engine.provisioning import Provisioned
from holdfast.engine.ruling import RulesInForce, Wanted
from holdfast.engine.simulating import Priced, Simulation
from holdfast.engine.spending import Spending
from holdfast.engine.standing import Desk
from holdfast.engine.tokens import OWN, role_of_jti, token_id
from holdfast.engine.upstream_desk import Upstreams
from holdfast.policy.access import GRANTABLE, Decision, narrower
from holdfast.policy.addresses import NO_RULES, check_rules, within
from holdfast.policy.buckets import check_inline
from holdfast.policy.comparing import Comparison, Portion, compare
from holdfast.policy.cost import Billing
from holdfast.policy.differences import Wanted as Described
from holdfast.policy.lag import Lag
from holdfast.policy.placement import Facts, Rule
from holdfast.policy.prices import PriceBook

GRACE = 30 * 86400.0  #: seconds until a deleted tenant is removed, when nothing else is said
LONGEST_GRACE = 3660 * 86400.0
_LONGEST_NAME = 100
_YEAR = 366 * 86400 * 1_000_000  #: microseconds
_LONGEST_LIFE = 100 * 366 * 86400  #: seconds


class Administration:
    """Verbs on tenants, keys and tokens. `Session.admin` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit, principal: Principal, actor: Actor) -> None:
        self._context = context
        self._catalog = context.catalog
        self._permit = permit
        self._principal = principal
        self._actor = actor

    @property
    def connections(self) -> Connections:
        """The stores, as this principal may look after them."""
        return Connections(self._context, self._permit, self._actor)

    @property
    def encryption(self) -> Encryption:
        """The keys of encrypted blobs, as this principal may look after them."""
        return Encryption(self._context, self._permit, self._actor)

    @property
    def upstreams(self) -> Upstreams:
        """The stores that buckets follow, as this principal may look after them."""
        return Upstreams(self._context, self._permit, self._actor)

    @property
    def moves(self) -> Moves:
        """The moves of stores, as this principal may look after them."""
        return Moves(self._context, self._permit, self._actor)

    @property
    def findings(self) -> Findings:
        """What was found wrong with stores, and how far copies are proved."""
        return Findings(self._context, self._permit, self._actor)

    @property
    def backups(self) -> Shelf:
        """The backups in stores, as this principal may look at them."""
        return Shelf(self._context, self._permit)

    @property
    def spending(self) -> Spending:
        """What stores were asked and what that costs, as this principal may know it."""
        return Spending(self._context, self._permit)

    def whoami(self) -> Principal:
        """Return who asks."""
        self._permit.allow("whoami")
        return self._principal

    # -- tenants ------------------------------------------------------------------------------------------------
    async def create_tenant(
        self,
        name: str,
        *,
        quota: Quota | None = None,
        ip: IpRules | None = None,
        rate: Rate | None = None,
        inline: int | None = None,
    ) -> Tenant:
        """Make a tenant; `AlreadyExistsError` when there is one of that name."""
        self._permit.allow("create_tenant")
        check_tenant(name)
        settings = TenantSettings(
            ip=check_rules(ip or NO_RULES), rate=check_rate(rate or Rate()), inline=check_inline(inline)
        )
        made = await self._catalog.create_tenant(name, settings=settings, actor=self._actor)
        if quota is not None and quota != Quota():
            await self._catalog.set_quota(name, None, quota, actor=self._actor)
            made = await self._catalog.tenant(name)
        return made

    async def tenants(self) -> Sequence[Tenant]:
        """Return every tenant by name."""
        self._permit.allow("tenants")
        return await self._catalog.tenants()

    async def tenant(self, name: str) -> tuple[Tenant, QuotaUse]:
        """Return a tenant, and how much of its quota it uses; `NotFoundError` when there is none."""
        self._permit.allow("tenants")
        return await self._catalog.tenant(name), await self._catalog.quota(name)

    async def update_tenant(
        self,
        name: str,
        *,
        quota: Quota | None = None,
        ip: IpRules | None = None,
        rate: Rate | None = None,
        state: TenantState | None = None,
        inline: Threshold | None = None,
    ) -> Tenant:
        """Change what is given. A suspended tenant is refused everything within 5 s; nothing of it is removed."""
        self._permit.allow("update_tenant")
        if state is TenantState.DELETING:
            raise InvalidRequestError("a tenant is deleted with delete_tenant, which says when")
        checked = None if ip is None else check_rules(ip)
        pace = None if rate is None else check_rate(rate)
        threshold = None if inline is None else Threshold(check_inline(inline.bytes))

        def change(held: TenantSettings) -> TenantSettings:
            return replace(
                held,
                ip=held.ip if checked is None else checked,
                rate=held.rate if pace is None else pace,
                inline=held.inline if threshold is None else threshold.bytes,
            )

        if quota is not None:
            await self._catalog.set_quota(name, None, quota, actor=self._actor)
        return await self._catalog.update_tenant(name, state=state, change=change, actor=self._actor)

    async def delete_tenant(self, name: str, *, grace: float = GRACE) -> Tenant:
        """Refuse everything to a tenant within 5 s, and have it removed with all that it has `grace` seconds from now.

        Until then `restore_tenant` undoes it. Asked again, the time is counted from then. Its name is not given again.

        Raises:
            ConflictError: it is one's own, or the first of the service; or its time is over already.
        """
        self._permit.allow("delete_tenant")
        if not 0 <= grace <= LONGEST_GRACE:
            raise InvalidRequestError("the grace is a time of 0 seconds to 10 years")
        found = await self._catalog.tenant(name)
        first = min(await self._catalog.tenants(), key=lambda tenant: (tenant.created, tenant.name))
        if found.name in (first.name, self._principal.tenant):
            raise ConflictError(
                "this is the tenant of the service itself, or your own; it cannot be deleted", name=name
            )
        return await self._catalog.delete_tenant(name, grace=int(grace * 1_000_000), actor=self._actor)

    async def restore_tenant(self, name: str) -> Tenant:
        """Undo the deletion of a tenant: it is as it was before, served or suspended.

        Raises:
            ConflictError: its time is over.
        """
        self._permit.allow("delete_tenant")
        return await self._catalog.restore_tenant(name, actor=self._actor)

    async def tenant_buckets(self, name: str) -> Sequence[tuple[Bucket, Usage]]:
        """Return the buckets of a tenant with what is in them."""
        self._permit.allow("tenants")
        return await self._catalog.buckets((await self._catalog.tenant(name)).name)

    async def provision(
        self,
        content_types: Sequence[str] = (),
        categories: Sequence[str] = (),
        subfolders: Sequence[str] | None = None,
        *,
        tenant: str | None = None,
    ) -> Provisioned:
        """Make a tenant's hierarchy, as far as it is missing: one's own, or for operators any. See `engine.provisioning`."""
        home = await self._home(tenant, "provision")
        return await provisioning.provision(
            self._context, home, content_types, categories, subfolders, actor=self._actor
        )

    async def rotate_signing(self, name: str) -> Tenant:
        """Make all URLs that were signed for the tenant so far worthless."""
        if name == self._principal.tenant:
            self._permit.allow("update_bucket")  # an admin may do this at home
        else:
            self._permit.allow("update_tenant")
        return await self._catalog.rotate_signing(name, actor=self._actor)

    # -- keys ---------------------------------------------------------------------------------------------------
    async def create_key(
        self,
        name: str,
        role: str,
        *,
        settings: KeySettings | None = None,
        seconds: float | None = None,
        tenant: str | None = None,
    ) -> tuple[ApiKey, str]:
        """Make an API key that ends after `seconds` (None: as its maker does), and return it with its token.

        The token can be seen now and never again. What is made with a credential ends with it, and comes no faster.

        Raises:
            PermissionDeniedError: it would allow more than the credential that asks.
        """
        home = await self._home(tenant, "create_key")
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidRequestError(f"a key's name has 1 to {_LONGEST_NAME} printable characters")
        held = settings or KeySettings()
        scopes = self._narrowed(role, held.scopes)
        ip = self._addresses(check_rules(held.ip))
        rate = self._pace(check_rate(held.rate))
        made = KeySettings(scopes, ip, rate, await self._lineage())
        token = await create_key(
            self._catalog,
            self._context.environment,
            tenant=home,
            name=name,
            role=role,
            settings=made,
            expires=self._until(seconds),
            actor=self._actor,
        )
        key = await self._catalog.api_key(token.partition(".")[0])
        assert key is not None
        return key, token

    async def keys(self, *, tenant: str | None = None) -> Sequence[ApiKey]:
        """Return the keys of the tenant, never a secret; also those that were revoked, or ended with what made them."""
        home = await self._home(tenant, "list_keys")
        return [await self._seen(key) for key in await self._catalog.api_keys(home)]

    async def keys_left(self, role: str, *, tenant: str | None = None) -> bool:
        """Return whether the tenant has a key that holds and may all that `role` may."""
        keys = await self.keys(tenant=tenant)
        wanted = GRANTABLE[GRANTABLE.index(role) :]
        now = self._context.environment.clock.now()
        return any(
            key.role in wanted and key.revoked is None and (key.expires is None or key.expires > now)
            for key in keys
        )

    async def revoke_key(self, key_id: str, *, tenant: str | None = None) -> ApiKey:
        """End a key, and every key, token and signed URL that was made with it, within 5 s."""
        home = await self._home(tenant, "revoke_key")
        key = await self._catalog.api_key(key_id) if key_id.isascii() else None
        if key is None or key.tenant != home:
            raise NotFoundError("there is no such key", name=key_id)
        self._check(narrower(self._principal, key.role, key.settings.scopes))
        return await self._catalog.revoke_key(key_id, tenant=home, actor=self._actor)

    # -- tokens -------------------------------------------------------------------------------------------------
    async def create_token(
        self,
        *,
        name: str = "",
        role: str | None = None,
        scopes: tuple[Scope, ...] = (),
        seconds: float = 3600,
        tenant: str | None = None,
    ) -> Minted:
        """Sign a token that allows no more, and holds no longer, than the credential that asks, and ends with it."""
        self._permit.allow("create_token")
        home = self._principal.tenant
        if tenant not in (None, home):
            self._permit.allow("operate")
            home = (await self._catalog.tenant(str(tenant))).name
        if self._principal.grant is not None:
            raise PermissionDeniedError("a signed URL cannot be turned into a token")
        chosen = role or self._principal.role
        minted = mint(
            self._context.secret,
            self._context.environment,
            tenant=home,
            subject=name or self._principal.name or self._principal.id,
            role=chosen,
            scopes=self._narrowed(chosen, scopes),
            seconds=seconds,
            by=self._principal.credentials if home == self._principal.tenant else (),
            ends=self._principal.expires,
            root=self._root(),
        )
        detail = {"id": minted.id, "role": chosen}
        await self._catalog.note(home, "create-token", detail, actor=self._actor)
        return minted

    async def revoke_token(self, issuer: str, jti: str, *, tenant: str | None = None) -> None:
        """End a signed token by what it is called: for those who may revoke keys, and not one that allows more."""
        home = await self._home(tenant, "revoke_key")
        if issuer == OWN:
            role = role_of_jti(jti)
            if not narrower(self._principal, role, self._principal.scopes).allowed:
                raise PermissionDeniedError(
                    f"role {self._principal.role} cannot revoke a token of role {role}"
                )
        expires = self._context.environment.clock.now() + _YEAR
        await self._catalog.revoke_token(
            token_id(home, issuer, jti), tenant=home, expires=expires, actor=self._actor
        )

    async def give_back(self) -> None:
        """End the signed token that this request is made with."""
        self._permit.allow("revoke_token")
        own = self._principal.credentials[0] if self._principal.credentials else ""
        if self._principal.grant is not None or not own.startswith(f"{self._principal.tenant}/"):
            raise InvalidRequestError(
                "this request is not made with a token that can be revoked; name one by its id"
            )
        expires = self._principal.expires or self._context.environment.clock.now() + _YEAR
        await self._catalog.revoke_token(
            own, tenant=self._principal.tenant, expires=expires, actor=self._actor
        )

    # -- cost ---------------------------------------------------------------------------------------------------
    def prices(self) -> PriceBook:
        """Return the price book of this process."""
        self._permit.allow("costs")
        return self._context.settings.prices

    async def costs(self, by: By, *, tenant: str | None = None, fresh: bool = False) -> CostReport:
        """Return what is stored costs a month: of all tenants for operators, else of one's own.

        `fresh` measures the stores first, which operators may ask for.
        """
        self._permit.allow("costs")
        if fresh or tenant not in (None, self._principal.tenant):
            self._permit.allow("operate")
        if tenant is not None:
            tenant = (await self._catalog.tenant(tenant)).name
        elif not self._permit.may("operate"):
            tenant = self._principal.tenant
        return await costs.report(self._context, by, tenant=tenant, fresh=fresh)

    async def compare_costs(
        self, key: str, portions: Sequence[Portion] | None, *, billing: Billing = Billing.LIST
    ) -> Comparison:
        """Return what `portions` cost all at one price against each at its own.

        None, for operators: what each bucket of the catalog really holds in each store.
        """
        self._permit.allow("costs")
        if portions is None:
            self._permit.allow("operate")
            portions = await costs.portions(self._context)
        return compare(self._context.settings.prices, key, portions, billing=billing)

    # -- placement ----------------------------------------------------------------------------------------------
    async def rules(self) -> RulesInForce:
        """Return the placement rules in force, and those of the catalog."""
        self._permit.allow("placement")
        return await ruling.in_force(self._context)

    async def change_rules(
        self,
        change: Callable[[tuple[Rule, ...]], Sequence[Rule]],
        *,
        expected: int | None = None,
    ) -> RulesInForce:
        """Replace the rules of the catalog by what `change` makes of them. See `engine.ruling.change`."""
        self._permit.allow("set_rules")
        return await ruling.change(self._context, change, expected=expected, actor=self._actor)

    async def explain(self, facts: Facts) -> Explained:
        """Return where an object of these facts belongs, and why."""
        self._permit.allow("placement")
        return await explaining.explain(self._context, facts)

    async def explain_object(self, ref: ObjectRef, *, version_id: str | None = None) -> Explained:
        """Return where an object of any tenant belongs and why, and where it is."""
        self._permit.allow("placement")
        located = await self._catalog.resolve(ref, version_id=version_id)
        return await explaining.explain_object(self._context, located)

    async def simulate(self, wanted: Wanted) -> tuple[Simulation, Priced]:
        """Return what another placement would do with all that is there, and what that would cost."""
        self._permit.allow("placement")
        placement = await ruling.supposed(self._context, wanted)
        made = await simulating.simulate(self._context, placement, supposed=wanted.stores or {})
        return made, simulating.priced(made, self._context.settings.prices)

    # -- what a file wants of the catalog ------------------------------------------------------------------------
    async def plan_config(self, declared: Described, *, prune: bool = False) -> ConfigPlan:
        """Return what would have to change for the catalog to be as described. See `engine.applying`."""
        self._permit.allow("apply_config")
        return await applying.plan(self._desk, declared, prune=prune)

    async def apply_config(
        self, declared: Described, *, prune: bool = False, expect: str | None = None
    ) -> ConfigPlan:
        """Make the catalog as described and return what was changed. See `engine.applying.apply`."""
        self._permit.allow("apply_config")
        return await applying.apply(self._desk, declared, prune=prune, expect=expect)

    @property
    def _desk(self) -> Desk:
        return Desk(self._context, self, self._actor, self._principal.tenant)

    # -- versions that are not where they belong -----------------------------------------------------------------
    async def debts(
        self, *, tenant: str = "", bucket: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Debt]:
        """Return versions that are not where they belong, by id, those after `after`; "" means all tenants, or buckets."""
        self._permit.allow("operate")
        return await self._catalog.debts(tenant=tenant, bucket=bucket, after=after, limit=min(limit, 1000))

    async def debt_counts(self) -> Mapping[str, Debts]:
        """Return how many versions are not where they belong, by the reason."""
        self._permit.allow("operate")
        return await self._catalog.debt_counts()

    async def lag(self) -> tuple[Mapping[str, Lag], int]:
        """Return what each store is behind (nothing, for most), and what time it is."""
        self._permit.allow("operate")
        return await lagging(self._context), await self._catalog.now()

    # -----------------------------------------------------------------------------------------------------------
    async def _home(self, tenant: str | None, verb: str) -> str:
        """Return which tenant is meant: one's own, or for operators any that there is."""
        self._permit.allow(verb)
        if tenant is None or tenant == self._principal.tenant:
            return self._principal.tenant
        self._permit.allow("operate")
        return (await self._catalog.tenant(tenant)).name

    def _narrowed(self, role: str, scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
        """Return the scopes of a new credential; without any it gets those of the one that asks."""
        if role not in GRANTABLE:
            raise InvalidRequestError(f"there is no role {role[:40]!r}; choose one of {', '.join(GRANTABLE)}")
        chosen = scopes or self._principal.scopes
        self._check(narrower(self._principal, role, chosen))
        return chosen

    def _addresses(self, ip: IpRules) -> IpRules:
        """Return the address rules of a new key; without any it gets those of the credential that asks."""
        own = self._principal.ip[1] if len(self._principal.ip) > 1 else NO_RULES
        if ip == NO_RULES:
            return own
        if not within(ip, own):
            raise PermissionDeniedError("a key cannot be used from where its maker's key cannot be used")
        return ip

    def _pace(self, asked: Rate) -> Rate:
        """Return the rate of a new key: never above that of the credential that asks.

        The service's own rate for principals binds those without another; only operators give more than that.
        """
        own, usual = self._principal.rate, self._context.settings.principal_rate
        if self._principal.role == GRANTABLE[-1]:
            usual = Rate()
        return Rate(
            _slowest(asked.requests, own.requests, usual.requests),
            _slowest(asked.bytes_in, own.bytes_in, usual.bytes_in),
            _slowest(asked.bytes_out, own.bytes_out, usual.bytes_out),
        )

    def _root(self) -> str:
        """Return with whom a new token shares its rate: nobody, when it is made on the machine itself."""
        return (self._principal.root or self._principal.id) if self._actor.address else ""

    async def _lineage(self) -> tuple[str, ...]:
        """Return all credentials that a new key ends with: those of who asks, and what these were made with."""
        found = dict.fromkeys(self._principal.credentials)
        for credential in self._principal.credentials:
            if credential.startswith("key:"):
                key = await self._catalog.api_key(credential.removeprefix("key:"))
                found |= dict.fromkeys(() if key is None else key.settings.by)
        if len(found) > DEEPEST:
            raise InvalidRequestError("this key rests on too many others; make it with an earlier one")
        return tuple(found)

    async def _seen(self, key: ApiKey) -> ApiKey:
        """Return `key` as one that was revoked when what it was made with was; of tokens the time is not known."""
        ended = [] if key.revoked is None else [key.revoked]
        for credential in key.settings.by:
            kind, _, name = credential.partition(":")
            if kind != "key":
                if await self._catalog.token_revoked(credential):
                    ended.append(self._context.environment.clock.now())
            elif (maker := await self._catalog.api_key(name)) is not None and maker.revoked is not None:
                ended.append(maker.revoked)
        return replace(key, revoked=min(ended, default=None))

    def _until(self, seconds: float | None) -> int | None:
        """Return when a new key ends: never later than the credential that asks."""
        own = self._principal.expires
        if seconds is None:
            return own
        if not 1 <= seconds <= _LONGEST_LIFE:
            raise InvalidRequestError("a key holds for at least a second and at most 100 years")
        expires = self._context.environment.clock.now() + int(seconds * 1_000_000)
        return expires if own is None else min(own, expires)

    def _check(self, decision: Decision) -> None:
        if not decision.allowed:
            raise PermissionDeniedError(decision.reason)


N = TypeVar("N", int, float)


def _slowest(asked: N | None, own: N | None, usual: N | None) -> N | None:
    """Return the limit that is given: at most `own`; without one, what is asked, at most `usual`."""
    if own is not None:
        return own if asked is None else min(asked, own)
    return asked if asked is None or usual is None else min(asked, usual)


def check_rate(rate: Rate) -> Rate:
    """Return `rate` when each of its limits is a sensible number; `InvalidRequestError` otherwise."""
    for limit in (rate.requests, rate.bytes_in, rate.bytes_out):
        if limit is not None and not 0 < limit < 1 << 50:
            raise InvalidRequestError("a rate is a positive number per second, or none for no limit")
    return rate
