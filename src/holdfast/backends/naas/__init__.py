"""Storage of a Naas workspace as a backend: Naas gives keys that end, S3 holds the bytes.

Comes in: `NaasSettings`. Goes out: a `Backend` from `open_naas`. It is an S3 store whose bucket, prefix, region and keys
are what Naas answered last; so nothing is known, and nothing sent, before the first call. Promises: those of the S3 store,
and that keys are held in memory only, fetched ahead of their end, once for all who wait.
"""

from __future__ import annotations

from holdfast.backends.naas.answer import Answer
from holdfast.backends.naas.backend import NaasBackend
from holdfast.backends.naas.client import NaasClient
from holdfast.backends.naas.settings import NaasSettings
from holdfast.core.clock import Environment

__all__ = ["Answer", "NaasBackend", "NaasClient", "NaasSettings", "open_naas"]


def open_naas(name: str, settings: NaasSettings, *, environment: Environment) -> NaasBackend:
    """Return the store `name` in a Naas workspace; nothing is sent yet.

    Raises:
        ConfigError: a file that cannot be read, or a value that the S3 store refuses.
    """
    return NaasBackend(name, settings, NaasClient(name, settings, environment), environment)
