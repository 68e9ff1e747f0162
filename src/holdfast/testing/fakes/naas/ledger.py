"""Which keys the fake has given, and until when they hold."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Issued:
    """Keys that were given: for a prefix, until an end in microseconds since the epoch."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    prefix: str
    expires: int

    @property
    def expiration(self) -> str:
        """The end as Naas writes it."""
        moment = datetime.fromtimestamp(self.expires / _SECOND, UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%S%z")


class Ledger:
    """Gives keys and knows them again. Its clock is the machine's, moved by `advance`."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime  #: seconds for which new keys hold
        self.issued: list[Issued] = []
        self._known: dict[str, Issued] = {}
        self._ended: set[str] = set()
        self._ahead = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return microseconds since the epoch, by the fake's clock."""
        return time.time_ns() // 1000 + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the fake's clock."""
        self._ahead += int(seconds * _SECOND)

    def issue(self, prefix: str) -> Issued:
        """Return new keys for what is below `prefix`."""
        made = Issued(
            access_key=f"ASIA{secrets.token_hex(8).upper()}",
            secret_key=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(60),
            prefix=prefix,
            expires=self.now() + int(self.lifetime * _SECOND),
        )
        with self._lock:
            self.issued.append(made)
            self._known[made.access_key] = made
        return made

    def find(self, access_key: str) -> Issued | None:
        """Return the keys with that id."""
        return self._known.get(access_key)

    def holds(self, keys: Issued) -> bool:
        """Return whether keys still hold."""
        return keys.access_key not in self._ended and self.now() < keys.expires

    def end_all(self) -> None:
        """End all keys that were given so far, whatever was said about their end."""
        with self._lock:
            self._ended |= self._known.keys()
