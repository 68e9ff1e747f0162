"""`holdfast ls`: buckets, or what is in a folder."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.address import Address, parse
from holdfast.cli.command import Cli, command
from holdfast.cli.output import bucket_facts, human_size, human_time, version_facts, visible
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.types import Version
from holdfast.library.client import AsyncClient


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "ls", panel=panel)
    async def ls(
        cli: Cli,
        folder: Annotated[
            str | None, typer.Argument(metavar="[BUCKET[/FOLDER]]", help="without it: the buckets")
        ] = None,
        long: Annotated[bool, typer.Option("--long", "-l", help="with size, time and ETag")] = False,
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="also what is in folders below")
        ] = False,
        prefix: Annotated[
            str, typer.Option(help="only keys that start so, compared as plain text after FOLDER/")
        ] = "",
    ) -> None:
        """List buckets, or the objects and folders in a folder, in byte order."""
        async with cli.target.client() as client:
            if folder is None:
                if recursive or prefix:
                    raise InvalidRequestError("name the bucket that is to be listed")
                await _list_buckets(cli, client)
            else:
                await _list_folder(cli, client, parse(folder), long, recursive, prefix)


async def _list_buckets(cli: Cli, client: AsyncClient) -> None:
    rows = []
    for bucket, usage in await client.buckets():
        cells = (
            bucket.name,
            str(usage.objects),
            human_size(usage.bytes),
            "versions kept" if bucket.versioning else "",
            human_time(bucket.created),
        )
        rows.append((bucket_facts(bucket, usage), cells))
    if rows or cli.out.as_json:
        cli.out.table(("BUCKET", ">OBJECTS", ">SIZE", "VERSIONING", "CREATED"), rows)
    else:
        cli.out.note("no buckets yet; make one with: holdfast mb NAME")


async def _list_folder(
    cli: Cli, client: AsyncClient, folder: Address, long: bool, recursive: bool, prefix: str
) -> None:
    found = False
    async for page in client.pages(
        folder.bucket, prefix=folder.folder + prefix, delimiter="" if recursive else "/"
    ):
        # Objects and folders come as two sorted lists; people and programs get them in one order.
        entries: list[tuple[bytes, Version | None, str]] = [
            (item.ref.key.encode(errors="surrogatepass"), item, "") for item in page.items
        ]
        entries += [(name.encode(errors="surrogatepass"), None, name) for name in page.prefixes]
        for _, version, name in sorted(entries, key=lambda entry: entry[0]):
            found = True
            if version is None:
                _show_prefix(cli, folder, name, long)
            else:
                _show(cli, folder, version, long)
    if not found and folder.key:
        await _list_object(cli, client, folder, long, prefix)


async def _list_object(cli: Cli, client: AsyncClient, address: Address, long: bool, prefix: str) -> None:
    """What was named is no folder: show the object of that name, as `ls` does for a file."""
    if prefix or address.is_folder:
        raise NotFoundError(f"there is nothing in {address}{prefix}")
    version = await client.head(address.bucket, address.key)
    _show(cli, Address(address.bucket), version, long)


def _show(cli: Cli, folder: Address, version: Version, long: bool) -> None:
    name = visible(version.ref.key[len(folder.folder) :] or version.ref.key)
    facts = version_facts(version)
    if long:
        name = f"{human_size(version.size):>10}  {human_time(version.created)}  {version.etag:<35}  {name}"
    cli.out.record(facts, name)


def _show_prefix(cli: Cli, folder: Address, name: str, long: bool) -> None:
    shown = visible(name[len(folder.folder) :])
    cli.out.record(
        {"bucket": folder.bucket, "prefix": name}, f"{'':>10}  {'':19}  {'':35}  {shown}" if long else shown
    )
