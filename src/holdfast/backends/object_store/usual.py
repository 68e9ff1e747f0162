"""A bucket as most name it on a command line: where it is, and keys from the environment.

To know that much in full, and to look into the bucket, nobody has to wait for the start of what checks all settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdfast.backends.object_store.dialects import Dialect, region_of, told_by

_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}"
_ENDPOINT: Final = re.compile(rf"(?:(https?)://[A-Za-z0-9][A-Za-z0-9.-]{{0,252}}(?::(?:{_PORT}))?)?")
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_REGION: Final = re.compile(r"[a-z0-9-]{0,40}")
_SAID: Final = frozenset({"bucket", "endpoint", "region", "credentials", "allow_http", "ca_file"})


class Usual(NamedTuple):
    """What `S3Settings` would say of such a bucket, as far as one must know it to look."""

    bucket: str
    endpoint: str
    server: Dialect
    ca_file: Path | None = None
    prefix: str = ""
    addressing: str = "path"
    public_endpoint: str = ""
    verify_tls: bool = True
    connect_timeout: float = 5.0
    read_timeout: float = 45.0
    retries: int = 2
    sse: str = "none"
    per_tenant: bool = False

    @property
    def tls(self) -> bool:
        """Whether requests travel encrypted."""
        return not self.endpoint.startswith("http://")


def usual(values: Mapping[str, Any]) -> Usual | None:
    """Return what these settings mean; None when there is anything in them that `S3Settings` should look at."""
    if values.keys() - _SAID or values.get("credentials") != "environment":
        return None
    bucket, endpoint, region = said = [values.get(name, "") for name in ("bucket", "endpoint", "region")]
    trusted = values.get("ca_file")
    if not all(isinstance(value, str) for value in (*said, trusted or "")) or trusted == "":
        return None
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None or not (_BUCKET.fullmatch(bucket) and _REGION.fullmatch(region)):
        return None
    if found[1] == "http" and values.get("allow_http") is not True:
        return None
    row = told_by(endpoint)
    row = row._replace(region=region or region_of(endpoint) or row.region)
    return Usual(bucket, endpoint, row, Path(trusted) if trusted else None)
