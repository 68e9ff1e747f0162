"""Why an object belongs where it does, and whether it is there."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace

from holdfast.core.errors import NotFoundError
from holdfast.core.names import is_sealed
from holdfast.core.types import Located, ReplicaState, Version
from holdfast.engine.context import Context
from holdfast.engine.facts import asking
from holdfast.engine.replicas import sealed_in
from holdfast.policy.placement import Explanation, Facts


@dataclass(frozen=True, slots=True)
class CopyAt:
    """What one store has of a version: so many of its `segments`, and whether that is all of it, and sound."""

    store: str
    segments: int
    whole: bool
    suspect: bool
    encrypted: bool = False  #: every blob of it


@dataclass(frozen=True, slots=True)
class Explained:
    """The plan for these facts, with every rule that was asked. Of an object that is there also where it is.

    `home`: exactly the stores of the plan hold something of it, and each a whole and sound copy. `of_file`: the rules are
    those of this process's file; else they are the catalog's.
    """

    facts: Facts
    explanation: Explanation
    of_file: bool
    version: Version | None = None
    copies: tuple[CopyAt, ...] = ()
    home: bool | None = None


async def explain(context: Context, facts: Facts) -> Explained:
    """Return where an object of these facts belongs. Of a bucket that is there, its own threshold counts if none is said."""
    placement = await context.placing.fresh()
    with suppress(NotFoundError):
        bucket = await context.rules.bucket(facts.ref.tenant, facts.ref.bucket)
        inline = await context.rules.inline(bucket) if facts.inline is None else facts.inline
        facts = replace(facts, inline=inline, apart=facts.apart or bucket.settings.encryption != "none")
    return Explained(facts, placement.explain(facts), context.placing.of_file)


async def explain_object(context: Context, located: Located) -> Explained:
    """Return where an object that is there belongs, and where it is."""
    version = located.version
    bucket = await context.rules.bucket(version.ref.tenant, version.ref.bucket)
    asked = await asking(context, bucket)
    facts = asked.facts(
        version.ref,
        version.size,
        version.content_type,
        tags=version.tags,
        storage_class=version.storage_class,
        apart=len(located.segments) > 1,
        tier=version.tier,
    )
    found = asked.placement.explain(facts)
    copies, sealed = _copies(located), sealed_in(context, found.plan)
    home = {copy.store for copy in copies} == set(found.plan.stores) and all(
        copy.whole and (copy.encrypted or copy.store not in sealed) for copy in copies
    )
    return Explained(facts, found, context.placing.of_file, version, copies, home)


def _copies(located: Located) -> tuple[CopyAt, ...]:
    held: dict[str, set[str]] = defaultdict(set)
    suspect, plain = set[str](), set[str]()
    for replica in located.replicas:
        held[replica.store].add(replica.segment_id)
        if not is_sealed(replica.blob):
            plain.add(replica.store)
        if replica.state is ReplicaState.SUSPECT:
            suspect.add(replica.store)
    needed = len(located.segments)
    return tuple(
        CopyAt(
            store,
            len(segments),
            len(segments) == needed and store not in suspect,
            store in suspect,
            store not in plain,
        )
        for store, segments in sorted(held.items())
    )
