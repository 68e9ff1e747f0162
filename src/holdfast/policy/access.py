"""Who may do what: a pure function from principal and verb to a decision with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.core.types import Principal

READ: Final = frozenset({"get", "head", "list", "versions", "usage"})
WRITE: Final = frozenset({"put", "delete", "copy", "upload"})
ADMIN: Final = frozenset({"create_bucket", "delete_bucket"})

ROLES: Final[dict[str, frozenset[str]]] = {
    "admin": READ | WRITE | ADMIN,
    "writer": READ | WRITE,
    "reader": READ,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed`, and why."""

    allowed: bool
    reason: str


def decide(principal: Principal, verb: str) -> Decision:
    """Return whether `principal` may use `verb` in its own tenant."""
    if verb in ROLES.get(principal.role, frozenset()):
        return Decision(True, f"role {principal.role} allows {verb}")
    return Decision(False, f"role {principal.role} does not allow {verb}")
