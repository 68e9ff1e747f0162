"""Google Drive (API v3) as a backend: a folder of My Drive, or of a shared drive.

Comes in: `GoogleDriveSettings`, and `Notes` to remember under which id Drive knows a name. Goes out: a `Backend` from
`open_google_drive`.

Promises, beyond those of the protocol: a file is written once and never changed, so whoever reads an id reads one
content; the id is noted before the file is made, so what a broken call left behind is known by its id and needs no
search; of two processes that share notes one wins a name. Names travel in `appProperties`, so an index that was lost is
found again. What Drive has more than once counts as the newest generation, of these the oldest, of these the least id.
"""

from __future__ import annotations

from holdfast.backends.google_drive.backend import GoogleDriveBackend
from holdfast.backends.google_drive.settings import GoogleDriveSettings
from holdfast.backends.google_drive.tokens import tokens
from holdfast.core.clock import Environment
from holdfast.core.notes import Notes

__all__ = ["GoogleDriveBackend", "GoogleDriveSettings", "open_google_drive"]


def open_google_drive(
    name: str, settings: GoogleDriveSettings, *, environment: Environment, notes: Notes
) -> GoogleDriveBackend:
    """Return the store `name` in the folder of `settings`; nothing is sent yet.

    Raises:
        ConfigError: `ca_file` cannot be read, or the service account's key is none.
    """
    from holdfast.backends._http import Http, trusted

    tls = trusted(name, verify=settings.verify_tls, ca_file=settings.ca_file)
    http = Http(
        name,
        environment,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        tls=tls,
        connections=settings.connections,
    )
    source = tokens(name, settings, http, environment)
    return GoogleDriveBackend(name, settings, http=http, source=source, notes=notes, environment=environment)
