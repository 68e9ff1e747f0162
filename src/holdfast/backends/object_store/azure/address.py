"""Where a blob is on the wire, and what it is called in a signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.sigv4 import encode


@dataclass(frozen=True, slots=True)
class Address:
    """A container at a blob service."""

    account: str
    container: str
    service: str  #: URL without a slash at the end; at an emulator its path is the account
    base: str  #: the path of that URL

    @classmethod
    def of(cls, settings: AzureSettings, *, public: bool = False) -> Self:
        """Return where the container of `settings` is; with `public`, where the readers of links find it."""
        service = (settings.public_endpoint if public else "") or settings.service
        base = urlsplit(service).path.rstrip("/")
        return cls(settings.account_name, settings.container, service, base)

    def beside(self, other: Address) -> bool:
        """Tell whether `other` is in an account of the same service: of one cloud, or of one emulator."""
        return self._service == other._service

    def same_account(self, other: Address) -> bool:
        """Tell whether `other` is in the same account."""
        return (self.account, self.service) == (other.account, other.service)

    @property
    def _service(self) -> tuple[str, str]:
        """Scheme and host, without what in them is the account's name; unlike any other where that is not seen."""
        parts = urlsplit(self.service)
        name, _, rest = parts.netloc.lower().partition(".")
        if self.base.strip("/") == self.account:
            return parts.scheme, parts.netloc.lower()
        return parts.scheme, rest if name == self.account and rest else self.service

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return self.service[: len(self.service) - len(self.base)]

    def path(self, key: str | None) -> str:
        """Return the encoded path of `key`, of the container for "", of the service for None."""
        if key is None:
            return f"{self.base}/"
        if not key:
            return f"{self.base}/{encode(self.container)}"
        return f"{self.base}/{encode(self.container)}/{encode(key, keep='/')}"

    def resource(self, key: str) -> str:
        """Return what signed links call the blob: nothing encoded, and no emulator's path."""
        return f"/blob/{self.account}/{self.container}/{key}"
