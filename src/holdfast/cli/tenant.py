"""`holdfast tenant`: who owns buckets, how much they may hold, from where they may come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from holdfast.cli import tenant_life
from holdfast.cli.admin import (
    Allow,
    BytesIn,
    BytesOut,
    Deny,
    Requests,
    administration,
    limit,
    quota_with,
    rate_with,
    rules_with,
    size,
    when,
)
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.core.types import Bucket, IpRules, Quota, QuotaUse, Rate, Tenant, TenantState, Threshold, Usage

Name = Annotated[str, typer.Argument(metavar="TENANT")]
MaxBytes = Annotated[str | None, typer.Option(help="most that it may hold, as 10GB; none: no limit")]
Inline = Annotated[
    str | None,
    typer.Option(
        help="size below which contents live in the catalog, as 64KB; 0: none do; none: as the service says"
    ),
]
MaxObjects = Annotated[str | None, typer.Option(help="most versions that it may hold; none: no limit")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Tenants: who owns buckets, and their limits.")
    app.add_typer(group, name="tenant", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/tenants")

    tenant_life.register(group)

    @command(group, "create")
    async def create(
        cli: Cli,
        name: Name,
        max_bytes: MaxBytes = None,
        max_objects: MaxObjects = None,
        allow: Allow = None,
        deny: Deny = None,
        requests: Requests = None,
        bytes_in: BytesIn = None,
        bytes_out: BytesOut = None,
        inline: Inline = None,
    ) -> None:
        """Make a tenant. Its first key is made with: holdfast key create NAME --tenant TENANT --role admin"""
        async with administration(cli) as admin:
            tenant = await admin.create_tenant(
                name,
                quota=quota_with(Quota(), max_bytes, max_objects),
                ip=rules_with(IpRules(), allow, deny),
                rate=rate_with(Rate(), requests, bytes_in, bytes_out),
                inline=limit(inline, None, size),
            )
        cli.out.record(facts(tenant), f"made tenant {tenant.name}")

    @command(group, "ls")
    async def ls(cli: Cli) -> None:
        """List tenants."""
        async with administration(cli) as admin:
            tenants = await admin.tenants()
        rows = [
            (facts(tenant), (tenant.name, tenant.state.value, when(tenant.created))) for tenant in tenants
        ]
        cli.out.table(("TENANT", "STATE", "CREATED"), rows)

    @command(group, "show")
    async def show(cli: Cli, name: Name) -> None:
        """Show one tenant: state, limits, and how much of them is used."""
        async with administration(cli) as admin:
            tenant, use = await admin.tenant(name)
            buckets = await admin.tenant_buckets(name)
        _show(cli, tenant, use, buckets)

    @command(group, "set")
    async def set_(
        cli: Cli,
        name: Name,
        max_bytes: MaxBytes = None,
        max_objects: MaxObjects = None,
        allow: Allow = None,
        deny: Deny = None,
        requests: Requests = None,
        bytes_in: BytesIn = None,
        bytes_out: BytesOut = None,
        inline: Inline = None,
    ) -> None:
        """Change limits and address rules; what is not given stays, `none` takes a limit away or empties a list."""
        async with administration(cli) as admin:
            held, use = await admin.tenant(name)
            quota = quota_with(use.quota, max_bytes, max_objects)
            await admin.update_tenant(
                name,
                quota=quota if quota != use.quota else None,
                ip=rules_with(held.settings.ip, allow, deny),
                rate=rate_with(held.settings.rate, requests, bytes_in, bytes_out),
                inline=None if inline is None else Threshold(limit(inline, None, size)),
            )
            _show(cli, *await admin.tenant(name))

    @command(group, "suspend")
    async def suspend(cli: Cli, name: Name) -> None:
        """Refuse everything to a tenant, within 5 seconds. Nothing of it is removed."""
        await _state(cli, name, TenantState.SUSPENDED)
        if name == cli.target.settings().tenant:
            cli.out.note(
                f"{name} is the tenant of the service itself: also its operators' keys are refused now;"
                f" undo it here with: holdfast tenant resume {name}"
            )

    @command(group, "resume")
    async def resume(cli: Cli, name: Name) -> None:
        """Serve a suspended tenant again."""
        await _state(cli, name, TenantState.ACTIVE)

    @command(group, "rotate-signing")
    async def rotate_signing(cli: Cli, name: Name) -> None:
        """Make every URL worthless that was signed for the tenant so far."""
        async with administration(cli) as admin:
            tenant = await admin.rotate_signing(name)
        cli.out.record(facts(tenant), f"{name} signs in generation {tenant.signing_generation} now")


def facts(tenant: Tenant, use: QuotaUse | None = None) -> dict[str, Any]:
    """Return what a program wants to know of a tenant."""
    settings = tenant.settings
    known: dict[str, Any] = {
        "tenant": tenant.name,
        "state": tenant.state.value,
        "created": when(tenant.created),
        "signing_generation": tenant.signing_generation,
        "allow": list(settings.ip.allow),
        "deny": list(settings.ip.deny),
        "requests": settings.rate.requests,
        "bytes_in": settings.rate.bytes_in,
        "bytes_out": settings.rate.bytes_out,
        "inline": settings.inline,
    }
    if tenant.delete_after is not None:
        known["delete_after"] = when(tenant.delete_after)
    if settings.categories:
        known |= {"categories": list(settings.categories), "subfolders": list(settings.subfolders)}
    if use is not None:
        known |= {
            "bytes": use.bytes,
            "objects": use.objects,
            "reserved_bytes": use.reserved_bytes,
            "reserved_objects": use.reserved_objects,
            "max_bytes": use.quota.max_bytes,
            "max_objects": use.quota.max_objects,
        }
    return known


def _show(
    cli: Cli, tenant: Tenant, use: QuotaUse, buckets: Sequence[tuple[Bucket, Usage]] | None = None
) -> None:
    known = facts(tenant, use)
    held = {bucket.name: usage for bucket, usage in buckets or ()}
    usual = {"inline": "as the service says"}
    lines = [
        f"{name.replace('_', ' ')}: {usual[name] if value is None and name in usual else _text(value)}"
        for name, value in known.items()
    ]
    lines += [f"bucket {name}: {usage.objects} objects, {usage.bytes} bytes" for name, usage in held.items()]
    if buckets is not None:
        known["buckets"] = {
            name: {"objects": usage.objects, "versions": usage.versions, "bytes": usage.bytes}
            for name, usage in held.items()
        }
    cli.out.record(known, "\n".join(lines))


def _text(value: object) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, list):
        return " ".join(value) or "none"
    return str(value)


async def _state(cli: Cli, name: str, state: TenantState) -> None:
    async with administration(cli) as admin:
        tenant = await admin.update_tenant(name, state=state)
    cli.out.record(facts(tenant), f"{name} is {tenant.state.value}")
