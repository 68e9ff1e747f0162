"""The settings of a store put together: plain and secret ones parted, checked by their driver, sealed when they change."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.records import Connection
from holdfast.engine.known_stores import MASK
from holdfast.engine.sealing import Sealer, fields_of
from holdfast.engine.secrets import RootSecret
from holdfast.engine.stores import PATH, Drivers, Stores


class StoreSettings:
    """What `settings` of a store mean, by the drivers and with the keys of `stores`."""

    def __init__(self, stores: Stores, secret: RootSecret) -> None:
        self._stores, self._secret = stores, secret

    def changed(
        self, held: Connection, driver: str | None, given: Mapping[str, Any], whole: bool
    ) -> Connection:
        """Return `held` with other settings; nothing is sealed anew where the secrets stay as they are."""
        kind = driver or held.driver
        old_secrets = self._secrets(held, kind, given, lost=whole)
        before = {} if whole else {**held.settings, **(old_secrets or {})}
        new_plain, new_secrets = self.parted(kind, present({**before, **given}))
        self.check(kind, {**new_plain, **new_secrets})
        fingerprint = self.fingerprint(held.name, kind, new_plain, new_secrets)
        if fingerprint == held.fingerprint and old_secrets is not None:
            return held
        same = new_secrets == old_secrets
        return replace(
            held,
            driver=kind,
            settings=new_plain,
            sealed=held.sealed if same else self.sealer.seal(held.name, new_secrets),
            fingerprint=fingerprint,
            trouble="",
        )

    def _secrets(
        self, held: Connection, driver: str, given: Mapping[str, Any], *, lost: bool
    ) -> dict[str, Any] | None:
        """Return the secrets that are held; None when they cannot be opened and are all given anew."""
        try:
            return self.sealer.open(held.name, held.sealed)
        except ConfigError as error:
            missing = set() if lost else self._lost(held, driver) - set(given)
            if not missing:
                return None
            names = ", ".join(sorted(missing))
            raise ConfigError(f"{error.message} (still to be given: {names}; null for none)") from None

    def _lost(self, held: Connection, driver: str) -> set[str]:
        """Return what a record that cannot be opened may hold: what it names, else every secret of the driver."""
        with suppress(ConfigError):
            if named := set(fields_of(held.name, held.sealed)):
                return named
        return self._secret_names(driver)

    def parted(self, driver: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the plain and the secret ones of some settings."""
        names = self._secret_names(driver)
        plain = {name: value for name, value in given.items() if name not in names}
        secrets = {name: value for name, value in given.items() if name in names}
        for name, value in secrets.items():
            if value == MASK:
                raise InvalidRequestError(
                    f"the setting {name} is what stands for a secret when it is shown; leave it out to keep the"
                    " one that there is, or give the secret itself"
                )
        return plain, secrets

    def _secret_names(self, driver: str) -> set[str]:
        try:
            return {field.name for field in self.drivers.fields(driver) if field.secret}
        except ConfigError as error:
            raise InvalidRequestError(error.message) from error

    def check(self, driver: str, values: Mapping[str, Any]) -> None:
        """Raise `InvalidRequestError` when `values` are no settings of the driver."""
        try:
            json.dumps(dict(values))
            self.drivers.check(driver, values)
        except ConfigError as error:
            raise InvalidRequestError(error.message) from error
        except (TypeError, ValueError):
            raise InvalidRequestError("settings are text, numbers, truth values, lists and tables") from None
        for field in self.drivers.fields(driver):
            path = values.get(field.name)
            if field.kind == PATH and isinstance(path, str) and not PurePath(path).is_absolute():
                raise InvalidRequestError(
                    f"the setting {field.name} must be an absolute path: each process has a working directory of its own"
                )

    def fingerprint(
        self, name: str, driver: str, plain: Mapping[str, Any], secrets: Mapping[str, Any]
    ) -> str:
        """Return what stands for driver and settings; nobody without the secret of the service can guess any from it."""
        said = json.dumps([driver, dict(plain), dict(secrets)], sort_keys=True)
        key = self._secret.derive("fingerprints of stores", name)
        return hmac.digest(key, said.encode(), hashlib.sha256).hex()[:32]

    @property
    def drivers(self) -> Drivers:
        """The drivers; `ConfigError` when the engine has none."""
        if self._stores.drivers is None:
            raise ConfigError(
                "this engine was opened without drivers, so it has the stores it was given and no others"
            )
        return self._stores.drivers

    @property
    def sealer(self) -> Sealer:
        """What seals secrets; `ConfigError` when the engine has none."""
        if self._stores.sealer is None:
            raise ConfigError("this engine was opened without keys to seal the secrets of stores with")
        return self._stores.sealer


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without those that are None."""
    return {name: value for name, value in values.items() if value is not None}
