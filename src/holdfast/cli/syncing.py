"""What `push` and `pull` have in common: how the other side is named, what may be asked, and how the end is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli.address import parse
from holdfast.cli.command import Cli, fail
from holdfast.cli.early import S3
from holdfast.cli.output import human_size, visible
from holdfast.cli.rates import bandwidth_of
from holdfast.core.errors import ConfigError, HoldfastError, InvalidRequestError

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.library.syncing.place import Place
    from holdfast.library.syncing.report import Report, Wish

FAILED: Final = 15  #: some files failed
NAMED: Final = (
    20  #: so many of those that failed, and of those that were left out, are named; --verbose names all
)
_STORE: Final = "store:"
_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%?")
_WHICH: Final = "Which files"
_DELETING: Final = "What is gone on the other side"


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked of both commands."""

    delete: Annotated[
        bool,
        typer.Option(
            "--delete", help="remove what the source has not (into a trash)", rich_help_panel=_DELETING
        ),
    ] = False
    trash: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="where that is kept: a prefix of the bucket, for pull a directory",
            rich_help_panel=_DELETING,
        ),
    ] = None
    no_trash: Annotated[
        bool, typer.Option("--no-trash", help="remove for good", rich_help_panel=_DELETING)
    ] = False
    max_delete: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="refuse to remove more of what is there, in %", rich_help_panel=_DELETING
        ),
    ] = "50"
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="tell what would be done; do nothing")] = (
        False
    )
    checksum: Annotated[bool, typer.Option("--checksum", "-c", help="compare contents, not times")] = False
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="only files that fit; repeatable", rich_help_panel=_WHICH),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="leave out files that fit, with ! in front take in again: the last that fits decides; repeatable",
            rich_help_panel=_WHICH,
        ),
    ] = None
    exclude_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="such patterns, one per line, before --exclude", rich_help_panel=_WHICH
        ),
    ] = None
    no_links: Annotated[
        bool,
        typer.Option("--no-links", help="leave links out that lead inside the tree", rich_help_panel=_WHICH),
    ] = False
    jobs: Annotated[int, typer.Option(min=1, max=128, help="files at a time")] = 32
    bandwidth: Annotated[
        str | None, typer.Option(metavar="SIZE", help="the most bytes per second, as 10MB")
    ] = None
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="name every file that is moved, or failed")
    ] = False

    @property
    def selects(self) -> bool:
        """Whether only some files are meant."""
        return bool(self.include or self.exclude or self.exclude_from)

    def wish(self) -> Wish:
        """Return what the options ask for.

        Raises:
            InvalidRequestError: naming the option that makes no sense.
        """
        from holdfast.library.syncing.report import Wish
        from holdfast.policy.globs import lines, selection

        if self.trash is not None and self.no_trash:
            raise InvalidRequestError("--trash and --no-trash exclude each other")
        if not self.delete and (self.trash is not None or self.no_trash):
            raise InvalidRequestError(
                "--trash and --no-trash say what becomes of what --delete removes; add --delete"
            )
        excluded = [*(lines(_text(self.exclude_from)) if self.exclude_from else ()), *(self.exclude or ())]
        return Wish(
            delete=self.delete,
            trash=None if self.no_trash else self.trash or "",
            max_delete=_share(self.max_delete),
            dry_run=self.dry_run,
            digests=self.checksum,
            selection=selection(self.include or (), excluded),
            follow=not self.no_links,
            jobs=self.jobs,
            bandwidth=bandwidth_of(self.bandwidth),
        )


PLAIN: Final = Options()


@dataclass(frozen=True, slots=True)
class Remote:
    """The other side as it is named: part of a bucket, of a configured store, or of one at an S3 server."""

    kind: str  #: `bucket`, `store` or `s3`
    name: str
    prefix: str

    def __str__(self) -> str:
        front = {"bucket": "", "store": _STORE, "s3": S3}[self.kind]
        return f"{front}{self.name}/{self.prefix}"


def remote(text: str) -> Remote:
    """Return what `text` names: `bucket/prefix`, `store:NAME/prefix` or `s3://bucket/prefix`.

    Raises:
        InvalidRequestError: it names none of these.
    """
    for kind, front in (("store", _STORE), ("s3", S3)):
        if text.startswith(front):
            name, _, prefix = text.removeprefix(front).partition("/")
            if not name:
                raise InvalidRequestError(f"{text!r} names no {kind}; write {front}NAME/prefix")
            return Remote(kind, name, prefix)
    if "://" in text:
        raise InvalidRequestError(
            f"{text[:80]!r}: write bucket/prefix, store:NAME/prefix or s3://bucket/prefix"
        )
    if text.startswith((".", "/", "~")):
        raise InvalidRequestError(
            f"{text!r} looks like a directory; holdfast push DIRECTORY bucket/prefix, holdfast pull bucket/prefix DIRECTORY"
        )
    address = parse(text)
    return Remote("bucket", address.bucket, address.key)


@asynccontextmanager
async def opened(cli: Cli, where: Remote, wish: Wish) -> AsyncIterator[Place]:
    """Open the other side."""
    if where.kind == "bucket":
        from holdfast.library.syncing.bucket_place import BucketPlace

        async with cli.target.client() as client:
            identity = cli.target.url or str(cli.target.settings().data.resolve())
            part = BucketPlace(client, where.name, where.prefix, identity=identity)
            try:
                yield part
            finally:
                await part.close()
        return
    from holdfast.core.clock import Environment
    from holdfast.library.syncing.opening import open_plain
    from holdfast.library.syncing.store_place import StorePlace

    driver, values = _values(cli, where)
    plain = open_plain(where.name, driver, values, environment=Environment(), jobs=wish.jobs)
    place = StorePlace(plain, where.prefix)
    try:
        yield place
    finally:
        await place.close()


def store_values(cli: Cli, name: str) -> tuple[str, dict[str, Any]]:
    """Return driver and settings of a store of the configuration, of variables, or of a `config.yaml` that names Naas.

    Raises:
        ConfigError: there is none of that name.
    """
    from holdfast.config import naas

    settings: Settings = cli.target.settings()
    found = settings.all_stores.get(name)
    if found is not None:
        return found.driver, found.driver_settings
    if name == naas.STORE and (values := _of_config_yaml()):
        return "naas", values
    raise ConfigError(
        f"there is no store {name!r} in the configuration; there is: {', '.join(settings.all_stores)}. For an S3 server"
        " that is in none, write s3://BUCKET and set AWS_*"
    )


def report_of(cli: Cli, wish: Wish, progress: Any, verbose: bool) -> Report:
    """Return a report that tells what happens as it happens."""
    from holdfast.library.syncing.report import Report

    def told(what: str, key: str, size: int) -> None:
        if cli.out.as_json or verbose or wish.dry_run:
            words = f"would {what}" if wish.dry_run else what
            facts = {"action": what, "key": key, "size": size, "dry_run": wish.dry_run}
            cli.out.record(facts, f"{words}  {visible(key)}  {human_size(size)}")

    named: Counter[bool] = Counter()

    def complain(name: str, why: str, error: HoldfastError | None) -> None:
        named[error is None] += 1
        if named[error is None] > NAMED and not (verbose or cli.out.as_json):
            report.unnamed += 1
            return
        if error is not None:
            error.name = error.name or name
            fail(cli.out, error)
        else:
            cli.out.note(f"{visible(name)} {why}")

    report = Report(told=told, complain=complain, progress=progress)
    return report


@contextmanager
def going_on(cli: Cli, report: Report) -> Iterator[None]:
    """Have whoever interrupts the block hear what was done, and that it is not lost."""
    from asyncio import CancelledError  # here: a run with nothing to do ends sooner without

    try:
        yield
    except CancelledError:
        cli.out.note(f"{report.moved} moved so far ({human_size(report.bytes)}); the same command goes on")
        raise


def end(cli: Cli, report: Report, wish: Wish, verb: str) -> int | None:
    """Show what became of it and return the exit status."""
    would = "would be " if wish.dry_run else ""
    line = f"{report.moved} {would}{verb} ({human_size(report.bytes)}), {report.same} the same"
    if report.removed:
        line += f", {report.removed} {would}removed"
        line += f" into {report.trash}" if report.trash else " for good"
    for count, word in ((report.left_out, "left out"), (report.failed, "failed")):
        line += f", {count} {word}" if count else ""
    facts = {
        "summary": True,
        "moved": report.moved,
        "bytes": report.bytes,
        "same": report.same,
        "removed": report.removed,
        "left_out": report.left_out,
        "failed": report.failed,
        "trash": report.trash or None,
        "kept": report.kept or None,
        "dry_run": wish.dry_run,
    }
    if report.unnamed:
        cli.out.more(f"and {report.unnamed} more like these; --verbose names every one")
    cli.out.record(facts, line)
    if report.kept:
        cli.out.note(report.kept)
    return FAILED if report.failed else None


def _values(cli: Cli, where: Remote) -> tuple[str, dict[str, Any]]:
    if where.kind == "store":
        return store_values(cli, where.name)
    from holdfast.library.syncing.opening import s3_of_environment

    return "s3", s3_of_environment(where.name)


def _of_config_yaml() -> dict[str, Any]:
    """Return the settings of the storage that a `config.yaml` here names; {} when there is none."""
    import os

    from holdfast.config import naas
    from holdfast.config.importing import naas_config
    from holdfast.config.secrets import variable

    path = Path("config.yaml")
    if not path.is_file():
        return {}
    found = naas_config.load(_text(path), path)
    if not naas_config.known(found):
        return {}
    key = variable(os.environ, naas.KEY)
    if not key:
        raise ConfigError(
            f"config.yaml names a storage of Naas; set {naas.KEY} (or {naas.KEY}_FILE) to its API key"
        )
    return {**naas.settings_of(found["config"], str(path)), **naas.addresses(os.environ), "api_key": key}


def _share(text: str) -> float:
    match = _SHARE.fullmatch(text.strip())
    if match is None or not 0 <= float(match[1]) <= 100:
        raise InvalidRequestError("--max-delete is a share of what is there: 0 to 100, in %")
    return float(match[1]) / 100


def _text(path: Path) -> str:
    from holdfast.library.files import local_errors

    with local_errors(path, "read"):
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InvalidRequestError(f"{path} is not UTF-8 text") from None
