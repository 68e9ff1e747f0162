"""Tokens as an attacker would make them, and a second opinion: PyJWT under the same policy."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_700_000_000
SHARED = b"0123456789abcdef0123456789abcdef-shared"
FORBIDDEN = ("crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty", "epk")


@dataclass(frozen=True)
class Party:
    """An issuer with its one key."""

    name: str
    algorithm: str
    private: Any
    public: Any  #: what verifies
    kid: str | None

    @property
    def issuer(self) -> str:
        return f"https://{self.name}.example"

    @property
    def pem(self) -> bytes:
        if isinstance(self.public, bytes):
            return self.public
        return self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def _pair(name: str, algorithm: str, private: Any, kid: str | None = None) -> Party:
    return Party(name, algorithm, private, private.public_key(), kid)


RSA = _pair("rsa", "RS256", rsa.generate_private_key(65537, 2048), "r1")
EC = _pair("ec", "ES256", ec.generate_private_key(ec.SECP256R1()))
ED = _pair("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())
HS = Party("hs", "HS256", SHARED, SHARED, None)
PARTIES = (RSA, EC, ED, HS)
OTHER_RSA = _pair("rsa", "RS256", rsa.generate_private_key(65537, 2048), "r1")
OTHER_EC = _pair("ec", "ES256", ec.generate_private_key(ec.SECP256R1()))
OTHER_ED = _pair("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())


def claims(party: Party, **changes: Any) -> dict[str, Any]:
    """Return claims that are taken, changed; a change to `...` removes the claim."""
    said = {
        "iss": party.issuer,
        "aud": "storage",
        "sub": "someone",
        "team": "acme",
        "role": "writer",
        "scopes": "read:photos",
        "iat": NOW - 10,
        "nbf": NOW - 10,
        "exp": NOW + 600,
        "jti": "j1",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not ...}


def header(party: Party, **changes: Any) -> dict[str, Any]:
    """Return a header that is taken, changed."""
    said = {"alg": party.algorithm, "typ": "JWT", "kid": party.kid if party.kid else ..., **changes}
    return {name: value for name, value in said.items() if value is not ...}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def signed(party: Party, raw_header: bytes, raw_claims: bytes, algorithm: str | None = None) -> str:
    """Return a token of exactly these bytes, honestly signed with the party's key."""
    message = f"{b64(raw_header)}.{b64(raw_claims)}"
    method = pyjwt.get_algorithm_by_name(algorithm or party.algorithm)
    return f"{message}.{b64(method.sign(message.encode(), party.private))}"


def made(party: Party, head: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Return an honestly signed token with these changes."""
    return signed(party, encoded(header(party, **(head or {}))), encoded(claims(party, **changes)))


def maced(party: Party, key: bytes, digest: str = "sha256", algorithm: str = "HS256") -> str:
    """Return the party's token signed with an HMAC under `key`: the classic confusion."""
    message = f"{b64(encoded(header(party, alg=algorithm)))}.{b64(encoded(claims(party)))}"
    return f"{message}.{b64(hmac.new(key, message.encode(), digest).digest())}"


def flipped(token: str, part: int, at: int, bit: int = 0) -> str:
    """Return `token` with one bit of one part changed."""
    parts = token.split(".")
    raw = bytearray(unb64(parts[part]))
    raw[at] ^= 1 << bit
    parts[part] = b64(bytes(raw))
    return ".".join(parts)


def forgeries() -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, token): every one of them must be refused."""
    yield from _unsigned()
    yield from _confused()
    yield from _headers()
    yield from _claims()
    yield from _encodings()
    yield from _damaged()


def _unsigned() -> Iterator[tuple[str, str]]:
    for name in ("none", "None", "NONE", "nOnE", ""):
        for party in (RSA, HS):
            message = f"{b64(encoded(header(party, alg=name)))}.{b64(encoded(claims(party)))}"
            yield f"{party.name}: alg {name!r}, no signature", message + "."
            yield f"{party.name}: alg {name!r}, some signature", message + ".AAAA"
    yield "no alg", signed(RSA, encoded(header(RSA, alg=...)), encoded(claims(RSA)))
    for value in (None, 1, ["RS256"], {"RS256": 1}, True):
        yield f"alg {value!r}", signed(RSA, encoded({**header(RSA), "alg": value}), encoded(claims(RSA)))


def _confused() -> Iterator[tuple[str, str]]:
    for party in (RSA, EC, ED):
        yield f"{party.name}: HMAC under the public key in PEM", maced(party, party.pem)
        yield f"{party.name}: the same without the last line break", maced(party, party.pem.strip())
        der = party.public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        yield f"{party.name}: HMAC under the public key in DER", maced(party, der)
        yield (
            f"{party.name}: HMAC that claims its algorithm",
            maced(party, party.pem, algorithm=party.algorithm),
        )
        yield f"{party.name}: HS512", maced(party, party.pem, "sha512", "HS512")
    yield "HMAC under nothing", maced(HS, b"")
    yield "HMAC under a zero", maced(HS, bytes(32))
    yield "HMAC under a guess", maced(HS, b"secret")
    yield "HS384 with the right secret", maced(HS, SHARED, "sha384", "HS384")
    yield (
        "RS384 with the right key",
        signed(RSA, encoded(header(RSA, alg="RS384")), encoded(claims(RSA)), "RS384"),
    )
    yield (
        "PS256 with the right key",
        signed(RSA, encoded(header(RSA, alg="PS256")), encoded(claims(RSA)), "PS256"),
    )
    yield "RS384 signature that says RS256", signed(RSA, encoded(header(RSA)), encoded(claims(RSA)), "RS384")
    for other in (OTHER_RSA, OTHER_EC, OTHER_ED):
        yield f"{other.name}: another key of the same kind", made(other)
    for party in PARTIES:
        for claimed in PARTIES:
            if claimed is not party:
                yield f"{party.name} speaks for {claimed.name}", made(party, iss=claimed.issuer)


def _headers() -> Iterator[tuple[str, str]]:
    own = json.loads(pyjwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA.public))
    yield "its own key", signed(OTHER_RSA, encoded(header(RSA, jwk=own)), encoded(claims(RSA)))
    values: dict[str, Any] = {
        "jku": "https://rsa.example/jwks.json",
        "x5u": "https://rsa.example/cert.pem",
        "x5c": ["MIIB"],
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "enc": "A128GCM",
        "cty": "JWT",
        "epk": {"kty": "EC"},
        "jwk": own,
    }
    for name, value in values.items():
        yield f"{name} in the header", made(RSA, {name: value})
    yield "an empty crit", made(RSA, {"crit": []})
    for kid in (..., "r2", "R1", "", "r1 ", "../r1", "r1\0", 1, None, ["r1"], "r1' OR 1=1 --", "/dev/null"):
        yield (
            f"kid {kid!r}",
            signed(
                RSA,
                encoded(header(RSA) | {"kid": kid} if kid is not ... else header(RSA, kid=...)),
                encoded(claims(RSA)),
            ),
        )
    for kind in (..., "JWE", "", "at", "logout+jwt", "dpop+jwt", "application/x", 1, None, ["JWT"]):
        yield (
            f"typ {kind!r}",
            signed(
                RSA,
                encoded(header(RSA) | {"typ": kind} if kind is not ... else header(RSA, typ=...)),
                encoded(claims(RSA)),
            ),
        )


def _claims() -> Iterator[tuple[str, str]]:
    changes: dict[str, list[Any]] = {
        "exp": [
            ...,
            NOW - 1,
            NOW,
            0,
            -5,
            None,
            "soon",
            str(NOW + 600),
            True,
            [NOW + 600],
            1e300,
            NOW - 10**6,
        ],
        "nbf": [NOW + 1, NOW + 600, "now", None, True, -1],
        "iat": [NOW + 1, NOW + 500, NOW + 601, "now", None, True],
        "iss": [
            ...,
            "https://rsa.example/",
            "http://rsa.example",
            "",
            None,
            1,
            ["https://rsa.example"],
            "holdfast",
        ],
        "aud": [..., "storages", "", None, 1, [], ["other"], {"storage": 1}, ["storage", 1]],
        "sub": [..., "", None, 1, "a" * 257, "a\nb"],
        "team": [..., "", None, 1, "other", "*", "../acme", "ACME", ["acme"], "acme\0", "a" * 300],
        "role": [
            ...,
            "admin",
            "operator",
            "root",
            "",
            None,
            1,
            [],
            ["admin"],
            {"writer": 1},
            "anonymous",
            "Writer",
        ],
        "scopes": [..., "", None, 1, [], "fly:photos", ["read:photos", 1], "read:photos\0", "whoami:photos"],
        "jti": ["", None, 1, "a" * 300],
    }
    for name, values in changes.items():
        for value in values:
            yield f"{name} {str(value)[:30]!r}", made(RSA, **{name: value})


def _encodings() -> Iterator[tuple[str, str]]:
    head, said = encoded(header(RSA)), encoded(claims(RSA))
    yield "exp twice", signed(RSA, head, said[:-1] + b',"exp":%d}' % (NOW + 9**9))
    yield "iss twice", signed(RSA, head, said[:-1] + b',"iss":"x"}')
    yield "role twice", signed(RSA, head, b'{"role":"admin",' + said[1:])
    yield "alg twice", signed(RSA, head[:-1] + b',"alg":"none"}', said)
    yield "kid twice", signed(RSA, b'{"kid":"x",' + head[1:], said)
    yield "claims that are a list", signed(RSA, head, b"[" + said + b"]")
    yield "claims that are a text", signed(RSA, head, b'"x"')
    yield "claims that are null", signed(RSA, head, b"null")
    yield "a header that is a list", signed(RSA, b"[" + head + b"]", said)
    yield "claims that are not UTF-8", signed(RSA, head, said.replace(b"someone", b"some\xff\xfe"))
    yield "claims in UTF-16", signed(RSA, head, said.decode().encode("utf-16"))
    yield "a header that is not UTF-8", signed(RSA, head.replace(b"JWT", b"J\xffT"), said)
    yield "a byte order mark", signed(RSA, head, b"\xef\xbb\xbf" + said)
    yield "claims cut off", signed(RSA, head, said[:-1])
    yield "claims with more behind", signed(RSA, head, said + b"{}")
    yield "a NaN", signed(RSA, head, said.replace(b'"exp":%d' % (NOW + 600), b'"exp":NaN'))
    yield "infinity", signed(RSA, head, said.replace(b'"exp":%d' % (NOW + 600), b'"exp":Infinity'))
    yield "nested deeply", signed(RSA, head, said[:-1] + b',"x":' + b"[" * 1500 + b"]" * 1500 + b"}")
    yield "huge", signed(RSA, head, said[:-1] + b',"x":"' + b"a" * 20_000 + b'"}')
    good = made(RSA)
    first, second, third = good.split(".")
    yield "padding", f"{first}==.{second}.{third}"
    yield "padding of the signature", good + "=="
    yield "the other alphabet", good.replace("-", "+").replace("_", "/") + "+"
    yield "a blank in front", " " + good
    yield "a line break behind", good + "\n"
    yield "a line break inside", f"{first}.{second[:5]}\n{second[5:]}.{third}"
    yield "two parts", f"{first}.{second}"
    yield "four parts", good + ".AAAA"
    yield "five parts", f"{first}..{third}.{second}.AAAA"
    yield "no header", f".{second}.{third}"
    yield "no claims", f"{first}..{third}"
    yield "dots", ".."
    yield "letters of another script", f"{first}.{second}.{third[:-1]}\u0430"
    yield "a surrogate", f"{first}.{second}.{third[:-1]}\ud800"
    yield "bits that mean nothing", _odd_bits(good)


def _odd_bits(token: str) -> str:
    """Return `token` with a signature that decodes to the same bytes, but is spelled otherwise."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    other = token[:-1] + alphabet[last ^ 1]
    assert unb64(other.split(".")[2]) == unb64(token.split(".")[2])
    return other


def _damaged() -> Iterator[tuple[str, str]]:
    for party in PARTIES:
        good = made(party)
        size = [len(unb64(part)) for part in good.split(".")]
        for part, length in enumerate(size):
            for at in sorted({0, length // 3, length // 2, length - 1}):
                yield f"{party.name}: bit of part {part} at {at}", flipped(good, part, at, at % 8)
        first, second, third = good.split(".")
        yield f"{party.name}: no signature", f"{first}.{second}."
        yield f"{party.name}: half a signature", f"{first}.{second}.{b64(unb64(third)[: size[2] // 2])}"
        yield f"{party.name}: a byte too much", f"{first}.{second}.{b64(unb64(third) + b'x')}"
        yield f"{party.name}: zeros for a signature", f"{first}.{second}.{b64(bytes(size[2]))}"
        yield (
            f"{party.name}: the signature of other claims",
            f"{first}.{second}.{made(party, sub='x').split('.')[2]}",
        )
        yield (
            f"{party.name}: its claims changed",
            f"{first}.{b64(encoded(claims(party, sub='root')))}.{third}",
        )
        yield (
            f"{party.name}: a hash for a signature",
            f"{first}.{second}.{b64(hashlib.sha256(f'{first}.{second}'.encode()).digest())}",
        )


# -- the second opinion -----------------------------------------------------------------------------------------------
def opinion(token: str) -> bool:
    """Return whether PyJWT, asked as strictly, takes `token`."""
    try:
        return _opinion(token)
    except (pyjwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError, UnicodeError):
        return False


def _opinion(token: str) -> bool:
    if len(token) > 8192 or token.count(".") != 2:
        return False
    for part in token.split("."):
        if b64(unb64(part)) != part:
            return False
    head = pyjwt.get_unverified_header(token)
    raw = json.loads(unb64(token.split(".")[1]).decode(), object_pairs_hook=_unique)
    json.loads(unb64(token.split(".")[0]).decode(), object_pairs_hook=_unique)
    party = {one.issuer: one for one in PARTIES}[raw["iss"]]
    if any(name in head for name in FORBIDDEN) or head["typ"].lower() not in (
        "jwt",
        "at+jwt",
        "application/at+jwt",
    ):
        return False
    if party.kid is not None and head.get("kid") != party.kid:
        return False
    said = pyjwt.decode(
        token,
        party.public,
        algorithms=[party.algorithm],
        audience="storage",
        issuer=party.issuer,
        leeway=0,
        options={
            "require": ["exp", "iss", "aud", "sub"],
            # its clock is the machine's, ours is the test's: it checks the rest
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        },
    )
    return _times(said) and _rights(said)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def _times(said: Mapping[str, Any]) -> bool:
    for name in ("exp", "nbf", "iat"):
        if name in said and (type(said[name]) not in (int, float) or not 0 <= said[name] < 2**40):
            return False
    return (
        said["exp"] > NOW
        and said.get("nbf", 0) <= NOW
        and said.get("iat", 0) <= NOW
        and said.get("iat", 0) <= said["exp"]
    )


def _rights(said: Mapping[str, Any]) -> bool:
    texts: list[Callable[[], bool]] = [
        lambda: 0 < len(said["sub"]) <= 256 and said["sub"].isprintable(),
        lambda: said["team"] == "acme",
        lambda: said["role"] in ("reader", "writer"),
        lambda: said["scopes"] == "read:photos" or said["scopes"] == ["read:photos"],
        lambda: "jti" not in said or (0 < len(said["jti"]) <= 256),
    ]
    return all(check() for check in texts)
