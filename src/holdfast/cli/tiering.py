"""`holdfast tier`, `archive` and `recall`: objects in another place than their rule says."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import starting
from holdfast.cli.admin import seconds, size
from holdfast.cli.batch import pairs
from holdfast.cli.command import Cli, command
from holdfast.core.errors import InvalidRequestError

Where = Annotated[
    str | None,
    typer.Argument(metavar="[BUCKET[/PREFIX]]", help="only these; a prefix that ends with * or /, or a key"),
]
Everything = Annotated[bool, typer.Option("--all", help="of all tenants and buckets")]
TenantName = Annotated[
    str | None, typer.Option("--tenant", help="whose bucket (default: that of the settings)")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="only with this tag: NAME=VALUE; repeatable")]
Older = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="only committed before, as 90d")
]
Larger = Annotated[
    str | None, typer.Option("--larger-than", metavar="SIZE", help="only of this size and above")
]
Smaller = Annotated[str | None, typer.Option("--smaller-than", metavar="SIZE", help="only below this size")]
StoredIn = Annotated[
    str | None, typer.Option("--stored-in", metavar="STORE", help="only what is in this store")
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""

    @command(app, "tier", panel=panel)
    async def tier(
        cli: Cli,
        store: Annotated[str, typer.Argument(metavar="STORE", help="where they belong from now on")],
        where: Where = None,
        everything: Everything = False,
        tenant: TenantName = None,
        tag: Tags = None,
        older_than: Older = None,
        larger_than: Larger = None,
        smaller_than: Smaller = None,
        stored_in: StoredIn = None,
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Move versions to a store, whatever their rule says; `holdfast recall` undoes it."""
        spec = {
            "store": store,
            **_filters(cli, where, everything, tenant, tag, older_than, larger_than, smaller_than, stored_in),
        }
        return await starting.start(
            cli,
            "tier",
            spec,
            dry_run=dry_run,
            wait=not no_wait,
            objects_per_second=objects,
            bandwidth=bandwidth,
        )

    @command(app, "archive", panel=panel)
    async def archive(
        cli: Cli,
        where: Where = None,
        to: Annotated[
            str | None,
            typer.Option(
                metavar="STORE", help="the store; else the only one that is labelled archive, or cold"
            ),
        ] = None,
        everything: Everything = False,
        tenant: TenantName = None,
        tag: Tags = None,
        older_than: Older = None,
        larger_than: Larger = None,
        smaller_than: Smaller = None,
        stored_in: StoredIn = None,
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Move versions to a store for what is seldom read; `holdfast recall` brings them back."""
        spec = {
            "store": to,
            **_filters(cli, where, everything, tenant, tag, older_than, larger_than, smaller_than, stored_in),
        }
        return await starting.start(
            cli,
            "archive",
            spec,
            dry_run=dry_run,
            wait=not no_wait,
            objects_per_second=objects,
            bandwidth=bandwidth,
        )

    @command(app, "recall", panel=panel)
    async def recall(
        cli: Cli,
        where: Where = None,
        days: Annotated[
            float | None, typer.Option(help="for so long, beside the copy in the archive; else for good")
        ] = None,
        everything: Everything = False,
        tenant: TenantName = None,
        tag: Tags = None,
        older_than: Older = None,
        larger_than: Larger = None,
        smaller_than: Smaller = None,
        stored_in: StoredIn = None,
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Bring versions that were tiered or archived back to where their rule says."""
        spec = {
            "days": days,
            **_filters(cli, where, everything, tenant, tag, older_than, larger_than, smaller_than, stored_in),
        }
        return await starting.start(
            cli,
            "recall",
            spec,
            dry_run=dry_run,
            wait=not no_wait,
            objects_per_second=objects,
            bandwidth=bandwidth,
        )


def _filters(
    cli: Cli,
    where: str | None,
    everything: bool,
    tenant: str | None,
    tag: list[str] | None,
    older_than: str | None,
    larger_than: str | None,
    smaller_than: str | None,
    stored_in: str | None,
) -> dict[str, Any]:
    if (where is None) != everything:
        raise InvalidRequestError("name a bucket, or BUCKET/PREFIX*, or say --all")
    found: dict[str, Any] = {
        "tags": pairs(tag or (), "--tag"),
        "older_than": seconds(older_than, "--older-than"),
        "min_size": None if larger_than is None else size(larger_than),
        "max_size": None if smaller_than is None else size(smaller_than),
        "stored_in": stored_in,
        "tenant": tenant,
    }
    if where is None:
        return found
    bucket, _, rest = where.partition("/")
    found |= {"bucket": bucket, "tenant": tenant or _tenant(cli)}
    if rest.endswith("*"):
        found["prefix"] = rest.removesuffix("*")
    elif rest.endswith("/"):
        found["prefix"] = rest
    elif rest:
        found["key"] = rest
    return found


def _tenant(cli: Cli) -> str:
    if cli.target.url:
        raise InvalidRequestError("say whose bucket it is: --tenant NAME")
    return str(cli.target.settings().tenant)
