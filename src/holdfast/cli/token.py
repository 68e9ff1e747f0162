"""`holdfast token`: tokens that the service signs itself, for a while and for a part."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.admin import Scopes, Tenant, administration, seconds, when
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.core.errors import InvalidRequestError
from holdfast.policy.scopes import format_scope, parse_scopes


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Signed tokens (JWT) that end by themselves.")
    app.add_typer(group, name="token", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/tokens")

    @command(group, "create")
    async def create(
        cli: Cli,
        name: Annotated[str, typer.Option(help="what it is for; appears in the audit")] = "token",
        role: Annotated[str, typer.Option(help="reader, writer, admin or operator")] = "reader",
        scope: Scopes = None,
        expires: Annotated[str, typer.Option(help="after this time, at most 30d")] = "1h",
        tenant: Tenant = None,
    ) -> None:
        """Sign a token and show it, this once."""
        async with administration(cli) as admin:
            minted = await admin.create_token(
                name=name,
                role=role,
                scopes=parse_scopes(scope or []),
                seconds=seconds(expires, "--expires") or 0,
                tenant=tenant,
            )
        facts = {
            "token": minted.token,
            "id": minted.id.partition("/")[2],
            "tenant": minted.tenant,
            "role": minted.role,
            "scopes": [format_scope(one) for one in minted.scopes],
            "expires": when(minted.expires),
        }
        if cli.out.quiet and not cli.out.as_json:
            print(minted.token)  # the only time that it can be seen
        cli.out.record(facts, minted.token)
        cli.out.note(f"token {facts['id']} for tenant {minted.tenant} until {facts['expires']}")

    @command(group, "revoke")
    async def revoke(
        cli: Cli,
        ids: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="ISSUER:JTI, or the token itself")],
        tenant: Tenant = None,
    ) -> None:
        """End tokens before their time. Services see it within 5 seconds."""
        async with administration(cli) as admin:
            for said in ids:
                issuer, jti, home = _named(said)
                await admin.revoke_token(issuer, jti, tenant=tenant or home)
                cli.out.record({"revoked": f"{issuer}:{jti}"}, f"revoked {issuer}:{jti}")

    @command(group, "inspect")
    async def inspect(
        cli: Cli,
        presented: Annotated[
            str, typer.Argument(metavar="JWT", help="a token of any issuer in the settings")
        ],
    ) -> int | None:
        """Show what a token says, and whether it holds here now."""
        from holdfast.core.errors import HoldfastError
        from holdfast.engine.jwt import parse
        from holdfast.engine.trust import open_tokens

        said = parse(presented)
        problem = ""
        settings = cli.target.settings()
        async with cli.target.engine() as engine:
            context = engine.context
            tokens = open_tokens(settings.auth, context.secret, engine.catalog, context.environment.clock)
            try:
                await tokens(presented)
            except HoldfastError as error:
                problem = error.message
        facts = {
            "header": dict(said.header),
            "claims": dict(said.claims),
            "holds": not problem,
            "problem": problem,
        }
        lines = [f"{name}: {value}" for part in (said.header, said.claims) for name, value in part.items()]
        cli.out.record(facts, "\n".join([*map(str, lines), problem or "it holds"]))
        return 11 if problem else None


def _named(said: str) -> tuple[str, str, str | None]:
    """Return issuer, jti and, when the token itself is given, its tenant."""
    from holdfast.engine.jwt import looks_like, parse
    from holdfast.engine.tokens import OWN

    if looks_like(said):
        claims = parse(said).claims
        jti, home = claims.get("jti"), claims.get("tenant")
        if claims.get("iss") != OWN or not isinstance(jti, str) or not isinstance(home, str):
            raise InvalidRequestError(
                "this token is of another issuer; name it ISSUER:JTI, as the settings call it"
            )
        return OWN, jti, home
    issuer, colon, jti = said.partition(":")
    if not colon or not issuer or not jti:
        raise InvalidRequestError("name a token ISSUER:JTI, or give the token itself")
    return issuer, jti, None
