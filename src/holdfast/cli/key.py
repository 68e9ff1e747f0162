"""`holdfast key`: API keys, made and revoked by whoever can read the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.admin import (
    Allow,
    BytesIn,
    BytesOut,
    Deny,
    Requests,
    Scopes,
    Tenant,
    administration,
    rate_with,
    rules_with,
    seconds,
    when,
)
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.output import visible
from holdfast.core.types import ApiKey, IpRules, KeySettings, Rate
from holdfast.policy.scopes import format_scope, parse_scopes

if TYPE_CHECKING:
    from holdfast.engine.administration import Administration


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="API keys: what programs show to the service.")
    app.add_typer(group, name="key", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/keys")

    @command(group, "create")
    async def create(
        cli: Cli,
        name: Annotated[str, typer.Argument(help="what it is for")],
        role: Annotated[str, typer.Option(help="reader, writer, admin or operator")] = "reader",
        scope: Scopes = None,
        expires: Annotated[str | None, typer.Option(help="after this time, as 90d (default: never)")] = None,
        allow: Allow = None,
        deny: Deny = None,
        requests: Requests = None,
        bytes_in: BytesIn = None,
        bytes_out: BytesOut = None,
        tenant: Tenant = None,
    ) -> None:
        """Make an API key and show its token, this once. Also when no key is left."""
        settings = KeySettings(
            parse_scopes(scope or []),
            rules_with(IpRules(), allow, deny),
            rate_with(Rate(), requests, bytes_in, bytes_out),
        )
        async with administration(cli) as admin:
            key, token = await admin.create_key(
                name, role, settings=settings, seconds=seconds(expires, "--expires"), tenant=tenant
            )
        if cli.out.quiet and not cli.out.as_json:
            print(token)  # the only time that it can be seen
        cli.out.record({**facts(key), "token": token}, token)
        cli.out.note(f"key {key.id} for tenant {key.tenant}, role {key.role}; the token is shown only now")

    @command(group, "ls")
    async def ls(cli: Cli, tenant: Tenant = None) -> None:
        """List API keys, the revoked ones too."""
        async with administration(cli) as admin:
            keys = await admin.keys(tenant=tenant)
        cli.out.table(
            ("KEY", "NAME", "ROLE", "SCOPES", "CREATED", "STATE"), [(facts(key), _cells(key)) for key in keys]
        )

    @command(group, "revoke")
    async def revoke(
        cli: Cli,
        ids: Annotated[
            list[str], typer.Argument(metavar="KEY...", help="ids, as `holdfast key ls` shows them")
        ],
        tenant: Tenant = None,
    ) -> None:
        """End keys, and all keys, tokens and signed URLs made with them. Services see it within 5 seconds."""
        async with administration(cli) as admin:
            for key_id in ids:
                before = {key.id: key for key in await admin.keys(tenant=tenant) if key.revoked is not None}
                key = await admin.revoke_key(key_id, tenant=tenant)
                if key.id in before:
                    ended = when(before[key.id].revoked)
                    cli.out.record(
                        facts(before[key.id]), f"{key.id} ({visible(key.name)}) was revoked already, {ended}"
                    )
                    continue
                cli.out.record(facts(key), f"revoked {key.id} ({visible(key.name)})")
                for one in await admin.keys(tenant=tenant):
                    if one.revoked is not None and one.id != key.id and one.id not in before:
                        cli.out.note(f"{one.id} ({visible(one.name)}) ends too: it was made with this key")
                await _warn(cli, admin, key)


async def _warn(cli: Cli, admin: Administration, key: ApiKey) -> None:
    """Say when nobody is left who could look after the service, or the tenant, over HTTP."""
    if key.role == "operator":
        tenants = [tenant.name for tenant in await admin.tenants()]
    elif key.role == "admin":
        tenants = [key.tenant]
    else:
        return
    for tenant in tenants:
        if await admin.keys_left(key.role, tenant=tenant):
            return
    where = "" if key.role == "operator" else f" of tenant {key.tenant}"
    cli.out.note(
        f"this was the last key{where} with the role {key.role}; make another here with: "
        f"holdfast key create NAME --role {key.role} --tenant {key.tenant}"
    )


def facts(key: ApiKey) -> dict[str, Any]:
    """Return what a program wants to know of a key."""
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "role": key.role,
        "scopes": [format_scope(scope) for scope in key.settings.scopes],
        "created": when(key.created),
        "expires": when(key.expires) or None,
        "revoked": when(key.revoked) or None,
        "allow": list(key.settings.ip.allow),
        "deny": list(key.settings.ip.deny),
    }


def _cells(key: ApiKey) -> tuple[str, ...]:
    scopes = " ".join(format_scope(scope) for scope in key.settings.scopes) or "all"
    state = (
        f"revoked {when(key.revoked)}"
        if key.revoked
        else f"until {when(key.expires)}"
        if key.expires
        else "holds"
    )
    return (key.id, visible(key.name), key.role, visible(scopes), when(key.created), state)
