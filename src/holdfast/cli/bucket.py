"""`holdfast mb` and `holdfast rb`: make and remove buckets."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import bucket_settings
from holdfast.cli.address import Address, parse
from holdfast.cli.batch import each
from holdfast.cli.command import Cli, command
from holdfast.cli.output import bucket_facts, visible
from holdfast.cli.rm import remove, versions_under
from holdfast.core.errors import AlreadyExistsError, ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.types import Usage
from holdfast.library.client import AsyncClient


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""

    @command(app, "mb", panel=panel)
    async def mb(
        cli: Cli,
        names: Annotated[list[str], typer.Argument(metavar="BUCKET...")],
        versioning: Annotated[
            bool, typer.Option("--versioning", help="keep what is overwritten or removed")
        ] = False,
        if_absent: Annotated[bool, typer.Option("--if-absent", help="one that is there is fine")] = False,
        visibility: bucket_settings.Visibility = None,
        allow_type: bucket_settings.Types = None,
        max_object_size: bucket_settings.Largest = None,
        max_bytes: bucket_settings.MaxBytes = None,
        max_objects: bucket_settings.MaxObjects = None,
        retention_days: bucket_settings.Retention = None,
        encryption: bucket_settings.Encryption = None,
        ip_allow: bucket_settings.IpAllow = None,
        ip_deny: bucket_settings.IpDeny = None,
        inline: bucket_settings.Inline = None,
        default_lock: bucket_settings.DefaultLock = None,
    ) -> int:
        """Make buckets. Without a server, the data directory is made with the first one."""
        settings = bucket_settings.wanted(
            visibility,
            allow_type,
            max_object_size,
            max_bytes,
            max_objects,
            retention_days,
            encryption,
            ip_allow,
            ip_deny,
            inline,
            default_lock,
        )
        async with cli.target.client(create=True) as client:

            async def work(name: str) -> None:
                try:
                    bucket = await client.create_bucket(
                        _bucket(name).bucket, versioning=versioning, settings=settings
                    )
                except AlreadyExistsError:
                    if not if_absent:
                        raise
                    cli.out.note(f"{name} is there already")
                else:
                    cli.out.record(bucket_facts(bucket, Usage()), f"made {bucket.name}")

            return await each(cli, names, work, jobs=1)

    @command(app, "rb", panel=panel)
    async def rb(
        cli: Cli,
        names: Annotated[list[str], typer.Argument(metavar="BUCKET...")],
        force: Annotated[bool, typer.Option("--force", help="with everything in it, for good")] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", "-n", help="show what would be removed, remove nothing")
        ] = False,
    ) -> int:
        """Remove buckets. Only empty ones, unless forced."""
        async with cli.target.client() as client:

            async def work(name: str) -> None:
                await _remove_bucket(cli, client, _bucket(name).bucket, force, dry_run)

            return await each(cli, names, work, jobs=1)


def _bucket(text: str) -> Address:
    address = parse(text)
    if address.key:
        raise InvalidRequestError(f"{text!r} names an object; name a bucket")
    return address


async def _remove_bucket(cli: Cli, client: AsyncClient, name: str, force: bool, dry_run: bool) -> None:
    usage = next((usage for bucket, usage in await client.buckets() if bucket.name == name), None)
    if usage is None:
        raise NotFoundError(f"there is no bucket {name}")
    if force:
        if named := await client.snapshots(name):  # before anything is removed
            raise ConflictError(
                f"snapshot {named[0].name!r} shows versions of it; delete it first: holdfast snapshot delete",
                name=name,
            )
        await _empty(cli, client, name, dry_run)
    if dry_run:
        facts = {"bucket": name, "versions": usage.versions, "bytes": usage.bytes, "dry_run": True}
        cli.out.record(facts, f"would remove bucket {name}" + ("" if force else " (if it is empty)"))
        return
    await client.delete_bucket(name)
    cli.out.record({"bucket": name, "dry_run": False}, f"removed bucket {name}")


async def _empty(cli: Cli, client: AsyncClient, name: str, dry_run: bool) -> None:
    while True:
        uploads, more = await client.list_uploads(name)
        for upload in uploads:
            shown = visible(str(upload.ref))
            facts = {"bucket": name, "key": upload.ref.key, "upload_id": upload.id, "dry_run": dry_run}
            if not dry_run:
                await client.abort_upload(name, upload.ref.key, upload.id)
            cli.out.record(facts, f"{'would abort' if dry_run else 'aborted'} the upload of {shown}")
        if dry_run or not more:
            break
    await remove(cli, client, versions_under(client, Address(name)), dry_run=dry_run, jobs=8)
