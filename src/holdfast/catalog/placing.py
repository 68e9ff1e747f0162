"""Transactions of placement rules, and of what placement is asked about: versions and where their copies are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import case, func, literal_column, select, tuple_

from holdfast.catalog import generations
from holdfast.catalog.common import NOW, audited, is_readable
from holdfast.catalog.contract import Actor
from holdfast.catalog.rows import mapping_of
from holdfast.catalog.schema import buckets, objects, replicas, rules, tenants, versions
from holdfast.catalog.settings import bucket_settings, tenant_settings
from holdfast.catalog.statements import (
    Many,
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import ConflictError
from holdfast.core.names import SEALED
from holdfast.core.records import Fragment, HeldPage, HeldVersion, KeptRules
from holdfast.core.types import EMPTY, BucketSettings, ObjectRef

NAME: Final = "rules"  #: of the generation that counts changes of rules
Change = Callable[[KeptRules], Sequence[tuple[str, str]]]

RULES = Statement(select(rules.c.name, rules.c.rule).order_by(rules.c.position, rules.c.name))
CLEAR = Statement(rules.delete())
ADD = insert_into(rules, "name", "position", "rule", "updated")


def all_rules() -> Transaction[KeptRules]:
    """The rules in their order, and the count of their changes."""

    def steps(attempt: Attempt) -> Steps[KeptRules]:
        return (yield from _read())

    return steps


def _read() -> Steps[KeptRules]:
    generation = yield from generations.read(NAME)  # first: what is read is then never older
    kept = yield RULES()
    return KeptRules(tuple((name, text) for name, text in kept), generation)


def change_rules(
    change: Change, *, expected: int | None, actor: Actor, now: int | None
) -> Transaction[KeptRules]:
    """Other rules; nothing is written where they are so already. `change` makes them of those that there are."""

    def steps(attempt: Attempt) -> Steps[KeptRules]:
        held = yield from _read()
        if attempt.again and held == attempt.seen.get("made"):
            return held
        if expected is not None and expected != held.generation:
            raise ConflictError(
                f"the rules have changed: they are in generation {held.generation}, not {expected};"
                " look at them again"
            )
        wanted = tuple(change(held))
        if wanted == held.rules:
            return held
        made = attempt.seen["made"] = KeptRules(wanted, held.generation + 1)
        at = (yield NOW(now=now))[0][0]
        yield CLEAR()
        if wanted:
            yield Many(
                ADD,
                [
                    {"name": name, "position": place, "rule": text, "updated": at}
                    for place, (name, text) in enumerate(wanted)
                ],
            )
        yield generations.bumped(NAME)
        yield audited(at, "", "set-rules", actor, detail=_told(held, made))
        return made

    return steps


def _told(held: KeptRules, made: KeptRules) -> dict[str, str]:
    """Return what changed, for the audit: names, and the whole of what is new."""
    before, after = dict(held.rules), dict(made.rules)
    new = [name for name in after if name not in before]
    other = [name for name in after if name in before and before[name] != after[name]]
    gone = [name for name in before if name not in after]
    told = {"generation": str(made.generation)}
    for kind, names in (("added", new), ("changed", other), ("removed", gone)):
        if names:
            told[kind] = ", ".join(names)
    if new or other:
        told["now"] = "[" + ", ".join(after[name] for name in (*new, *other)) + "]"
    else:
        told["order"] = ", ".join(after)
    return told


# -- versions as placement sees them ----------------------------------------------------------------------------------
PAGE = Statement(
    select(
        versions.c.bucket_id,
        versions.c.key,
        versions.c.seq,
        versions.c.id,
        versions.c.size,
        versions.c.content_type,
        versions.c.tags,
        versions.c.pieces,
        versions.c.storage_class,
        versions.c.delete_marker,
        versions.c.tier,
        versions.c.created,
    )
    .where(
        tuple_(versions.c.bucket_id, versions.c.key, versions.c.seq)
        > tuple_(int_param("after_bucket"), text_param("after_key"), int_param("after_seq")),
        tuple_(versions.c.bucket_id, versions.c.key, versions.c.seq)
        < tuple_(int_param("until_bucket"), text_param("until_key"), int_param("until_seq")),
    )
    .order_by(versions.c.bucket_id, versions.c.key, versions.c.seq)
    .limit(int_param("rows"))
)
PLACES = Statement(
    select(buckets.c.id, buckets.c.tenant, buckets.c.name, buckets.c.settings, tenants.c.settings)
    .select_from(buckets.join(tenants, tenants.c.name == buckets.c.tenant))
    .where(buckets.c.id >= int_param("first"), buckets.c.id <= int_param("last"))
)
_LIVE = replicas.c.state == constant("live")
COPIES = Statement(
    select(
        replicas.c.version_id,
        replicas.c.store,
        func.count(),
        func.sum(replicas.c.size),
        func.count(case((_LIVE, replicas.c.segment_id)).distinct()),
        func.sum(case((_LIVE, replicas.c.size), else_=constant(0))),
        func.sum(case((replicas.c.blob.like(constant(f"%{SEALED}")), constant(1)), else_=constant(0))),
    )
    .where(one_of(replicas.c.version_id, "ids"), is_readable(replicas))
    .group_by(replicas.c.version_id, replicas.c.store)
)


def held(
    after: tuple[int, str, int], limit: int, until: tuple[int, str, int] = (1 << 62, "", 0)
) -> Transaction[HeldPage]:
    """The versions of all tenants behind a place and before another, with the stores that hold them."""

    def steps(attempt: Attempt) -> Steps[HeldPage]:
        rows = yield PAGE(
            after_bucket=after[0],
            after_key=after[1],
            after_seq=after[2],
            until_bucket=until[0],
            until_key=until[1],
            until_seq=until[2],
            rows=limit,
        )
        if not rows:
            return HeldPage((), None)
        places = yield PLACES(first=rows[0][0], last=rows[-1][0])
        known = {row[0]: _place(row) for row in places}
        copies: dict[str, list[Row]] = {}
        for row in (yield COPIES(ids=[row[3] for row in rows])):
            copies.setdefault(row[0], []).append(row)
        found = [
            _held(row, known[row[0]], copies.get(row[3], ()))
            for row in rows
            if not row[9] and row[0] in known
        ]
        last = rows[-1]
        return HeldPage(found, (last[0], last[1], last[2]) if len(rows) == limit else None)

    return steps


KEY_AFTER = Statement(
    select(objects.c.key)
    .where(objects.c.bucket_id == int_param("in_bucket"), objects.c.key > text_param("after_key"))
    .order_by(objects.c.key)
    .limit(literal_column("1"))
    .offset(int_param("skip"))
)


def key_after(bucket_id: int, after: str, skip: int) -> Transaction[str]:
    """The key that so many others part from a key; "" when there are fewer."""

    def steps(attempt: Attempt) -> Steps[str]:
        rows = yield KEY_AFTER(in_bucket=bucket_id, after_key=after, skip=skip)
        return str(rows[0][0]) if rows else ""

    return steps


_Place = tuple[str, str, int | None, bool]


def _place(row: Row) -> _Place:
    _, tenant, bucket, settings, of_tenant = row
    asked: BucketSettings = bucket_settings(settings)
    inline = asked.inline if asked.inline is not None else tenant_settings(of_tenant).inline
    return tenant, bucket, inline, asked.encryption != "none"


def _held(row: Row, place: _Place, copies: Sequence[Row]) -> HeldVersion:
    _, key, _, version_id, size, content_type, tags, pieces, storage_class, _, tier, created = row
    tenant, bucket, inline, encrypted = place
    parts = pieces or 1
    whole, broken, encrypted_in = [], [], []
    for _, store, blobs, held, sound, sound_bytes, ours in copies:
        if sound == parts == blobs:
            whole.append(store)
            if ours == blobs:
                encrypted_in.append(store)
        else:
            broken.append(Fragment(store, int(blobs), int(held), int(sound), int(sound_bytes)))
    return HeldVersion(
        ObjectRef(tenant, bucket, key),
        version_id,
        size,
        content_type,
        storage_class or "",
        mapping_of(tags) if tags else EMPTY,
        inline,
        encrypted,
        parts,
        tuple(sorted(whole)),
        tuple(sorted(broken)),
        tuple(sorted(encrypted_in)),
        tier=tier or "",
        created=created,
    )
