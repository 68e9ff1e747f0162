"""`holdfast rm`: remove objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from holdfast.cli.address import Address, parse, parse_object
from holdfast.cli.batch import each
from holdfast.cli.command import Cli, command
from holdfast.cli.output import deleted_facts, visible
from holdfast.core.errors import InvalidRequestError
from holdfast.library.client import AsyncClient

#: An object, or one version of it.
Doomed = tuple[str, str, str | None]


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "rm", panel=panel)
    async def rm(
        cli: Cli,
        objects: Annotated[
            list[str],
            typer.Argument(metavar="BUCKET/KEY...", help="objects, or with -r folders or whole buckets"),
        ],
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="everything in the folder")
        ] = False,
        all_versions: Annotated[
            bool, typer.Option("--all-versions", help="with -r: for good, older versions too")
        ] = False,
        version_id: Annotated[str | None, typer.Option(help="only this version, for good")] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", "-n", help="show what would be removed, remove nothing")
        ] = False,
        jobs: Annotated[int, typer.Option(min=1, max=64, help="removals at a time")] = 8,
    ) -> int:
        """Remove objects. In a bucket that keeps versions they can be brought back, unless a version is named."""
        if version_id and (recursive or len(objects) > 1):
            raise InvalidRequestError("--version-id goes with exactly one object")
        if all_versions and not recursive:
            raise InvalidRequestError("--all-versions goes with -r")
        async with cli.target.client() as client:
            if recursive:
                doomed = _folders(client, [parse(text) for text in objects], all_versions)
            else:
                doomed = _named([parse_object(text) for text in objects], version_id)
            return await remove(cli, client, doomed, dry_run=dry_run, jobs=jobs, listed=recursive)


async def remove(
    cli: Cli,
    client: AsyncClient,
    doomed: AsyncIterator[Doomed],
    *,
    dry_run: bool,
    jobs: int,
    listed: bool = True,
) -> int:
    """Remove what `doomed` yields, or only say so, and return the exit status.

    `listed` tells that the items come from a listing, so a dry run need not look whether they are there.
    """

    async def work(item: Doomed) -> None:
        bucket, key, version_id = item
        shown = visible(f"{bucket}/{key}") + (f"  {version_id}" if version_id else "")
        if dry_run:
            if not listed:
                await client.head(bucket, key, version_id=version_id)
            cli.out.record(
                {**deleted_facts(bucket, key, None), "version_id": version_id}, f"would remove {shown}"
            )
            return
        deleted = await client.delete(bucket, key, version_id=version_id)
        gone = deleted.version_id is not None
        cli.out.record(
            deleted_facts(bucket, key, deleted), f"removed {shown}" if gone else f"was not there: {shown}"
        )

    return await each(cli, doomed, work, jobs=jobs)


async def versions_under(client: AsyncClient, folder: Address) -> AsyncIterator[Doomed]:
    """Yield every version and delete marker in a folder."""
    async for version in client.versions(folder.bucket, prefix=folder.folder):
        yield folder.bucket, version.ref.key, version.id


async def _folders(client: AsyncClient, folders: list[Address], all_versions: bool) -> AsyncIterator[Doomed]:
    for folder in folders:
        if all_versions:
            async for item in versions_under(client, folder):
                yield item
        else:
            async for version in client.list(folder.bucket, prefix=folder.folder):
                yield folder.bucket, version.ref.key, None


async def _named(addresses: list[Address], version_id: str | None) -> AsyncIterator[Doomed]:
    for address in addresses:
        yield address.bucket, address.key, version_id
