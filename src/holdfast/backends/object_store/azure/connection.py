"""Connection strings, as the portal shows them: `AccountName=…;AccountKey=…` or `BlobEndpoint=…;SharedAccessSignature=…`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

_KNOWN = {
    "accountname",
    "accountkey",
    "blobendpoint",
    "sharedaccesssignature",
    "defaultendpointsprotocol",
    "endpointsuffix",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a connection string says; "" for what it does not."""

    account: str
    endpoint: str
    key: str = field(repr=False)
    sas: str = field(repr=False)


@lru_cache(maxsize=64)
def parse(text: str) -> Told:
    """Return what the connection string `text` says; `ValueError`, which repeats nothing of it, if it cannot be used."""
    values: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            values[name.lower()] = value
    if "usedevelopmentstorage" in values:
        raise ValueError("names the emulator; give its account, account_key and endpoint instead")
    found = {name: values.get(name, "") for name in _KNOWN}
    if bool(found["accountkey"]) == bool(found["sharedaccesssignature"]):
        raise ValueError("must hold an AccountKey or a SharedAccessSignature, and not both")
    endpoint = found["blobendpoint"].rstrip("/") or _built(found)
    account = found["accountname"] or _account(endpoint)
    if not account or not endpoint:
        raise ValueError("must hold an AccountName or a BlobEndpoint")
    return Told(account, endpoint, found["accountkey"], found["sharedaccesssignature"])


def _built(found: dict[str, str]) -> str:
    scheme = found["defaultendpointsprotocol"].lower() or "https"
    suffix = found["endpointsuffix"] or "core.windows.net"
    if scheme not in ("http", "https"):
        raise ValueError("DefaultEndpointsProtocol must be http or https")
    return f"{scheme}://{found['accountname']}.blob.{suffix}" if found["accountname"] else ""


def _account(endpoint: str) -> str:
    """Return the account that a URL names: its first label, or its path at an address."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https"):
        raise ValueError("BlobEndpoint must be a URL")
    return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]
