"""Audits tampered with in every way that one row allows, each of which a verification must find.

A trial makes the audit of two tenants in a catalog of its own, keeps the head as an operator would, then changes
something behind the catalog's back and asks. What changes a byte and yet passes is a failure; so is a whole audit that
does not pass, which is asked before.
"""
# ruff: noqa: T201 - this prints, and names tables that are its own

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.catalog import SqlCatalog, open_catalog
from holdfast.catalog.chain import AuditHead, Chain, Line, extended, pack
from holdfast.core.clock import Environment
from holdfast.engine.audit import Auditor
from holdfast.engine.secrets import RootSecret
from holdfast.engine.verifying import Verdict

_COLUMNS: Final = ("number", "first", "count", "from_at", "to_at", "mac", "records")
_HEAD: Final = ("segments", "records", "mac", "pruned_segments", "pruned_records", "pruned_mac", "seal")
_TEXTS: Final = [
    "principal",
    "action",
    "bucket",
    "key",
    "version_id",
    "request_id",
    "address",
    "agent",
    "error",
]
_NUMBERS: Final = ("at", "status", "bytes", "received")
_SHOWN: Final = 5


@dataclass
class Ground:
    """The rows of an audit as whoever holds the database sees them: `mine` is to be tampered with."""

    database: sqlite3.Connection
    chance: random.Random
    old_head: tuple[Any, ...]
    count: int
    mine: str = "mine"
    other: str = "other"

    def column(self, number: int, name: str) -> Any:
        """Return a value of a segment."""
        found = self.database.execute(
            f"SELECT {name} FROM audit_segments WHERE tenant = ? AND number = ?", (self.mine, number)
        )
        return found.fetchone()[0]

    def set(self, number: int, name: str, value: Any) -> None:
        """Change a value of a segment."""
        self.run(
            f"UPDATE audit_segments SET {name} = ? WHERE tenant = ? AND number = ?", value, self.mine, number
        )

    def run(self, sql: str, *values: Any) -> None:
        """Run a statement that changes exactly what it says."""
        self.database.execute(sql, values)

    def any(self) -> int:
        """Return the number of a segment."""
        return self.chance.randint(1, self.count)

    def two(self) -> tuple[int, int]:
        """Return the numbers of two segments."""
        first, second = self.chance.sample(range(1, self.count + 1), 2)
        return first, second

    def lines(self, number: int) -> list[dict[str, Any]]:
        """Return the records of a segment."""
        text = zlib.decompress(self.column(number, "records"))
        return [msgspec.json.decode(line) for line in text.splitlines()]

    def put_lines(self, number: int, lines: list[dict[str, Any]], *, counted: bool = True) -> None:
        """Replace the records of a segment, as somebody careful would."""
        text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        self.set(number, "records", zlib.compress(text, 3))
        if counted:
            self.set(number, "count", len(lines))


# -- what is done -----------------------------------------------------------------------------------------------------


def alter_text(ground: Ground) -> None:
    """Another word in one field of one record."""
    number = ground.any()
    lines = ground.lines(number)
    line, name = ground.chance.choice(lines), ground.chance.choice(_TEXTS)
    line[name] = line.get(name, "") + ground.chance.choice("xyz ")
    ground.put_lines(number, lines)


def alter_number(ground: Ground) -> None:
    """Another time, status or size in one record."""
    number = ground.any()
    lines = ground.lines(number)
    line, name = ground.chance.choice(lines), ground.chance.choice(_NUMBERS)
    line[name] = line.get(name, 0) + ground.chance.choice((-1, 1, 1000))
    ground.put_lines(number, lines)


def flip_a_bit(ground: Ground) -> None:
    """One bit of what is stored."""
    number = ground.any()
    name = ground.chance.choice(("records", "mac"))
    value = bytearray(ground.column(number, name))
    value[ground.chance.randrange(len(value))] ^= 1 << ground.chance.randrange(8)
    ground.set(number, name, bytes(value))


def cut_bytes(ground: Ground) -> None:
    """The end of what is stored."""
    number = ground.any()
    records = ground.column(number, "records")
    ground.set(number, "records", records[: ground.chance.randrange(len(records))])


def add_bytes(ground: Ground) -> None:
    """Something behind what is stored."""
    number = ground.any()
    ground.set(number, "records", ground.column(number, "records") + ground.chance.randbytes(3))


def recompress(ground: Ground) -> None:
    """The same records, packed otherwise."""
    number = ground.any()
    text = zlib.decompress(ground.column(number, "records"))
    ground.set(number, "records", zlib.compress(text, ground.chance.choice((0, 1, 9))))


def drop_record(ground: Ground) -> None:
    """One record less."""
    number = ground.any()
    lines = ground.lines(number)
    lines.pop(ground.chance.randrange(len(lines)))
    ground.put_lines(number, lines, counted=ground.chance.random() < 0.5)


def double_record(ground: Ground) -> None:
    """One record twice."""
    number = ground.any()
    lines = ground.lines(number)
    lines.insert(ground.chance.randrange(len(lines)), ground.chance.choice(lines))
    ground.put_lines(number, lines, counted=ground.chance.random() < 0.5)


def swap_records(ground: Ground) -> None:
    """Two records in each other's place."""
    number = ground.any()
    lines = ground.lines(number)
    first, second = ground.chance.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    ground.put_lines(number, lines)


def carry_record(ground: Ground) -> None:
    """A record moved into another segment."""
    source, target = ground.two()
    lines, others = ground.lines(source), ground.lines(target)
    others.append(lines.pop(ground.chance.randrange(len(lines))))
    ground.put_lines(source, lines)
    ground.put_lines(target, others)


def alter_column(ground: Ground) -> None:
    """Another number in one column of a segment."""
    number, name = ground.any(), ground.chance.choice(("first", "count", "from_at", "to_at"))
    ground.set(number, name, ground.column(number, name) + ground.chance.choice((-1, 1, 7)))


def wrong_kind(ground: Ground) -> None:
    """Text, nothing like a number or a MAC, where one belongs."""
    name = ground.chance.choice(("first", "count", "from_at", "to_at", "mac", "records"))
    ground.set(ground.any(), name, ground.chance.choice(("text", -(1 << 62), 1.5, "")))


def drop_segment(ground: Ground) -> None:
    """One segment less, anywhere but at the end."""
    number = ground.chance.randint(1, ground.count - 1)
    ground.run("DELETE FROM audit_segments WHERE tenant = ? AND number = ?", ground.mine, number)


def drop_and_close(ground: Ground) -> None:
    """One segment less, and those behind it moved up."""
    number = ground.chance.randint(1, ground.count - 1)
    count = ground.column(number, "count")
    ground.run("DELETE FROM audit_segments WHERE tenant = ? AND number = ?", ground.mine, number)
    for later in range(number + 1, ground.count + 1):
        ground.run(
            "UPDATE audit_segments SET number = number - 1, first = first - ? WHERE tenant = ? AND number = ?",
            count,
            ground.mine,
            later,
        )


def swap_segments(ground: Ground) -> None:
    """Two segments in each other's place, wholly or in their contents."""
    first, second = ground.two()
    names = ground.chance.choice((_COLUMNS[1:], ("mac", "records"), ("records",), ("mac",)))
    for name in names:
        one, other = ground.column(first, name), ground.column(second, name)
        ground.set(first, name, other)
        ground.set(second, name, one)


def copy_segment(ground: Ground) -> None:
    """One segment put over another."""
    first, second = ground.two()
    for name in ground.chance.choice((_COLUMNS[1:], ("mac", "records", "count"))):
        ground.set(second, name, ground.column(first, name))


def add_segment(ground: Ground) -> None:
    """A segment behind the last one, a copy of one that is there or of another tenant's."""
    source = ground.chance.choice((ground.mine, ground.other))
    ground.run(
        "INSERT INTO audit_segments (tenant, number, first, count, from_at, to_at, mac, records)"
        " SELECT ?, ?, first, count, from_at, to_at, mac, records FROM audit_segments"
        " WHERE tenant = ? AND number = ?",
        ground.mine,
        ground.chance.choice((0, -1, ground.count + 1, ground.count + 5)),
        source,
        ground.any(),
    )


def move_between_tenants(ground: Ground) -> None:
    """A segment of another tenant in place of one's own; all of them, perhaps with the head."""
    everything = ground.chance.random() < 0.5
    numbers = range(1, ground.count + 1) if everything else [ground.any()]
    for number in numbers:
        ground.run("DELETE FROM audit_segments WHERE tenant = ? AND number = ?", ground.mine, number)
        ground.run(
            "UPDATE audit_segments SET tenant = ? WHERE tenant = ? AND number = ?",
            ground.mine,
            ground.other,
            number,
        )
    if everything and ground.chance.random() < 0.5:
        ground.run("DELETE FROM audit_heads WHERE tenant = ?", ground.mine)
        ground.run("UPDATE audit_heads SET tenant = ? WHERE tenant = ?", ground.mine, ground.other)


def truncate(ground: Ground) -> None:
    """The last segments gone."""
    ground.run(
        "DELETE FROM audit_segments WHERE tenant = ? AND number >= ?",
        ground.mine,
        ground.chance.randint(1, ground.count),
    )


def truncate_with_head(ground: Ground) -> None:
    """The last segments gone, and the head made to fit as far as one can without the secret."""
    last = ground.chance.randint(1, ground.count - 1)
    ground.run("DELETE FROM audit_segments WHERE tenant = ? AND number > ?", ground.mine, last)
    records = ground.column(last, "first") + ground.column(last, "count") - 1
    ground.run(
        "UPDATE audit_heads SET segments = ?, records = ?, mac = ? WHERE tenant = ?",
        last,
        records,
        ground.column(last, "mac"),
        ground.mine,
    )


def roll_back(ground: Ground) -> None:
    """The last segments gone, and the head as it really was then: whole, so the head that was kept must tell."""
    last = ground.old_head[0]
    ground.run("DELETE FROM audit_segments WHERE tenant = ? AND number > ?", ground.mine, last)
    changes = ", ".join(f"{name} = ?" for name in _HEAD)
    ground.run(f"UPDATE audit_heads SET {changes} WHERE tenant = ?", *ground.old_head, ground.mine)


def alter_head(ground: Ground) -> None:
    """Another value in the head."""
    name = ground.chance.choice(_HEAD)
    value = ground.database.execute(
        f"SELECT {name} FROM audit_heads WHERE tenant = ?", (ground.mine,)
    ).fetchone()[0]
    if isinstance(value, bytes):
        changed: Any = bytes([value[0] ^ 1]) + value[1:]
    else:
        changed = value + ground.chance.choice((-1, 1))
    ground.run(f"UPDATE audit_heads SET {name} = ? WHERE tenant = ?", changed, ground.mine)


def drop_head(ground: Ground) -> None:
    """No head."""
    ground.run("DELETE FROM audit_heads WHERE tenant = ?", ground.mine)


def drop_all(ground: Ground) -> None:
    """Neither segments nor head, as if nothing had ever been."""
    ground.run("DELETE FROM audit_segments WHERE tenant = ?", ground.mine)
    ground.run("DELETE FROM audit_heads WHERE tenant = ?", ground.mine)


def drop_mark(ground: Ground) -> None:
    """Neither segments nor head, nor the mark that there were any."""
    _drop(ground, ground.mine)


def drop_service(ground: Ground) -> None:
    """The service's own audit gone, with or without its mark."""
    _drop(ground, "", mark=ground.chance.random() < 0.5)


def drop_both(ground: Ground) -> None:
    """A tenant's audit and the service's gone, and the marks of both."""
    _drop(ground, ground.mine)
    _drop(ground, "")


def alter_mark(ground: Ground) -> None:
    """Another mark, or none."""
    if ground.chance.random() < 0.5:
        ground.run("DELETE FROM secrets WHERE name = ?", f"audit-begun:{ground.mine}")
    else:
        value = ground.chance.choice((ground.chance.randbytes(32), b"", "text"))
        ground.run("UPDATE secrets SET value = ? WHERE name = ?", value, f"audit-begun:{ground.mine}")


def _drop(ground: Ground, tenant: str, *, mark: bool = True) -> None:
    for table in ("audit_segments", "audit_heads", "audit"):
        ground.run(f"DELETE FROM {table} WHERE tenant = ?", tenant)
    if mark:
        ground.run("DELETE FROM secrets WHERE name = ?", f"audit-begun:{tenant}")


def prune_by_hand(ground: Ground) -> None:
    """The first segments gone, and the head made to say that they were pruned."""
    last = ground.chance.randint(1, ground.count - 1)
    mac, records = ground.column(last, "mac"), ground.column(last, "first") + ground.column(last, "count") - 1
    ground.run("DELETE FROM audit_segments WHERE tenant = ? AND number <= ?", ground.mine, last)
    ground.run(
        "UPDATE audit_heads SET pruned_segments = ?, pruned_records = ?, pruned_mac = ? WHERE tenant = ?",
        last,
        records,
        mac,
        ground.mine,
    )


def forge(ground: Ground) -> None:
    """Everything from some segment on made anew, well-formed, with a secret that is not the right one."""
    start = ground.chance.randint(1, ground.count)
    chain = Chain(ground.mine, ground.chance.randbytes(32))
    mac = ground.column(start - 1, "mac") if start > 1 else AuditHead().mac
    head = AuditHead(start - 1, ground.column(start, "first") - 1, mac)
    lines = [[Line(**line) for line in ground.lines(number)] for number in range(start, ground.count + 1)]
    lines[0][0] = replace_principal(lines[0][0])
    made, head = extended(chain, head, [pack(some)[0] for some in lines])
    for segment in made:
        for name in ("from_at", "to_at", "mac", "records"):
            ground.set(segment.number, name, getattr(segment, name))
    for name in ("segments", "records", "mac", "seal"):
        ground.run(f"UPDATE audit_heads SET {name} = ? WHERE tenant = ?", getattr(head, name), ground.mine)


def replace_principal(line: Line) -> Line:
    """Return a record that blames somebody else."""
    return msgspec.structs.replace(line, principal="somebody-else")


TAMPERINGS: Final[tuple[Callable[[Ground], None], ...]] = (
    alter_text,
    alter_number,
    flip_a_bit,
    cut_bytes,
    add_bytes,
    recompress,
    drop_record,
    double_record,
    swap_records,
    carry_record,
    alter_column,
    wrong_kind,
    drop_segment,
    drop_and_close,
    swap_segments,
    copy_segment,
    add_segment,
    move_between_tenants,
    truncate,
    truncate_with_head,
    roll_back,
    alter_head,
    drop_head,
    drop_all,
    drop_mark,
    drop_service,
    drop_both,
    alter_mark,
    prune_by_hand,
    forge,
)
#: What leaves a chain that is whole in itself: only a head that was kept elsewhere, or the service's own audit, tells.
NEEDS_MEMORY: Final = frozenset({"roll_back", "drop_mark", "drop_both"})
#: What does not touch the tenant's own chain at all: a look at all audits shows it.
ELSEWHERE: Final = frozenset({"drop_service"})


# -- trials -----------------------------------------------------------------------------------------------------------


def lines_of(chance: random.Random, count: int) -> list[Line]:
    """Return records such as a service writes."""
    at = 1_700_000_000_000_000
    made = []
    for number in range(count):
        at += chance.randrange(1, 2_000_000)
        change = chance.random() < 0.3
        made.append(
            Line(
                at,
                chance.choice(("alice", "bob", "")),
                "put" if change else chance.choice(("get", "list", "head")),
                "bucket",
                f"key-{chance.randrange(50)}",
                "",
                f"r{number:x}",
                {"etag": "e"} if change else {},
                f"10.0.0.{chance.randrange(255)}",
                0 if change else chance.choice((200, 304, 404)),
                chance.randrange(1 << 20),
                0,
                "tool/1.0",
            )
        )
    return made


async def sealed(catalog: SqlCatalog, auditor: Auditor, chance: random.Random) -> tuple[int, tuple[Any, ...]]:
    """Make the audits of two tenants; return how many segments each has, and an old head of `mine`."""
    count = chance.randint(3, 8)
    old: tuple[Any, ...] = ()
    kept = chance.randint(1, count - 1)
    for number in range(1, count + 1):
        for tenant in ("mine", "other"):
            packed = pack(lines_of(chance, chance.randint(2, 12)))
            head = await catalog.seal_audit(tenant, auditor.chain(tenant), packed)
            if tenant == "mine" and number == kept:
                old = tuple(getattr(head, name) for name in _HEAD)
    await auditor.seal()  # what the service says of them
    return count, old


async def trial(seed: int, folder: Path, tamper: Callable[[Ground], None]) -> tuple[bool, str]:
    """Return whether the tampering was found, and what was said of it."""
    chance = random.Random(seed)  # noqa: S311
    path = folder / "catalog.db"
    catalog = await open_catalog(f"sqlite:///{path}", environment=Environment.seeded(seed), upgrade=True)
    auditor = Auditor(catalog, RootSecret(chance.randbytes(32)))
    try:
        count, old = await sealed(catalog, auditor, chance)
        before = await auditor.verify("mine")
        if not before.whole:
            return False, f"a whole audit was refused: {before.text}"
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            tamper(Ground(database, chance, old, count))
        verdict = await auditor.verify("mine", expected=before.head)
        alone = await auditor.verify("mine")
        together = [one for one in await auditor.verify_all() if not one.whole]
    finally:
        await catalog.close()
    return _judged(tamper.__name__, verdict, alone, together)


def _judged(name: str, verdict: Verdict, alone: Verdict, together: list[Verdict]) -> tuple[bool, str]:
    said = f"{verdict.problem} {verdict.segment}: {verdict.text}"
    if name in ELSEWHERE:
        return bool(together), "; ".join(one.text for one in together) or "it passed"
    if verdict.whole:
        return False, "it passed"
    if alone.whole and name not in NEEDS_MEMORY:
        return False, f"only a kept head showed it ({said})"
    if not together and name != "roll_back":
        return False, f"looking at all audits did not show it ({said})"
    return True, said


def run(trials: int, seed: int, *, replay: int | None = None) -> tuple[Counter[str], list[str]]:
    """Return how many trials of each way found it, and what failed with the seed that repeats it."""
    counted: Counter[str] = Counter()
    failures = []
    numbers = range(trials) if replay is None else [replay]
    for number in numbers:
        tamper = TAMPERINGS[number % len(TAMPERINGS)]
        with tempfile.TemporaryDirectory(prefix="holdfast-audit-") as folder:
            found, said = asyncio.run(trial(seed * 1_000_003 + number, Path(folder), tamper))
        counted[f"{tamper.__name__} {'found' if found else 'MISSED'}"] += 1
        if not found:
            failures.append(f"{tamper.__name__}: trial {number} of seed {seed}: {said}")
    return counted, failures


def report(trials: int, seed: int, *, replay: int | None = None) -> bool:
    """Run the trials, print what came of them, and return whether all was found."""
    began = time.monotonic()
    counted, failures = run(trials, seed, replay=replay)
    for name in sorted(counted):
        print(f"{name:32} {counted[name]:6}")
    total = sum(counted.values())
    print(
        f"audit: {total - len(failures)} of {total} tamperings found, seed {seed}, {time.monotonic() - began:.0f} s"
    )
    for failure in failures[:_SHOWN]:
        print(failure)
    return not failures and total > 0
