"""Yandex.Disk as a backend: one folder of one account, through the REST interface.

Comes in: `YandexDiskSettings`, and notes for the refresh token. Goes out: a `Backend` from `open_yandex_disk`, with
RANGE, COPY and FOLDERS, and IF_ABSENT where the operator asks for it.

Promises, beyond those of the protocol: a file is sent once, in one request, with a new link for each try; it is compared
by size, MD5 and SHA-256 before it gets its name; work that the service goes on with is waited for, and never taken to
have succeeded when it has not ended; a token that was renewed is not lost to another process; no token is in a message,
a repr or a log. Made from the documentation and from recorded answers: not yet tried with the real service.
"""

from __future__ import annotations

from holdfast.backends._http import Http, trusted
from holdfast.backends.yandex_disk.api import Api
from holdfast.backends.yandex_disk.backend import DiskRoom, YandexDiskBackend
from holdfast.backends.yandex_disk.oauth import Tokens
from holdfast.backends.yandex_disk.settings import YandexDiskSettings
from holdfast.core.clock import Environment
from holdfast.core.notes import MemoryNotes, Notes

__all__ = ["DiskRoom", "YandexDiskBackend", "YandexDiskSettings", "open_yandex_disk"]


def open_yandex_disk(
    name: str, settings: YandexDiskSettings, *, environment: Environment, notes: Notes | None = None
) -> YandexDiskBackend:
    """Return the store `name` in the Disk of `settings`; nothing is sent yet.

    Without `notes` a renewed token ends with the process.

    Raises:
        ConfigError: a file of `settings` cannot be read.
    """
    requests, downloads = _session(name, settings, environment), _session(name, settings, environment)
    tokens = Tokens(name, settings, requests, notes or MemoryNotes(), environment)
    api = Api(name, settings, requests, tokens, environment)
    return YandexDiskBackend(name, settings, api=api, downloads=downloads, environment=environment)


def _session(name: str, settings: YandexDiskSettings, environment: Environment) -> Http:
    tls = trusted(name, verify=settings.verify_tls, ca_file=settings.ca_file)
    return Http(
        name,
        environment,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.request_timeout,
        tls=tls,
        connections=settings.connections,
    )
