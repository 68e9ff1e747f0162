"""`holdfast ls`: buckets, or what is in a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from holdfast.cli.address import Address, parse
from holdfast.cli.command import Cli, command
from holdfast.cli.output import bucket_facts, human_size, human_time, version_facts, visible
from holdfast.cli.past import At, Named, moment_of
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.types import ListPage, Version
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
        at: At = None,
        snapshot: Named = None,
    ) -> None:
        """List buckets, or the objects and folders in a folder, in byte order."""
        async with cli.target.client() as client:
            if folder is None:
                if recursive or prefix or at or snapshot:
                    raise InvalidRequestError("name the bucket that is to be listed")
                await _list_buckets(cli, client)
            else:
                address = parse(folder)
                when = await moment_of(client, address.bucket, at, snapshot)
                await list_folder(cli, client, address, long, recursive, prefix, at=when)


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


async def list_folder(
    cli: Cli,
    client: AsyncClient,
    folder: Address,
    long: bool,
    recursive: bool,
    prefix: str,
    *,
    at: int | None = None,
) -> None:
    """Show what is in a folder, with `at` what was in it at that moment."""
    found = False
    async for page in _pages(client, folder, prefix, "" if recursive else "/", at):
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
        await _list_object(cli, client, folder, long, prefix, at)


async def _pages(
    client: AsyncClient, folder: Address, prefix: str, delimiter: str, at: int | None
) -> AsyncIterator[ListPage]:
    if at is None:
        async for page in client.pages(folder.bucket, prefix=folder.folder + prefix, delimiter=delimiter):
            yield page
        return
    marker, more = "", True
    while more:
        page = await client.page_at(
            folder.bucket, at, prefix=folder.folder + prefix, delimiter=delimiter, marker=marker
        )
        yield page
        marker, more = page.next_marker, page.truncated


async def _list_object(
    cli: Cli, client: AsyncClient, address: Address, long: bool, prefix: str, at: int | None
) -> None:
    """What was named is no folder: show the object of that name, as `ls` does for a file."""
    if prefix or address.is_folder:
        raise NotFoundError(f"there is nothing in {address}{prefix}")
    wanted = None if at is None else await client.version_at(address.bucket, address.key, at)
    try:
        version = await client.head(address.bucket, address.key, version_id=wanted)
    except NotFoundError as error:
        raise NotFoundError(f"there is no object {address}, and nothing in {address}/") from error
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
