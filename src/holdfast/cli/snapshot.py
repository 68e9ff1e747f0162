"""`holdfast snapshot`, `holdfast bucket rewind` and `holdfast bucket clone`: moments of buckets, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import starting
from holdfast.cli.address import Address, parse
from holdfast.cli.command import Cli, command
from holdfast.cli.ls import list_folder
from holdfast.cli.output import human_size, human_time, version_facts, visible
from holdfast.cli.past import At, Named, Prefix
from holdfast.cli.times import HOW, moment, moment_text
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.core.records import Snapshot
    from holdfast.policy.moments import Changed

Bucket = Annotated[str, typer.Argument(metavar="BUCKET")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Moments of buckets that have a name; what they show stays until they are deleted.",
    )
    app.add_typer(group, name="snapshot", rich_help_panel=panel)
    _register_names(group)
    _register_reads(group)

    @command(group, "restore")
    async def restore(
        cli: Cli,
        bucket: Bucket,
        name: Name,
        prefix: Prefix = "",
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
    ) -> int | None:
        """Make a bucket what a snapshot shows, by new versions; nothing is removed and no bytes are copied."""
        spec = {"bucket": bucket_of(bucket), "snapshot": name, "prefix": prefix}
        return await starting.start(cli, "rewind", spec, starting.Run(dry_run, no_wait, objects))


def register_of_buckets(group: typer.Typer) -> None:
    """Add the commands on whole buckets to `holdfast bucket`."""

    @command(group, "rewind")
    async def rewind(
        cli: Cli,
        bucket: Bucket,
        to: Annotated[str, typer.Option("--to", metavar="TIME", help=f"the moment: {HOW}")],
        prefix: Prefix = "",
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
    ) -> int | None:
        """Make a bucket what it was at a moment, by new versions; nothing is removed and no bytes are copied.

        What is written after the rewind began stays.
        """
        spec = {"bucket": bucket_of(bucket), "at": moment_text(to), "prefix": prefix}
        return await starting.start(cli, "rewind", spec, starting.Run(dry_run, no_wait, objects))

    @command(group, "clone")
    async def clone(
        cli: Cli,
        source: Annotated[str, typer.Argument(metavar="SOURCE")],
        target: Annotated[
            str, typer.Argument(metavar="TARGET", help="made as SOURCE is, or there and empty")
        ],
        at: At = None,
        snapshot: Named = None,
        prefix: Prefix = "",
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
    ) -> int | None:
        """Make a bucket with the objects of another one, without copying their bytes."""
        spec = {
            "bucket": bucket_of(source),
            "target": bucket_of(target),
            "at": moment_text(at),
            "snapshot": snapshot,
            "prefix": prefix,
        }
        return await starting.start(cli, "clone", spec, starting.Run(dry_run, no_wait, objects))


def _register_names(group: typer.Typer) -> None:
    @command(group, "create")
    async def create(
        cli: Cli,
        bucket: Bucket,
        name: Name,
        at: Annotated[
            str | None, typer.Option("--at", metavar="TIME", help=f"an earlier moment instead of now: {HOW}")
        ] = None,
        note: Annotated[str, typer.Option(help="what it is for")] = "",
    ) -> None:
        """Give a moment of a bucket a name. Needs a bucket that keeps versions."""
        when = None if at is None else moment(at)
        async with cli.target.client() as client:
            _show(cli, await client.create_snapshot(bucket_of(bucket), name, at=when, note=note))

    @command(group, "list")
    async def every(cli: Cli, bucket: Bucket) -> None:
        """List the snapshots of a bucket."""
        async with cli.target.client() as client:
            for one in await client.snapshots(bucket_of(bucket)):
                _show(cli, one)

    @command(group, "show")
    async def show(cli: Cli, bucket: Bucket, name: Name) -> None:
        """Show a snapshot."""
        async with cli.target.client() as client:
            _show(cli, await client.snapshot(bucket_of(bucket), name))

    @command(group, "delete")
    async def delete(cli: Cli, bucket: Bucket, name: Name) -> None:
        """Forget a snapshot. No version is removed, but what only it kept may be removed again."""
        async with cli.target.client() as client:
            await client.delete_snapshot(bucket_of(bucket), name)
        cli.out.record({"bucket": bucket, "name": name}, visible(f"deleted snapshot {name} of {bucket}"))


def _register_reads(group: typer.Typer) -> None:
    @command(group, "ls")
    async def ls(
        cli: Cli,
        folder: Annotated[str, typer.Argument(metavar="BUCKET[/FOLDER]")],
        name: Name,
        long: Annotated[bool, typer.Option("--long", "-l", help="with size, time and ETag")] = False,
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="also what is in folders below")
        ] = False,
    ) -> None:
        """List what a snapshot shows."""
        address = parse(folder)
        async with cli.target.client() as client:
            at = (await client.snapshot(address.bucket, name)).at
            await list_folder(cli, client, address, long, recursive, "", at=at)

    @command(group, "diff")
    async def diff(
        cli: Cli,
        bucket: Bucket,
        name: Name,
        other: Annotated[
            str | None, typer.Argument(metavar="[OTHER]", help="a later snapshot; without it: now")
        ] = None,
        prefix: Prefix = "",
    ) -> None:
        """Tell which keys were added (+), removed (-) or changed (~) since a snapshot."""
        place = bucket_of(bucket)
        async with cli.target.client() as client:
            at = (await client.snapshot(place, name)).at
            until = None if other is None else (await client.snapshot(place, other)).at
            marker = ""
            while True:
                page = await client.compare(place, at, until, prefix=prefix, marker=marker)
                for one in page.changes:
                    cli.out.record(_change_facts(one), _change_line(one))
                if not (marker := page.next_marker):
                    return


def bucket_of(text: str) -> str:
    """Return the bucket that `text` names and nothing in it."""
    address: Address = parse(text)
    if address.key:
        raise InvalidRequestError(f"{text!r} names an object; name a bucket")
    return address.bucket


def _show(cli: Cli, one: Snapshot) -> None:
    from holdfast.policy.moments import text_of

    facts = {
        "bucket": one.bucket,
        "name": one.name,
        "at": text_of(one.at),
        "created": human_time(one.created),
        "principal": one.principal,
        "note": one.note,
    }
    note = f"  {one.note}" if one.note else ""
    cli.out.record(facts, visible(f"{one.bucket}  {one.name}  {text_of(one.at)}{note}"))


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def _change_facts(one: Changed) -> dict[str, Any]:
    return {
        "key": one.key,
        "change": one.change.value,
        "then": None if one.then is None else version_facts(one.then),
        "later": None if one.later is None else version_facts(one.later),
        "gap": one.gap,
    }


def _change_line(one: Changed) -> str:
    sizes = " → ".join(human_size(side.size) for side in (one.then, one.later) if side is not None)
    gap = "  (versions of then are gone)" if one.gap else ""
    return visible(f"{_SIGNS[one.change.value]} {one.key}  {sizes}{gap}")
