"""The variables and settings of hybrid storage, as its description gives them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.app import _engine_settings
from holdfast.backends import registry
from holdfast.config import Settings, legacy, load
from holdfast.config.settings import origins
from holdfast.core.errors import ConfigError
from holdfast.policy.artifacts import KINDS, Naming, kind_for, kind_of

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name in legacy.VARIABLES or name.startswith(("MINIO_", "HOLDFAST_", "OBJECT_STORAGE_")):
            monkeypatch.delenv(name)


EXAMPLE = {
    "MINIO_ROOT_USER": "opsconductor",
    "MINIO_ROOT_PASSWORD": "opsconductor_minio_2024_secure",
    "MINIO_ENDPOINT": "http://minio:9000",
    "MINIO_SECURE": "false",
    "MINIO_REGION": "us-east-1",
    "OBJECT_STORAGE_ENABLED": "true",
    "OBJECT_STORAGE_SIZE_THRESHOLD": "64KB",
    "OBJECT_STORAGE_BUCKET_PREFIX": "opsconductor",
}


def naming_of(settings: Settings) -> Naming:
    """As the engine is given it."""
    return _engine_settings(settings).artifact_buckets


def _set(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_the_example_of_the_hybrid_storage_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, **EXAMPLE)
    settings = load()
    assert settings.placement.inline == 65536
    assert settings.artifacts.make_buckets
    assert [naming_of(settings).bucket(kind) for kind in KINDS] == [
        "opsconductor-executions",
        "opsconductor-artifacts",
        "opsconductor-logs",
        "opsconductor-temp",
        "opsconductor-backups",
    ]
    store = settings.all_stores["minio"]
    shown = registry.parse(store.driver, store.driver_settings).model_dump()
    assert (shown["endpoint"], shown["bucket"]) == ("http://minio:9000", "opsconductor-artifacts")
    assert (shown["access_key"], shown["region"]) == ("opsconductor", "us-east-1")
    known = origins(None, {})
    assert known.of("placement.inline") == "OBJECT_STORAGE_SIZE_THRESHOLD"
    assert known.of("artifacts.prefix") == "OBJECT_STORAGE_BUCKET_PREFIX"
    assert known.of("artifacts.make_buckets") == "OBJECT_STORAGE_ENABLED"
    assert known.of("stores.minio.bucket") == "OBJECT_STORAGE_BUCKET_PREFIX"


@pytest.mark.parametrize(
    ("threshold", "inline"), [("64KB", 65536), ("0", 0), ("1MB", 1 << 20), ("1000", 1000)]
)
def test_thresholds(monkeypatch: pytest.MonkeyPatch, threshold: str, inline: int) -> None:
    _set(monkeypatch, OBJECT_STORAGE_SIZE_THRESHOLD=threshold)
    assert load().placement.inline == inline


def test_the_settings_of_the_execution_service(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(
        monkeypatch,
        object_storage_enabled="True",
        object_storage_size_threshold="32KB",
        object_storage_artifacts_bucket="team-artifacts",
    )
    settings = load()
    assert settings.artifacts.make_buckets
    assert settings.placement.inline == 32768
    assert naming_of(settings).bucket("artifacts") == "team-artifacts"
    assert naming_of(settings).bucket("logs") == "opsconductor-logs"
    assert origins(None, {}).of("artifacts.bucket") == "object_storage_artifacts_bucket"


def test_what_is_off_or_missing_makes_no_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load().artifacts.make_buckets
    _set(monkeypatch, OBJECT_STORAGE_ENABLED="false", OBJECT_STORAGE_BUCKET_PREFIX="acme")
    settings = load()
    assert not settings.artifacts.make_buckets
    assert settings.artifacts.prefix == "acme"
    _set(monkeypatch, MINIO_BUCKET="bytes", **{**EXAMPLE, "OBJECT_STORAGE_ENABLED": "false"})
    assert load().all_stores["minio"].driver_settings["bucket"] == "bytes"
    monkeypatch.delenv("MINIO_BUCKET")
    assert load().all_stores["minio"].driver_settings["bucket"] == "tensorfleet"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OBJECT_STORAGE_ENABLED": "perhaps"}, "OBJECT_STORAGE_ENABLED must be true or false"),
        ({"OBJECT_STORAGE_SIZE_THRESHOLD": "much"}, "OBJECT_STORAGE_SIZE_THRESHOLD"),
        ({"OBJECT_STORAGE_BUCKET_PREFIX": "No Such"}, "OBJECT_STORAGE_BUCKET_PREFIX"),
        ({"HOLDFAST_ARTIFACTS__ROOTS": "old/files"}, "HOLDFAST_ARTIFACTS__ROOTS"),
        ({"HOLDFAST_ARTIFACTS__ROOTS": "/"}, "HOLDFAST_ARTIFACTS__ROOTS"),
        ({"HOLDFAST_ARTIFACTS__BUCKET": "X"}, "HOLDFAST_ARTIFACTS__BUCKET"),
    ],
)
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    _set(monkeypatch, **variables)
    with pytest.raises(ConfigError, match=said):
        load()


def test_own_settings_go_before_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, HOLDFAST_ARTIFACTS__PREFIX="mine", HOLDFAST_ARTIFACTS__ROOTS="/srv/a,/srv/b", **EXAMPLE)
    settings = load()
    assert settings.artifacts.prefix == "mine"
    assert settings.artifacts.make_buckets
    assert settings.artifacts.roots == ("/srv/a", "/srv/b")


def test_which_bucket_takes_what() -> None:
    assert kind_for("report", "permanent") == "artifacts"
    assert kind_for("LOG", "") == "logs"
    assert kind_for("stdout", "") == "executions"
    assert kind_for("log", "temporary") == "temp"
    assert kind_for("report", "archived") == "backups"
    assert kind_of("opsconductor-logs") == "logs"
    assert kind_of("logs") == kind_of("my-photos") == ""
    told = {
        name: (kind.retention_days, kind.max_object_size, kind.max_bytes, kind.versioning)
        for name, kind in KINDS.items()
    }
    gib = 1 << 30
    assert told == {
        "executions": (365, gib, 100 * gib, False),
        "artifacts": (730, 5 * gib, 500 * gib, True),
        "logs": (90, 100 << 20, 10 * gib, False),
        "temp": (7, gib, 50 * gib, False),
        "backups": (2555, 10 * gib, 1 << 40, True),
    }
