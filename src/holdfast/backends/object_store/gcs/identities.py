"""Who we are to Google: what the settings, a credential file or the machine say, as a function that fetches a token."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from holdfast.backends._credentials.file import read_private
from holdfast.backends._http import Http
from holdfast.backends.object_store.gcs.exchanges import Exchange, Fetch, Token, subject_reader
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.backends.object_store.gcs.signing import IamSigner, KeySigner, Signer
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.core.renewing import Renewing

_GIVES_TOKENS: Final = "https://oauth2.googleapis.com/token"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Identity:
    """How tokens are fetched, and by what links are signed."""

    fetch: Fetch
    exchange: Exchange
    iam: str
    sign_as: str = ""
    key: KeySigner | None = None

    def signer(self, tokens: Renewing[Token]) -> Signer | None:
        """Return what signs links: the account's own key, or the IAM service in the name of `sign_as`."""
        if self.sign_as:
            return IamSigner(self.sign_as, self.iam, self.exchange, tokens)
        return self.key


def identity(
    settings: GcsSettings,
    http: Http,
    environment: Environment,
    *,
    home: Path,
    environ: Mapping[str, str] = os.environ,
) -> Identity:
    """Return who `settings` say that we are.

    Without a file or JSON among them that is, as for Google's own programs: the file that GOOGLE_APPLICATION_CREDENTIALS
    names, the one that `gcloud auth application-default login` wrote, the account of the machine.

    Raises:
        ConfigError: a file that cannot be read or is no credential.
    """
    exchange = Exchange(http, environment.clock)
    text = settings.credentials_json.get_secret_value()
    path = settings.credentials_file
    if not text and path is None and settings.credentials == "auto":
        path = _default_file(home, environ)
    if path is not None:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the credential file {path.name} cannot be read: {getattr(error, 'strerror', '') or 'no text'}",
                operation="open",
                store=http.store,
            ) from error
        if path == settings.credentials_file:
            _check_private(path, text, http.store)
    if not text:
        fetch = partial(exchange.of_machine, settings.metadata_host, meant=settings.credentials == "metadata")
        return Identity(fetch, exchange, settings.iam_endpoint, settings.sign_as)
    return _Document(text, http.store, exchange, settings).identity()


def _check_private(path: Path, text: str, store: str) -> None:
    """Raise `ConfigError` for a file with a secret in it that other users can read."""
    if '"external_account"' in text:  # says where an identity is found, and holds none
        return
    try:
        read_private(path, "credentials_file")
    except ConfigError as error:
        raise ConfigError(error.message, operation="open", store=store) from None


def _default_file(home: Path, environ: Mapping[str, str]) -> Path | None:
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return Path(named)
    folder = environ.get("CLOUDSDK_CONFIG")
    usual = (Path(folder) if folder else home / ".config" / "gcloud") / "application_default_credentials.json"
    return usual if usual.is_file() else None


class _Document:
    """A credential file, read once."""

    def __init__(self, text: str, store: str, exchange: Exchange, settings: GcsSettings) -> None:
        self._store, self._exchange, self._settings = store, exchange, settings
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._wrong("it is not JSON")
        self._document: dict[str, Any] = found

    def identity(self) -> Identity:
        """Return whom the file is of."""
        kind = self._document.get("type")
        if kind == "service_account":
            return self._of_account()
        if kind == "authorized_user":
            uri = self._url("token_uri", _GIVES_TOKENS)
            client, secret = self._text("client_id"), self._text("client_secret")
            refresh = self._text("refresh_token")
            return self._made(partial(self._exchange.refreshed, client, secret, refresh, uri))
        if kind == "external_account":
            return self._of_federation()
        raise self._wrong("its type is not service_account, external_account or authorized_user")

    def _of_account(self) -> Identity:
        email, key_id = self._text("client_email"), str(self._document.get("private_key_id") or "")
        uri = self._url("token_uri", _GIVES_TOKENS)
        try:
            key = load_pem_private_key(self._text("private_key").encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise self._wrong("its private_key is not a key") from None
        if not isinstance(key, RSAPrivateKey):
            raise self._wrong("its private_key is not an RSA key")
        return self._made(partial(self._exchange.signed, email, key_id, key, uri), KeySigner(email, key))

    def _of_federation(self) -> Identity:
        for name in ("audience", "subject_token_type"):
            self._text(name)
        self._url("token_url")
        source = self._document.get("credential_source")
        if not isinstance(source, dict):
            raise self._wrong("it has no credential_source")
        read = subject_reader(self._exchange, source, self._store)
        asked = "service_account_impersonation_url"
        impersonate = self._url(asked) if self._document.get(asked) else ""

        async def fetch() -> Token:
            return await self._exchange.federated(self._document, await read(), impersonate)

        return self._made(fetch)

    def _made(self, fetch: Fetch, key: KeySigner | None = None) -> Identity:
        return Identity(fetch, self._exchange, self._settings.iam_endpoint, self._settings.sign_as, key)

    def _text(self, name: str) -> str:
        value = self._document.get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(f"it has no {name}")
        return value

    def _url(self, name: str, default: str = "") -> str:
        """Return an address that secrets are sent to: encrypted, or on this machine and allowed."""
        value = str(self._document.get(name) or default)
        parts = urlsplit(value)
        near = self._settings.allow_http and parts.hostname in _LOOPBACK
        if parts.scheme != "https" and not (parts.scheme == "http" and near):
            raise self._wrong(f"its {name} is not an https:// URL")
        return value

    def _wrong(self, text: str) -> ConfigError:
        return ConfigError(
            f"the credential is not one of Google Cloud: {text}", operation="open", store=self._store
        )
