"""Who may sign tokens, with which one algorithm and keys, and what their tokens may claim at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from holdfast.core.errors import ConfigError
from holdfast.core.parsing import parse_json
from holdfast.engine.jwt import Key, refusal

_HASHES: Final = {"256": 32, "384": 48, "512": 64}
_CURVES: Final = {
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
    "Ed25519": "Ed25519",
}
_LEAST_RSA: Final = 2048  #: bits
_MOST_KEYS: Final = 64


class Keys(Protocol):
    """Finds the key that a token says it was signed with."""

    async def find(self, kid: str | None) -> Key:
        """Return it; raise `UnauthenticatedError` when there is none, `UnavailableError` when nobody can tell now."""
        ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """One party whose tokens are taken, under the name that the configuration gives it."""

    name: str
    issuer: str
    audience: str
    algorithm: str
    keys: Keys
    kids: frozenset[str] = frozenset()  #: the only ones that are taken; empty: all that `keys` has
    tenant: str = ""  #: of all its tokens, when `tenant_claim` is empty
    tenant_claim: str = ""
    tenants: frozenset[str] = frozenset()  #: that `tenant_claim` may name; empty: any
    role: str = "reader"  #: of its tokens; with `role_claim` the highest that one may claim
    role_claim: str = ""
    scope_claim: str = ""
    leeway: float = 0.0
    types: frozenset[str] = frozenset({"jwt", "at+jwt"})  #: of `typ`, in small letters; "" for a missing one
    own: bool = False  #: this service itself


@dataclass(frozen=True, slots=True)
class OneKey:
    """The same key for all tokens of an issuer. Its `kid` is checked only where some are pinned."""

    key: Key

    async def find(self, kid: str | None) -> Key:
        """Return the key."""
        return self.key


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by their `kid`, from a file."""

    keys: Mapping[str, Key]

    async def find(self, kid: str | None) -> Key:
        """Return the key of that name."""
        if kid is None or kid not in self.keys:
            raise refusal("no key of its issuer has its kid")
        return self.keys[kid]


def key_of(value: str | bytes, algorithm: str) -> Key:
    """Return the key that a setting or a file holds: a PEM, or the raw secret of an HMAC.

    Raises:
        ConfigError: it does not fit the algorithm, or is too weak for it.
    """
    raw = value.encode() if isinstance(value, str) else value
    kind = _kind(algorithm)
    try:
        if kind is OctKey:
            if b"-----BEGIN" in raw:
                raise ConfigError(f"a PEM is no key for {algorithm}: a public key must never verify an HMAC")
            return _fitting(OctKey.import_key(raw), algorithm)
        return _fitting(kind.import_key(raw), algorithm)
    except (JoseError, ValueError, TypeError):
        raise ConfigError(
            f"the key cannot be read as one for {algorithm}; give a public key in PEM"
        ) from None


def key_set(document: bytes, algorithm: str, kids: frozenset[str] = frozenset()) -> dict[str, Key]:
    """Return the keys of a JWKS that can verify `algorithm`, by `kid`; with `kids`, only those.

    Raises:
        ConfigError: it is no JWKS, or a wanted key is weak, secret where it must be public, or named twice.
    """
    try:
        members = parse_json(document)["keys"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError("this is no JWKS: a JSON object with the list `keys`") from None
    if not isinstance(members, list) or len(members) > _MOST_KEYS:
        raise ConfigError(f"`keys` of a JWKS is a list of at most {_MOST_KEYS}")
    found: dict[str, Key] = {}
    for member in members:
        kid = member.get("kid") if isinstance(member, dict) else None
        if (
            not isinstance(kid, str)
            or not kid
            or (kids and kid not in kids)
            or not _usable(member, algorithm)
        ):
            continue
        if kid in found:
            raise ConfigError(f"two keys of the JWKS have the kid {kid[:60]!r}")
        found[kid] = _imported(member, algorithm)
    return found


def read_key_file(path: Path) -> bytes:
    """Return what a key file holds, without blanks at its ends; `ConfigError` when it cannot be read."""
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error


def _usable(member: Mapping[str, Any], algorithm: str) -> bool:
    """Return whether a member of a JWKS says that it verifies signatures of this kind."""
    return (
        member.get("kty") == _kind(algorithm).key_type
        and member.get("use", "sig") == "sig"
        and member.get("alg", algorithm) == algorithm
        and ("crv" not in member or member["crv"] == _CURVES.get(algorithm))
    )


def _imported(member: Mapping[str, Any], algorithm: str) -> Key:
    try:
        return _fitting(_kind(algorithm).import_key(dict(member)), algorithm)
    except (JoseError, ValueError, TypeError):
        raise ConfigError(f"the key {str(member.get('kid'))[:60]!r} of the JWKS cannot be read") from None


def _kind(algorithm: str) -> type[OctKey] | type[RSAKey] | type[ECKey] | type[OKPKey]:
    kinds: dict[str, type[OctKey] | type[RSAKey] | type[ECKey] | type[OKPKey]]
    kinds = {"HS": OctKey, "RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}
    return kinds[algorithm[:2]]


def _fitting(key: Key, algorithm: str) -> Key:
    """Return `key`, or raise `ConfigError` when it is too weak or of another curve."""
    if isinstance(key, OctKey):
        least = _HASHES[algorithm[2:]]
        if len(key.raw_value) < least:
            raise ConfigError(f"the secret of {algorithm} needs {least} random bytes or more")
    elif isinstance(key, RSAKey):
        public = key.public_key
        if not isinstance(public, RSAPublicKey) or public.key_size < _LEAST_RSA:
            raise ConfigError(f"an RSA key needs {_LEAST_RSA} bits or more")
    elif key.as_dict(private=False).get("crv") != _CURVES[algorithm]:
        raise ConfigError(f"{algorithm} needs a key on the curve {_CURVES[algorithm]}")
    return key


def check_kid(issuer: Issuer, header: Mapping[str, Any]) -> str | None:
    """Return the `kid` of a token; raise `UnauthenticatedError` when it is not one of those that are pinned."""
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise refusal("its kid is no text")
    if issuer.kids and kid not in issuer.kids:
        raise refusal("its kid is not one that this service takes")
    return kid


def check_type(issuer: Issuer, header: Mapping[str, Any]) -> None:
    """Return when the token is of a kind that the issuer signs for us; raise `UnauthenticatedError` otherwise."""
    kind = header.get("typ", "")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in issuer.types:
        raise refusal("its typ is not that of an access token")
