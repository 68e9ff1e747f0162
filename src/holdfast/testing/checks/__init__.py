"""The promises of a backend, each of them a check. `CHECKS` holds all of them by name."""

from holdfast.testing.checks import content, failing, listing, names, optional, ranges, sharing
from holdfast.testing.harness import CHECKS

__all__ = ["CHECKS", "content", "failing", "listing", "names", "optional", "ranges", "sharing"]
