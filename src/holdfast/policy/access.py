"""Who may do what: a pure function from principal, verb and place to a decision with its reason.

A role names the verbs; scopes narrow it to buckets, keys and fewer verbs. Whatever concerns a stretch of keys (a listing,
a search) needs a scope that holds the whole stretch, and what concerns a whole bucket or tenant one without any prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from holdfast.core.types import Principal, Scope, Visibility

READ: Final = frozenset({"get", "head", "list", "versions", "search", "usage", "presign"})
WRITE: Final = frozenset({"put", "delete", "upload", "update"})
ADMIN: Final = frozenset(
    {
        "create_bucket",
        "delete_bucket",
        "update_bucket",
        "list_keys",
        "create_key",
        "revoke_key",
        "audit",
        "hold",
        "lock",
        "bypass_retention",
        "provision",
        "costs",
    }
)
OPERATE: Final = frozenset(
    {
        "tenants",
        "apply_config",
        "create_tenant",
        "update_tenant",
        "delete_tenant",
        "stores",
        "update_stores",
        "placement",
        "set_rules",
        "operate",
    }
)
#: What one may always do with one's own credential: ask who one is, have a narrower one made, give one back.
SELF: Final = frozenset({"whoami", "create_token", "revoke_token"})
ANONYMOUS: Final = "anonymous"

ROLES: Final[dict[str, frozenset[str]]] = {
    "operator": READ | WRITE | SELF | ADMIN | OPERATE,
    "admin": READ | WRITE | SELF | ADMIN,
    "writer": READ | WRITE | SELF,
    "reader": READ | SELF,
    ANONYMOUS: frozenset({"get", "head"}),
}
#: Roles that a credential can be made with, the narrowest first.
GRANTABLE: Final = ("reader", "writer", "admin", "operator")
#: Words that stand for several verbs in a scope.
GROUPS: Final[dict[str, frozenset[str]]] = {"read": READ, "write": WRITE, "admin": ADMIN}
#: Verbs that scopes can name.
SCOPABLE: Final = frozenset(READ | WRITE | ADMIN)
#: Verbs that are about the credential and not about any place, so that scopes of places leave them alone.
_PLACELESS: Final = SELF


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed`, and why."""

    allowed: bool
    reason: str


def decide(
    principal: Principal,
    verb: str,
    *,
    bucket: str = "",
    key: str | None = None,
    prefix: str = "",
    visibility: Visibility | None = None,
) -> Decision:
    """Return whether `principal` may use `verb` in its own tenant.

    Args:
        bucket: "" for what concerns the whole tenant.
        key: of one object; None when a stretch of keys, all that start with `prefix`, is meant.
        visibility: of the bucket, where it is known already. Somebody without a name may only read public ones.
    """
    if verb not in ROLES.get(principal.role, _NOTHING):
        return Decision(False, f"role {principal.role} does not allow {verb}")
    if principal.role == ANONYMOUS and visibility is not None and visibility is not Visibility.PUBLIC:
        return Decision(False, "without a token, only objects of public buckets can be read")
    if not principal.scopes or verb in _PLACELESS:
        return _BY_ROLE[principal.role, verb]
    for scope in principal.scopes:
        if _covers(scope, verb, bucket, key, prefix):
            return _BY_SCOPE
    return Decision(False, f"no scope of this credential allows {verb} here")


def holds(principal: Principal, verb: str) -> bool:
    """Return whether the role of `principal` has `verb`, wherever its scopes then let it be used."""
    return verb in ROLES.get(principal.role, _NOTHING)


def narrower(principal: Principal, role: str, scopes: Iterable[Scope]) -> Decision:
    """Return whether a credential of `role` and `scopes` allows nothing that `principal` is not allowed itself."""
    mine, asked = ROLES.get(principal.role, _NOTHING), ROLES.get(role, _NOTHING)
    if role not in GRANTABLE:
        return Decision(False, f"there is no role {role!r}; choose one of {', '.join(GRANTABLE)}")
    if not asked <= mine:
        return Decision(False, f"role {principal.role} cannot give the role {role}")
    if not principal.scopes:
        return Decision(True, "the credential is bound by its role alone")
    wanted = tuple(scopes)
    if not wanted:
        return Decision(False, "a credential with scopes can only give scopes inside its own")
    for scope in wanted:
        if not any(_contains(own, mine, scope, asked) for own in principal.scopes):
            return Decision(False, f"the scope on {scope.bucket!r} reaches beyond this credential's own")
    return Decision(True, "each scope lies inside one of this credential's")


def verbs_of(scope: Scope, role_verbs: frozenset[str]) -> frozenset[str]:
    """Return the verbs that `scope` leaves of those of its role; groups are spelled out."""
    return role_verbs if not scope.verbs else role_verbs & _spelled(scope.verbs)


def _covers(scope: Scope, verb: str, bucket: str, key: str | None, prefix: str) -> bool:
    if scope.verbs and verb not in _spelled(scope.verbs):
        return False
    if bucket == "":
        return scope.bucket == "*" and scope.prefix == "" and scope.key is None
    if not _named(scope.bucket, bucket):
        return False
    if key is None:
        return scope.key is None and prefix.startswith(scope.prefix)
    return key.startswith(scope.prefix) and scope.key in (None, key)


def _contains(own: Scope, mine: frozenset[str], asked: Scope, theirs: frozenset[str]) -> bool:
    """Return whether all that `asked` allows lies in `own`. A `*` of `asked` matches only a `*` of `own`."""
    if not verbs_of(asked, theirs) - _PLACELESS <= verbs_of(own, mine):
        return False
    if not _named(own.bucket, asked.bucket):
        return False
    if own.key is not None and asked.key != own.key:
        return False
    return (asked.prefix if asked.key is None else asked.key).startswith(own.prefix)


@lru_cache(4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in pattern.split("*")), re.DOTALL)


def _named(pattern: str, bucket: str) -> bool:
    return pattern in ("*", bucket) or ("*" in pattern and _pattern(pattern).fullmatch(bucket) is not None)


@lru_cache(1024)
def _spelled(verbs: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*[GROUPS.get(verb, (verb,)) for verb in verbs])


_NOTHING: Final[frozenset[str]] = frozenset()
_BY_ROLE: Final = {
    (role, verb): Decision(True, f"role {role} allows {verb}")
    for role, verbs in ROLES.items()
    for verb in verbs
}
_BY_SCOPE: Final = Decision(True, "the role and a scope allow it")
