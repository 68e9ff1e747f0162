"""The promises of a backend, each of them a check. `CHECKS` holds all of them by name."""

from holdfast.testing.checks import adopting, content, failing, listing, names, optional, ranges, sharing
from holdfast.testing.harness import CHECKS

__all__ = [
    "CHECKS",
    "adopting",
    "content",
    "failing",
    "listing",
    "names",
    "optional",
    "ranges",
    "sharing",
]
