"""Which stores the contents of a bucket can be sent to, whatever else is true of them. Pure."""

from __future__ import annotations

from holdfast.policy.matching import any_like
from holdfast.policy.placement import Match, Placement


def reachable(placement: Placement, tenant: str, bucket: str) -> tuple[str, ...]:
    """Return every store that some rule for this tenant and bucket names, in the order in which rules are asked."""
    found: dict[str, None] = {}
    for rule in map(placement.moved, placement.ordered):
        match = rule.match
        if match.tenants and not any_like(match.tenants, tenant):
            continue
        if match.buckets and not any_like(match.buckets, bucket):
            continue
        found |= dict.fromkeys((*rule.stores, *rule.fallback))
        if Match(tenants=match.tenants, buckets=match.buckets) == match:
            break  # it takes everything: none after it is asked
    return tuple(found)
