"""A fake of Google Cloud Storage, made from its documentation; nobody has compared it with the service.

    with FakeGcs() as fake:
        store = open_gcs("gcs", GcsSettings.model_validate(fake.settings()), environment=...)
        fake.faults.add(Fault("status", status=503), times=3)

It speaks the part of the XML interface that a store needs (objects with generations, preconditions, CRC32C and MD5,
ranges, listings, uploads in parts, resumable sessions, signed URLs), the copy of the JSON interface, and gives tokens:
for the key of a service account, for a refresh token, for a federated identity, and as the metadata server.
What it holds can be looked at in `fake.bucket`; its clock can be handed in.

`python -m holdfast.testing.fakes.gcs` serves until its input ends and prints the settings as one line of JSON first;
`separate()` does that for a test that must not share its process with what it stores.
"""

from __future__ import annotations

from holdfast.testing.fakes.gcs.accounts import Accounts
from holdfast.testing.fakes.gcs.faults import Fault, Faults
from holdfast.testing.fakes.gcs.server import FakeGcs, separate
from holdfast.testing.fakes.gcs.state import Bucket, StoredObject

__all__ = ["Accounts", "Bucket", "FakeGcs", "Fault", "Faults", "StoredObject", "separate"]
