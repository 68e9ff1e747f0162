"""Which drivers there are, and what wrong settings are told."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from holdfast.backends import registry
from holdfast.backends.local import LocalSettings
from holdfast.backends.memory import MemoryBackend, MemorySettings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

pytestmark = pytest.mark.unit


class Settings(BaseModel, extra="forbid"):
    token: SecretStr
    depth: int = 1


OURS = ("azure", "gcs", "google_drive", "local", "memory", "naas", "s3", "yandex_disk")
FOREIGN = registry.Driver(Settings, lambda store, settings, *, environment: MemoryBackend(store))


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings the drivers `foreign`, `odd` and `gone`, and tries to replace `local`."""
    here = __name__
    entries = [
        importlib.metadata.EntryPoint(name, f"{target}", registry.GROUP)
        for name, target in (
            ("foreign", f"{here}:FOREIGN"),
            ("odd", f"{here}:Settings"),
            ("gone", f"{here}:NOTHING"),
            ("local", f"{here}:FOREIGN"),
        )
    ]

    def found(*, group: str, name: str | None = None) -> list[importlib.metadata.EntryPoint]:
        assert group == registry.GROUP
        return [entry for entry in entries if name in (None, entry.name)]

    monkeypatch.setattr(registry, "entry_points", found)


def test_the_drivers_that_come_with_us() -> None:
    assert registry.drivers() == OURS
    assert registry.driver("local").settings is LocalSettings
    assert registry.driver("s3").settings.__name__ == "S3Settings"


def test_a_store_is_opened_by_its_driver(tmp_path: Path) -> None:
    settings = registry.parse("local", {"path": str(tmp_path)})
    backend = registry.open_backend("disk", "local", settings, environment=Environment())
    assert backend.store == "disk"


def test_a_driver_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=rf"no driver 'ftp'; use one of {', '.join(OURS)}"):
        registry.driver("ftp")


def test_wrong_settings_are_named_and_their_values_are_not() -> None:
    with pytest.raises(ConfigError, match=r"driver local: setting path: Field required"):
        registry.parse("local", {})
    with pytest.raises(ConfigError, match=r"setting threads: .*greater than or equal to 1"):
        registry.parse("local", {"path": "/tmp", "threads": 0})
    with pytest.raises(ConfigError, match=r"setting colour: there is no such setting$"):
        registry.parse("memory", {"colour": "red"})
    with pytest.raises(ConfigError, match=r"setting buckets: .*; did you mean bucket\?"):
        registry.parse("gcs", {"bucket": "blobs", "buckets": "canary-secret"})
    with pytest.raises(
        ConfigError, match=r"setting container: .* the container that holds the blobs"
    ) as caught:
        registry.parse("azure", {"container": "CANARY", "account": "a", "account_key": "YQ=="})
    assert not {"CANARY", "canary-secret", "^"} & set(str(caught.value).split())


def test_settings_of_another_driver_are_refused() -> None:
    with pytest.raises(ConfigError, match="LocalSettings"):
        registry.open_backend("disk", "local", MemorySettings(), environment=Environment())


@pytest.mark.usefixtures("foreign")
def test_drivers_of_others() -> None:
    assert registry.drivers() == tuple(sorted((*OURS, "foreign", "gone", "odd")))
    settings = registry.parse("foreign", {"token": "canary-secret"})
    assert registry.open_backend("theirs", "foreign", settings, environment=Environment()).store == "theirs"
    assert registry.driver("local").settings is LocalSettings
    with pytest.raises(ConfigError, match="not a Driver"):
        registry.driver("odd")
    with pytest.raises(ConfigError, match="does not load"):
        registry.driver("gone")
    with pytest.raises(ConfigError) as caught:
        registry.parse("foreign", {"token": "canary-secret", "depth": "canary-secret"})
    assert "canary-secret" not in str(caught.value)
    assert "setting depth" in str(caught.value)
