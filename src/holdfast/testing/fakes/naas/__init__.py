"""A fake of Naas storage, made from documentation and from the code of its clients, not from the service.

Two servers on loopback. The *API* gives keys to whoever shows the API key. The *gate* is an S3 endpoint that believes these
keys and no others, until they end, below their prefix; what it lets through it signs anew for a real S3 server behind it.

    with running(server) as naas:            # `server` from `holdfast.testing.servers`
        ...                                  # naas.api_url, naas.s3_url, naas.api_key, naas.workspace_id
        naas.advance(3600)                   # the keys that were given have ended
        naas.api.script(Status(503), Lost())

The contract: the bearer key is checked (401); an unknown workspace is 404, and so is an address with a doubled slash; an
unknown storage is `error.error = 2`; `endpoint_url` is an `s3://` address; the gate checks key, secret (by the signature),
session token and end (`ExpiredToken`), and answers 403 outside of the prefix.
"""

from __future__ import annotations

from holdfast.testing.fakes.naas.faults import Changed, Fault, Garbage, Half, Lost, Script, Status
from holdfast.testing.fakes.naas.ledger import Issued, Ledger
from holdfast.testing.fakes.naas.server import NaasFake, Upstream, running

__all__ = [
    "Changed",
    "Fault",
    "Garbage",
    "Half",
    "Issued",
    "Ledger",
    "Lost",
    "NaasFake",
    "Script",
    "Status",
    "Upstream",
    "running",
]
