"""A fake of Google Drive (API v3), made from its documentation and never compared with the service itself.

Comes in: requests of a driver, or of any client, on loopback. Goes out: what Google would answer, as far as files,
uploads, downloads, listings, shared drives, quotas and tokens go. Promises: names may be there twice, answers hold only
the `fields` that were asked for, sizes are text, sessions keep the rule of 256 KiB, tokens and sessions end by a clock
that a test may own. It misbehaves on demand: see `Faults`, `State.lag`, `State.page`, `State.token_life`.

    async with fake_drive() as fake:
        fake.state.add_person("me@example.org")
        token = fake.granting.add_consent("me@example.org", client_id="id", client_secret="secret")
        ...  # a driver with fake.api_base, fake.upload_base, fake.token_url
"""

from __future__ import annotations

from holdfast.testing.fakes.google_drive.faults import Asked, Fault, Faults
from holdfast.testing.fakes.google_drive.server import FakeDrive, fake_drive, serving
from holdfast.testing.fakes.google_drive.state import FOLDER, Item, Person, Session, State

__all__ = [
    "FOLDER",
    "Asked",
    "FakeDrive",
    "Fault",
    "Faults",
    "Item",
    "Person",
    "Session",
    "State",
    "fake_drive",
    "serving",
]
