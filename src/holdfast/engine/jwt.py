"""Signed tokens (JWT), read strictly: one algorithm per issuer, nothing in the token chooses how it is verified.

The library verifies signatures and nothing else. What a token may look like is decided here, before and after: its size,
its encoding to the last bit, the members of its header, and every claim that we go by.
"""

from __future__ import annotations

import json
import re
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from holdfast.core.errors import UnauthenticatedError

Key = OctKey | RSAKey | ECKey | OKPKey
LONGEST: Final = 8192  #: characters
ALGORITHMS: Final = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
#: Members of a header that would let a token bring its own key, or change what its parts mean.
_REFUSED: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty", "epk"})
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LATEST: Final = 1 << 40  #: seconds since the epoch: far beyond any honest time


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself. Only good for choosing whose key it has to be verified with."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def looks_like(token: str) -> bool:
    """Return whether `token` has the shape of a signed token; API keys never have."""
    return token.count(".") == 2


def parse(token: str) -> Unverified:
    """Return the parts of `token`, their shape checked, nothing verified.

    Raises:
        UnauthenticatedError: it is too long, not strictly encoded, ambiguous, or tries to say how to verify it.
    """
    if len(token) > LONGEST:
        raise refusal("it is too long")
    if not token.isascii() or not _SHAPE.fullmatch(token):
        raise refusal("it does not have three parts in Base64url")
    header, claims, signature = token.split(".")
    decoded(signature)
    found = Unverified(token, _object(header, "header"), _object(claims, "claims"))
    if refused := _REFUSED & found.header.keys():
        raise refusal(f"its header holds {sorted(refused)[0]}, which is not taken")
    return found


def verify(token: Unverified, key: Key, algorithm: str) -> None:
    """Return when `key` signed the token under `algorithm`; raise `UnauthenticatedError` otherwise."""
    if token.header.get("alg") != algorithm:
        raise refusal("it is signed with another algorithm than its issuer's")
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    try:
        with warnings.catch_warnings():  # the older name of Ed25519 is still what most issuers write
            warnings.simplefilter("ignore")
            jws.deserialize_compact(token.text, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        raise refusal("its signature is wrong") from None


def check_times(claims: Mapping[str, Any], *, now: float, leeway: float) -> float:
    """Return when the token ends, in seconds since the epoch.

    Raises:
        UnauthenticatedError: it has no end or has ended, does not hold yet, or was issued in the future.
    """
    expires = _time(claims, "exp")
    if expires is None:
        raise refusal("it has no exp")
    if now >= expires + leeway:
        raise refusal("it has expired")
    begins, issued = _time(claims, "nbf"), _time(claims, "iat")
    if begins is not None and now < begins - leeway:
        raise refusal("it does not hold yet (nbf)")
    if issued is not None and (now < issued - leeway or issued > expires):
        raise refusal("it was issued in the future, or after its own end (iat)")
    return expires


def check_audience(claims: Mapping[str, Any], audience: str) -> None:
    """Return when the token is for `audience`; raise `UnauthenticatedError` otherwise."""
    said = claims.get("aud")
    everyone = said if isinstance(said, list) else [said]
    if not all(isinstance(one, str) for one in everyone) or audience not in everyone:
        raise refusal("it is for another audience")


def text_claim(claims: Mapping[str, Any], name: str, *, most: int = 256) -> str:
    """Return a claim that is a short printable text; raise `UnauthenticatedError` when it is missing or is not."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise refusal(f"its {name} is missing, or is no short text")
    return value


def sign(header: Mapping[str, Any], claims: Mapping[str, Any], key: bytes) -> str:
    """Return a token with `claims`, signed with HMAC-SHA-256."""
    payload = json.dumps(claims, separators=(",", ":"), sort_keys=True).encode()
    return jws.serialize_compact(
        {**header, "alg": "HS256"}, payload, OctKey.import_key(key), algorithms=["HS256"]
    )


def decoded(part: str) -> bytes:
    """Return a part decoded; it must be the only spelling of its bytes."""
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4)) if len(part) % 4 != 1 else b""
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise refusal("a part of it is not strict Base64url")
    return raw


def refusal(why: str) -> UnauthenticatedError:
    """Return the error for a token that is refused; `why` never quotes it."""
    return UnauthenticatedError(f"the token is refused: {why}")


def _object(part: str, what: str) -> Mapping[str, Any]:
    try:
        found = json.loads(
            decoded(part).decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise refusal(f"its {what} are not JSON in UTF-8, or name something twice") from None
    if not isinstance(found, dict):
        raise refusal(f"its {what} are no JSON object")
    return found


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("named twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST:
        raise refusal(f"its {name} is no time")
    return value
