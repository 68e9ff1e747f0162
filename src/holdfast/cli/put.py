"""`holdfast put`: local files, directories or standard input become objects."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.address import Address, parse, parse_object
from holdfast.cli.batch import each, pairs
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size, version_facts, visible
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import HoldfastError, InvalidRequestError
from holdfast.core.types import Version
from holdfast.library.client import AsyncClient, Progress
from holdfast.library.files import local_errors


@dataclass(frozen=True, slots=True)
class _About:
    content_type: str | None
    metadata: Mapping[str, str]
    tags: Mapping[str, str]
    conditions: Preconditions
    resume: bool = False
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class _Item:
    """One file to be stored, or the reason why it cannot be."""

    path: Path
    target: Address
    error: HoldfastError | None = None
    linked: bool = False  #: a symbolic link below a directory: told, not followed


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "put", panel=panel)
    async def put(
        cli: Cli,
        paths: Annotated[
            list[str],
            typer.Argument(
                metavar="FILE... BUCKET/KEY", help="local files, `-` for standard input; last: where to"
            ),
        ],
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="directories with all that is in them")
        ] = False,
        content_type: Annotated[str | None, typer.Option(help="instead of a guess from the name")] = None,
        meta: Annotated[
            list[str] | None, typer.Option(help="NAME=VALUE kept with the object; repeatable")
        ] = None,
        tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for rules; repeatable")] = None,
        storage_class: Annotated[str, typer.Option(help="a storage class, for placement rules")] = "",
        if_absent: Annotated[bool, typer.Option("--if-absent", help="fail rather than replace")] = False,
        resume: Annotated[
            bool,
            typer.Option("--resume", help="go on with large files that an earlier --resume left unfinished"),
        ] = False,
        jobs: Annotated[int, typer.Option(min=1, max=64, help="files at a time")] = 4,
    ) -> int | None:
        """Store local files. Where the last argument ends in / or is only a bucket, files keep their names.

        With -r the content of one directory goes right under it; of several sources each keeps its own name.
        """
        if len(paths) < 2:
            raise InvalidRequestError(
                "name at least one file and, last, where it goes: holdfast put FILE BUCKET/KEY"
            )
        *sources, last = paths
        conditions = Preconditions(if_none_match=("*",)) if if_absent else NO_CONDITIONS
        about = _About(
            content_type,
            pairs(meta or (), "--meta"),
            pairs(tag or (), "--tag"),
            conditions,
            resume,
            storage_class,
        )
        async with cli.target.client() as client:
            if sources == ["-"]:
                return await _put_stdin(cli, client, last, about)
            target = parse(last)
            items = list(_plan([Path(source) for source in sources], target, recursive))
            return await _put_all(cli, client, items, about, jobs)


async def _put_stdin(cli: Cli, client: AsyncClient, target: str, about: _About) -> int | None:
    address = parse_object(target)
    version = await client.put(
        address.bucket,
        address.key,
        sys.stdin.buffer,
        content_type=about.content_type,
        metadata=about.metadata,
        tags=about.tags,
        conditions=about.conditions,
        storage_class=about.storage_class,
    )
    _tell(cli, "-", version)
    return None


async def _put_all(cli: Cli, client: AsyncClient, items: list[_Item], about: _About, jobs: int) -> int:
    total = sum(_size(item.path) for item in items)
    title = items[0].path.name if len(items) == 1 else f"{len(items)} files"
    with cli.out.progress(title, total) as progress:

        async def work(item: _Item) -> None:
            if item.error is not None:
                raise item.error
            if item.linked:
                cli.out.note(
                    f"{visible(str(item.path))} is a symbolic link inside the directory; it is left out"
                )
                return
            try:
                version = await _put_one(client, item, about, progress)
            except HoldfastError as error:
                error.name = error.name or str(item.path)
                raise
            _tell(cli, str(item.path), version)

        return await each(cli, items, work, jobs=jobs)


async def _put_one(client: AsyncClient, item: _Item, about: _About, progress: Progress | None) -> Version:
    return await client.put_file(
        item.target.bucket,
        item.target.key,
        item.path,
        content_type=about.content_type,
        metadata=about.metadata,
        tags=about.tags,
        conditions=about.conditions,
        progress=progress,
        resume=about.resume,
        storage_class=about.storage_class,
    )


def _tell(cli: Cli, source: str, version: Version) -> None:
    line = f"{visible(source)} → {visible(str(version.ref))}  {human_size(version.size)}"
    cli.out.record(version_facts(version), line)


def _plan(sources: list[Path], target: Address, recursive: bool) -> Iterator[_Item]:
    """Yield which file becomes which object, in an order that is the same every time."""
    many = len(sources) > 1
    for source in sources:
        if str(source) == "-":
            raise InvalidRequestError("standard input cannot be stored together with files")
        if source.is_dir():
            if not recursive:
                raise InvalidRequestError(f"{source} is a directory; use -r to store all that is in it")
            yield from _walk(source, target.under(source.resolve().name) if many else target)
        else:
            yield _Item(source, target.under(source.name) if many or target.is_folder else target)


def _walk(root: Path, target: Address) -> Iterator[_Item]:
    """Yield the files below `root`; symbolic links are not followed, what cannot be read is an error of its own."""
    problems: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=problems.append):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink():
                yield _Item(path, target, linked=True)
            elif path.is_file():
                yield _Item(path, target.under(path.relative_to(root).as_posix()))
    for problem in problems:
        path = Path(problem.filename or root)
        try:
            with local_errors(path, "read"):
                raise problem
        except HoldfastError as error:
            yield _Item(path, target, error)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reported when its turn comes
