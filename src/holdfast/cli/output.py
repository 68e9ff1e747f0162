"""What is shown: tables for people, one JSON object per line for programs, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from holdfast.cli.exit import hint
from holdfast.core.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.core.types import Bucket, Deleted, Usage, Version
    from holdfast.library.client import Progress

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_QUICK: Final = 8 << 20  #: bytes below which a progress bar would only flicker


class Output:
    """Where a command says what it did. `as_json` for programs, `quiet` for silence but errors."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.debug = debug
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")

    def record(self, facts: Mapping[str, Any], line: str) -> None:
        """Show one result: its facts as a line of JSON, or `line` for people."""
        if self.as_json:
            print(json.dumps(facts, ensure_ascii=False, separators=(",", ":")))
        elif not self.quiet:
            print(line)

    def table(self, headings: Sequence[str], rows: Iterable[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
        """Show results that belong together; each row is its facts and its cells."""
        if self.as_json:
            for facts, _ in rows:
                self.record(facts, "")
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            numeric = heading.startswith(">")
            table.add_column(heading.lstrip(">"), justify="right" if numeric else "left", no_wrap=True)
        for _, cells in rows:
            table.add_row(*(Text(cell) for cell in cells))
        # A pipe has no width: nothing is cut for it.
        console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
        with console.capture() as shown:
            console.print(table)
        for line in shown.get().splitlines():
            print(line.rstrip())

    def note(self, text: str) -> None:
        """Tell people something that is not a result."""
        if not self.quiet and not self.as_json:
            _aside(text)

    def more(self, text: str) -> None:
        """Tell people of errors that are not shown one by one; also when all else is quiet."""
        if not self.as_json:
            _aside(text)

    def error(self, error: HoldfastError, *, command: str = "holdfast COMMAND") -> None:
        """Show an error of a command: one line with its code and what may be done."""
        if self.as_json:
            _aside(json.dumps({"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False))
            return
        message = " ".join(str(error).split())
        helps = hint(error).replace("holdfast COMMAND", command)
        _aside(f"holdfast: {visible(message)} ({error.code})" + (f"; {helps}" if helps else ""))

    @contextmanager
    def progress(self, title: str, total: int | None) -> Iterator[Progress | None]:
        """Give a function to be told of moved bytes: a bar on a terminal, None where nobody would see it."""
        seen = sys.stderr.isatty() and not self.quiet and not self.as_json
        if not seen or (total is not None and total < _QUICK):
            yield None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
        )
        bars = Bars(
            *columns,
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # else results would go where the bar goes
        )
        with bars:
            task = bars.add_task(visible(title), total=total)
            yield lambda count: bars.update(task, advance=count)

    @contextmanager
    def steps(self, title: str, total: int) -> Iterator[Callable[[str], None]]:
        """Give a function to be told the name of each step done: a bar on a terminal, silence elsewhere."""
        if not sys.stderr.isatty() or self.quiet or self.as_json:
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import Progress as Bars

        with Bars(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bars:
            task = bars.add_task(visible(title), total=total)
            yield lambda name: bars.update(task, advance=1, description=visible(f"{title}: {name}"))


def _aside(text: str) -> None:
    """Print to standard error what comes after what was printed before, also where both end in one place."""
    with suppress(OSError, ValueError):  # a reader that went away is noticed by whoever prints results
        sys.stdout.flush()
    print(text, file=sys.stderr)


def visible(text: str) -> str:
    """Return `text` with whatever could move a cursor or break a line shown as an escape."""
    return text if text.isprintable() else "".join(_escape(char) for char in text)


def _escape(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape", "replace").decode()


def human_size(size: int) -> str:
    """Return bytes as people read them: `0 B`, `1.5 KiB`, `2.0 GiB`."""
    value = float(size)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def human_time(micros: int) -> str:
    """Return a time as people read it, UTC."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(micros: int) -> str:
    """Return a time as programs read it: RFC 3339, UTC."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def version_facts(version: Version) -> dict[str, Any]:
    """Return the JSON form of a version: the same wherever a command shows one."""
    sha256 = version.digests.sha256
    return {
        "bucket": version.ref.bucket,
        "key": version.ref.key,
        "version_id": version.id,
        "size": version.size,
        "etag": version.etag,
        "sha256": sha256.hex() if sha256 else None,
        "checksum_type": version.checksum_type.value,
        "content_type": version.content_type,
        "last_modified": iso_time(version.created),
        "metadata": dict(version.metadata),
        "tags": dict(version.tags),
        "parts": version.parts,
        "current": version.current,
        "delete_marker": version.delete_marker,
        **({"owed": version.owed} if version.owed else {}),
    }


def bucket_facts(bucket: Bucket, usage: Usage) -> dict[str, Any]:
    """Return the JSON form of a bucket with its counters."""
    return {
        "bucket": bucket.name,
        "versioning": bucket.versioning,
        "created": iso_time(bucket.created),
        "objects": usage.objects,
        "versions": usage.versions,
        "bytes": usage.bytes,
        "upload_bytes": usage.upload_bytes,
    }


def deleted_facts(bucket: str, key: str, deleted: Deleted | None) -> dict[str, Any]:
    """Return the JSON form of a removal; `deleted` None: it was a dry run."""
    return {
        "bucket": bucket,
        "key": key,
        "version_id": deleted.version_id if deleted else None,
        "delete_marker": deleted.delete_marker if deleted else False,
        "dry_run": deleted is None,
    }
