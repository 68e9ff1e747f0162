"""Google Cloud Storage as a backend, by its own protocol; with an HMAC pair by its S3 dialect.

Comes in: `GcsSettings`. Goes out: a `Backend` from `open_gcs`.

Promises, beyond those of the protocol: every write is sent with its CRC32C and compared with the one that the store
reports; a large body that must not replace anything goes through a session that takes that condition, since parts
take none; tokens are fetched ahead of their end, once for all who wait, and anew when the store no longer takes them;
no token, key or session address is in a message, a repr or a log.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.backends._http import Http, trusted
from holdfast.backends.object_store.gcs.backend import GcsBackend
from holdfast.backends.object_store.gcs.client import GcsClient
from holdfast.backends.object_store.gcs.driver import GcsDriver
from holdfast.backends.object_store.gcs.identities import identity
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.core.renewing import Renewing

__all__ = ["GcsBackend", "GcsSettings", "open_gcs"]


def open_gcs(name: str, settings: GcsSettings, *, environment: Environment) -> Backend:
    """Return the store `name` in the bucket of `settings`; nothing is sent yet.

    Raises:
        ConfigError: a file that cannot be read or is no credential, a value that the client library refuses.
    """
    if settings.hmac_key:
        return _by_hmac(name, settings, environment)
    tls = trusted(name, verify=settings.verify_tls, ca_file=settings.ca_file)
    authority = settings.ca_file.read_bytes() if settings.ca_file else b""
    http = Http(
        name,
        environment,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        tls=tls,
    )
    who = identity(settings, http, environment, home=Path.home())
    tokens = Renewing(who.fetch, clock=environment.clock)
    driver = GcsDriver(name, settings, tokens, authority)
    client = GcsClient(name, settings, tokens, http, environment)
    signer = who.signer(tokens)
    return GcsBackend(name, settings, driver=driver, client=client, signer=signer, environment=environment)


def _by_hmac(name: str, settings: GcsSettings, environment: Environment) -> Backend:
    from holdfast.backends.object_store import S3Settings, open_s3

    values = {
        **settings.common(),
        "dialect": "gcs",
        "endpoint": settings.endpoint,
        "access_key": settings.hmac_key,
        "secret_key": settings.hmac_secret,
    }
    return open_s3(name, S3Settings.model_validate(values), environment=environment)
