"""`holdfast tenant delete`, `restore` and `provision`: the end of a tenant, and its beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.admin import administration, seconds, when
from holdfast.cli.command import Cli, command

if TYPE_CHECKING:
    from holdfast.engine.provisioning import Provisioned

Name = Annotated[str, typer.Argument(metavar="TENANT")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `tenant`."""

    @command(group, "delete")
    async def delete(
        cli: Cli,
        name: Name,
        grace: Annotated[
            str, typer.Option(help="until it is removed with all that it has, as 12h or 90d")
        ] = "30d",
    ) -> None:
        """Refuse everything to a tenant within 5 seconds, and have it removed for good when the grace is over.

        A running server removes it, or `holdfast sweep`. Until then `holdfast tenant restore` undoes it.
        """
        time = seconds(grace, "--grace")
        assert time is not None
        async with administration(cli) as admin:
            tenant = await admin.delete_tenant(name, grace=time)
        until = when(tenant.delete_after)
        cli.out.record(
            {"tenant": name, "state": tenant.state.value, "delete_after": until},
            f"{name} is refused everything and is removed at {until}; until then: holdfast tenant restore {name}",
        )

    @command(group, "restore")
    async def restore(cli: Cli, name: Name) -> None:
        """Undo the deletion of a tenant whose grace is not over."""
        async with administration(cli) as admin:
            tenant = await admin.restore_tenant(name)
        cli.out.record({"tenant": name, "state": tenant.state.value}, f"{name} is {tenant.state.value}")

    @command(group, "provision")
    async def provision(
        cli: Cli,
        name: Name,
        category: Annotated[
            list[str] | None,
            typer.Option(help="a folder in every bucket; repeatable (default: as the last time)"),
        ] = None,
        content_type: Annotated[
            list[str] | None,
            typer.Option(help="a bucket; repeatable (default: portraits, videos, previews, nft_markers)"),
        ] = None,
        subfolder: Annotated[
            list[str] | None,
            typer.Option(
                help="a folder in every category; repeatable (default: Image, QR, nft_markers, nft_cache)"
            ),
        ] = None,
    ) -> int | None:
        """Make a tenant's hierarchy of buckets and folders, as far as it is missing, in every store that has folders."""
        async with administration(cli) as admin:
            found = await admin.provision(content_type or (), category or (), subfolder, tenant=name)
        cli.out.record(facts(found), _text(found))
        return None if found.whole else 15


def facts(found: Provisioned) -> dict[str, Any]:
    """Return what a program wants to know of a hierarchy."""
    stores = {
        name: {
            "offered": store.offered,
            "made": store.made,
            "there": store.there,
            "trouble": store.trouble or None,
        }
        for name, store in found.stores.items()
    }
    return {
        "tenant": found.tenant,
        "content_types": list(found.content_types),
        "categories": list(found.categories),
        "subfolders": list(found.subfolders),
        "buckets_made": found.buckets_made,
        "folders_made": found.folders_made,
        "folders_there": found.folders_there,
        "stores": stores,
    }


def _text(found: Provisioned) -> str:
    lines = [
        f"made {len(found.buckets_made)} of {len(found.content_types)} buckets, {len(found.folders_made)} folders;"
        f" {found.folders_there} folders were there"
    ]
    for name, store in found.stores.items():
        if store.trouble:
            lines.append(f"store {name}: {store.trouble}")
        elif store.offered:
            lines.append(f"store {name}: made {store.made} folders, {store.there} were there")
        else:
            lines.append(f"store {name} has no folders of its own")
    return "\n".join(lines)
