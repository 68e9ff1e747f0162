"""Who may come in: accounts with keys, and the tokens that they, a machine or a federated identity are given."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_SECOND: Final = 1_000_000
_GRANTS: Final = "urn:ietf:params:oauth:grant-type:"
EMAIL: Final = "fake@project.iam.gserviceaccount.com"


@dataclass
class Accounts:
    """One service account, one person, one federated identity; and every token that was given."""

    now: Callable[[], int]
    life: int = 3600  #: seconds that a token holds
    subject: str = "subject-token"  #: what the federated identity shows
    refresh: str = "refresh-token"  #: what the person's program shows
    tokens: dict[str, int] = field(default_factory=dict)  #: with their end, in microseconds
    owners: dict[str, str] = field(default_factory=dict)  #: whose a token is: one of the kinds in `asked`
    asked: list[str] = field(default_factory=list)  #: the kinds of request for a token, in order
    refusing: str = ""  #: an error code with which every request for a token is refused

    def __post_init__(self) -> None:
        self._key = _key()

    def credential(self, token_uri: str) -> dict[str, str]:
        """Return the content of the service account's file."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account",
            "client_email": EMAIL,
            "private_key_id": "fake-key",
            "private_key": pem,
            "token_uri": token_uri,
        }

    def give(self, kind: str = "jwt-bearer") -> tuple[str, int]:
        """Return a new token for who proved to be of that kind, and the seconds that it holds."""
        token = f"fake-token-{len(self.tokens) + 1}"
        self.owners[token] = kind
        self.tokens[token] = self.now() + self.life * _SECOND
        return token, self.life

    def end_all(self) -> None:
        """Let every token that was given end now, before its time."""
        self.tokens = dict.fromkeys(self.tokens, 0)

    def knows(self, header: str) -> bool:
        """Return whether an Authorization header carries a token that holds."""
        kind, _, token = header.partition(" ")
        return kind.lower() == "bearer" and self.tokens.get(token, 0) > self.now()

    def owner(self, header: str) -> str:
        """Return whose token an Authorization header carries, "" for nobody's."""
        return self.owners.get(header.partition(" ")[2], "")

    def grant(self, form: Mapping[str, str], uri: str) -> tuple[int, dict[str, Any]]:
        """Return status and answer of the token endpoint."""
        kind = form.get("grant_type", "").removeprefix(_GRANTS)
        self.asked.append(kind)
        if self.refusing:
            return 400, {"error": self.refusing}
        proofs: dict[str, Callable[[], bool]] = {
            "jwt-bearer": lambda: self._proves(form.get("assertion", ""), uri),
            "refresh_token": lambda: form.get("refresh_token") == self.refresh,
            "token-exchange": lambda: form.get("subject_token") == self.subject and "audience" in form,
        }
        if kind not in proofs:
            return 400, {"error": "unsupported_grant_type"}
        if not proofs[kind]():
            return 400, {"error": "invalid_grant"}
        token, life = self.give(kind)
        return 200, {"access_token": token, "expires_in": life, "token_type": "Bearer"}

    def of_machine(self, flavor: str) -> tuple[int, dict[str, Any]]:
        """Return what the metadata server answers; without its header it refuses."""
        self.asked.append("metadata")
        if flavor != "Google":
            return 403, {}
        token, life = self.give("metadata")
        return 200, {"access_token": token, "expires_in": life, "token_type": "Bearer"}

    def impersonated(self) -> dict[str, Any]:
        """Return a token of the account for whoever may act as it."""
        self.asked.append("impersonate")
        token, life = self.give("impersonate")
        ends = datetime.fromtimestamp(self.now() // _SECOND + life, UTC)
        return {"accessToken": token, "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def sign(self, data: bytes) -> bytes:
        """Return the account's signature, as the IAM service gives it."""
        return self._key.sign(data, PKCS1v15(), hashes.SHA256())

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Return whether the account signed `data`."""
        try:
            self._key.public_key().verify(signature, data, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _proves(self, assertion: str, uri: str) -> bool:
        head, _, rest = assertion.partition(".")
        body, _, signature = rest.partition(".")
        try:
            header, claims = json.loads(_plain(head)), json.loads(_plain(body))
        except ValueError:
            return False
        seconds = self.now() // _SECOND
        return (
            header.get("alg") == "RS256"
            and (claims.get("iss"), claims.get("aud")) == (EMAIL, uri)
            and abs(seconds - claims.get("iat", 0)) < 300
            and seconds < claims.get("exp", 0) <= claims.get("iat", 0) + 3600
            and self.signed(f"{head}.{body}".encode(), _plain(signature))
        )


@cache
def _key() -> RSAPrivateKey:
    """Return the account's key, made once a process, since that takes long."""
    return generate_private_key(65537, 2048)


def _plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
