"""Making tokens of our own: for whom, with how much, for how long, and resting on which credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Scope
from holdfast.engine.jwt import LONGEST, sign
from holdfast.engine.secrets import RootSecret
from holdfast.engine.tokens import OWN, OWN_KID, new_jti, token_id
from holdfast.policy.scopes import format_scope

LONGEST_LIFE: Final = 30 * 86400  #: seconds
DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token. It can be seen now and never again."""

    token: str = field(repr=False)
    id: str  #: under which it can be revoked
    tenant: str
    subject: str
    role: str
    scopes: tuple[Scope, ...]
    expires: int  #: microseconds


def mint(
    secret: RootSecret,
    environment: Environment,
    *,
    tenant: str,
    subject: str,
    role: str,
    scopes: Sequence[Scope],
    seconds: float,
    by: Sequence[str] = (),
    ends: int | None = None,
    root: str = "",
) -> Minted:
    """Return a token that holds for `seconds`, but never beyond `ends`, and ends with each credential in `by`.

    `root` is the id of the principal whose rate it shares; without one it has its own.

    Raises:
        InvalidRequestError: its time, its name or the number of its scopes is out of bounds.
    """
    if not 1 <= seconds <= LONGEST_LIFE:
        raise InvalidRequestError("a token holds for at least a second and at most 30 days")
    if not 0 < len(subject) <= 200 or not subject.isprintable():
        raise InvalidRequestError("a token's name has 1 to 200 printable characters")
    if len(by) > DEEPEST:
        raise InvalidRequestError("this token rests on too many others; make the new one with an earlier one")
    now = environment.clock.now() // 1_000_000
    until = now + int(seconds)
    if ends is not None:
        until = min(until, ends // 1_000_000)
    jti = new_jti(role, environment.random.getrandbits(128).to_bytes(16, "big").hex())
    claims: dict[str, object] = {
        "iss": OWN,
        "aud": OWN,
        "sub": subject,
        "jti": jti,
        "tenant": tenant,
        "role": role,
        "iat": now,
        "nbf": now,
        "exp": until,
    }
    if scopes:
        claims["scope"] = " ".join(format_scope(scope) for scope in scopes)
    if by:
        claims["by"] = list(by)
    if root:
        claims["of"] = root
    token = sign({"typ": "JWT", "kid": OWN_KID}, claims, secret.derive("jwt"))
    if len(token) > LONGEST:
        raise InvalidRequestError("the token would be too long; give it fewer scopes")
    return Minted(token, token_id(tenant, OWN, jti), tenant, subject, role, tuple(scopes), until * 1_000_000)
