"""How the object-store library is told to travel, the same for every kind of server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Protocol

from holdfast.backends._http import RETRIED

#: Attributes that the library names itself; whatever else it shows is user metadata.
STANDARD: Final = frozenset(
    {
        *("Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language"),
        *("Cache-Control", "Storage-Class"),
    }
)
REST_SECONDS: Final = (
    0.05  #: the library's runtime may crash an interpreter that ends right after an awaited call
)
_NEVER: Final = timedelta(days=7)


class Travel(Protocol):
    """The settings that say how bytes travel."""

    @property
    def connect_timeout(self) -> float: ...

    @property
    def read_timeout(self) -> float: ...

    @property
    def verify_tls(self) -> bool: ...

    @property
    def retries(self) -> int: ...


def client_options(settings: Travel, *, plain: bool, authority: bytes = b"") -> Any:
    """Return the library's options of its HTTP client; `plain` allows http://, `authority` is a further CA, as PEM."""
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=settings.connect_timeout),
        "read_timeout": timedelta(seconds=settings.read_timeout),
        "timeout": _NEVER,
        "allow_http": plain,
        "allow_invalid_certificates": not settings.verify_tls,
        "pool_idle_timeout": timedelta(seconds=30),
    }
    if authority:
        options["root_certificate"] = authority
    return options


def retry_config(settings: Travel) -> Any:
    """Return how the library repeats requests: as often as `settings` say, and never after a long silence."""
    return {
        "max_retries": settings.retries,
        "retry_timeout": timedelta(seconds=RETRIED),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }
