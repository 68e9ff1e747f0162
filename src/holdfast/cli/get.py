"""`holdfast get` and `holdfast cat`: objects become local files, or flow to standard output."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.address import Address, local_path, parse, parse_object
from holdfast.cli.batch import each
from holdfast.cli.command import Cli, command
from holdfast.cli.exit import INTERRUPTED
from holdfast.cli.output import human_size, version_facts, visible
from holdfast.cli.past import At, version_of
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.types import ByteRange, Version
from holdfast.library.client import AsyncClient
from holdfast.library.files import local_errors

_RANGE = re.compile(r"(\d*)-(\d*)")


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""

    @command(app, "get", panel=panel)
    async def get(
        cli: Cli,
        source: Annotated[
            str, typer.Argument(metavar="BUCKET/KEY", help="the object, or with -r the folder")
        ],
        target: Annotated[
            str | None,
            typer.Argument(
                metavar="[FILE]",
                help="file or directory; without it the current directory, `-` for standard output",
            ),
        ] = None,
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="everything in the folder")
        ] = False,
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
        at: At = None,
        jobs: Annotated[int, typer.Option(min=1, max=64, help="files at a time, with -r")] = 4,
    ) -> int | None:
        """Write an object to a local file: whole and with the right digest, or not at all."""
        if recursive:
            if version_id or at or target == "-":
                raise InvalidRequestError("-r takes neither --version-id nor --at nor `-`")
            async with cli.target.client() as client:
                return await _get_folder(cli, client, parse(source), Path(target or "."), jobs)
        address = parse_object(source)
        async with cli.target.client() as client:
            version_id = await version_of(client, address.bucket, address.key, version_id, at)
            if target == "-":
                await _pour(client, address, version_id, None)
            else:
                await _get_one(cli, client, address, _destination(address, target), version_id)
        return None

    @command(app, "cat", panel=panel)
    async def cat(
        cli: Cli,
        sources: Annotated[
            list[str], typer.Argument(metavar="BUCKET/KEY...", help="the objects, one after the other")
        ],
        range: Annotated[
            str | None,
            typer.Option(metavar="FIRST-LAST", help="only these bytes: 0-99, 100-, or -100 for the last 100"),
        ] = None,
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
        at: At = None,
    ) -> None:
        """Write objects to standard output."""
        addresses = [parse_object(source) for source in sources]
        wish = None if range is None else parse_range(range)
        async with cli.target.client() as client:
            for address in addresses:
                wanted = await version_of(client, address.bucket, address.key, version_id, at)
                await _pour(client, address, wanted, wish)


def parse_range(text: str) -> ByteRange:
    """Return `FIRST-LAST`, `FIRST-` or `-COUNT` as a range."""
    match = _RANGE.fullmatch(text)
    if match is None or text == "-":
        raise InvalidRequestError(f"the range {text!r} must be FIRST-LAST, FIRST- or -COUNT")
    first, last = (int(part) if part else None for part in match.groups())
    return ByteRange(first, last)


def _destination(address: Address, target: str | None) -> Path:
    """Return the file that the object goes to: `target`, or the key's last segment in it when it is a directory."""
    path = Path(target) if target else Path()
    if target and not path.is_dir() and not target.endswith("/"):
        return path
    return local_path(path, address.name)


async def _get_one(
    cli: Cli, client: AsyncClient, address: Address, path: Path, version_id: str | None
) -> None:
    total = None
    if sys.stderr.isatty():
        total = (await client.head(address.bucket, address.key, version_id=version_id)).size
    with cli.out.progress(address.name, total) as progress:
        version = await client.get_file(
            address.bucket, address.key, path, version_id=version_id, progress=progress
        )
    _tell(cli, version, path)


async def _get_folder(cli: Cli, client: AsyncClient, source: Address, root: Path, jobs: int) -> int:
    found = 0
    with cli.out.progress(str(source), None) as progress:

        async def listed() -> AsyncIterator[Version]:
            nonlocal found
            async for version in client.list(source.bucket, prefix=source.folder):
                found += 1
                yield version

        async def work(version: Version) -> None:
            relative = version.ref.key[len(source.folder) :]
            if relative.endswith("/") or not relative:
                return  # a marker that some programs leave for an empty folder
            path = local_path(root, relative)
            with local_errors(path.parent, "make"):
                path.parent.mkdir(parents=True, exist_ok=True)
            got = await client.get_file(source.bucket, version.ref.key, path, progress=progress)
            _tell(cli, got, path)

        status = await each(cli, listed(), work, jobs=jobs)
    if not found and source.key:
        raise NotFoundError(f"there is nothing in {source.bucket}/{source.folder}")
    return status


def _tell(cli: Cli, version: Version, path: Path) -> None:
    line = f"{visible(str(version.ref))} → {visible(str(path))}  {human_size(version.size)}"
    cli.out.record({**version_facts(version), "file": str(path)}, line)


async def _pour(
    client: AsyncClient, address: Address, version_id: str | None, wish: ByteRange | None
) -> None:
    """Write an object to standard output. Ctrl-C ends the program at once, also while the reader of a pipe sleeps."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    sys.stdout.flush()
    async with client.stream(address.bucket, address.key, version_id=version_id, range=wish) as download:
        async for chunk in download:
            view = memoryview(chunk)
            while view:
                view = view[os.write(sys.stdout.fileno(), view) :]
