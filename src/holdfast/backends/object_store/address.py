"""Where a key of the bucket is on the wire: host and percent-encoded path, in either addressing style."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from holdfast.backends.object_store.sigv4 import encode

if TYPE_CHECKING:
    from holdfast.backends.object_store.settings import S3Settings
    from holdfast.backends.object_store.usual import Usual

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A bucket at an endpoint."""

    scheme: str
    host: str  #: with the port unless it is the scheme's own, and with the bucket when that is the style
    root: str  #: encoded path of the bucket, without a slash at the end

    @classmethod
    def of(cls, settings: S3Settings | Usual, *, public: bool = False) -> Self:
        """Return where the bucket of `settings` is; with `public`, where the readers of links find it."""
        endpoint = (settings.public_endpoint if public else "") or settings.endpoint
        parts = urlsplit(endpoint or f"https://s3.{settings.server.region}.amazonaws.com")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        if parts.port and parts.port != _DEFAULT_PORTS[parts.scheme]:
            host = f"{host}:{parts.port}"
        base = parts.path.rstrip("/")
        if settings.addressing == "virtual":
            return cls(parts.scheme, f"{settings.bucket}.{host}", base)
        return cls(parts.scheme, host, f"{base}/{encode(settings.bucket)}")

    @property
    def url(self) -> str:
        """The URL of the bucket."""
        return f"{self.scheme}://{self.host}{self.root}"

    def path(self, key: str = "") -> str:
        """Return the encoded path of `key`, or of the bucket."""
        return f"{self.root}/{encode(key, keep='/')}" if key else (self.root or "/")
