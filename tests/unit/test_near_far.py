"""The variables of two stores, one near and one far, and of the single store before them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.backends import registry
from holdfast.config import Settings, legacy, load
from holdfast.config.near_far import VARIABLES
from holdfast.config.settings import origins
from holdfast.core.errors import ConfigError

pytestmark = pytest.mark.unit

TWO = {
    "INTERNAL_STORAGE_ENDPOINT": "http://localhost:30900",
    "INTERNAL_STORAGE_ACCESS_KEY": "near-key",
    "INTERNAL_STORAGE_SECRET_KEY": "near-secret",
    "EXTERNAL_STORAGE_ENDPOINT": "https://abc.r2.cloudflarestorage.com",
    "EXTERNAL_STORAGE_ACCESS_KEY": "far-key",
    "EXTERNAL_STORAGE_SECRET_KEY": "far-secret",
    "INTERNAL_BUCKET_WEIGHTS": "model-weights",
    "INTERNAL_BUCKET_CHECKPOINTS": "training-checkpoints",
    "INTERNAL_BUCKET_SCHEMAS": "config-schemas",
    "EXTERNAL_BUCKET_DATASETS": "training-datasets",
}
ONE = {
    "AWS_S3_ENDPOINT_URL": "http://localhost:30900",
    "S3_BUCKET_DATASETS": "training-datasets",
    "AWS_ACCESS_KEY_ID": "old-key",
    "AWS_SECRET_ACCESS_KEY": "old-secret",
}


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name in legacy.VARIABLES or name.startswith(("MINIO_", "HOLDFAST_", "AWS_")):
            monkeypatch.delenv(name)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load()


def driver(settings: Settings, store: str) -> dict[str, object]:
    found = settings.all_stores[store]
    return registry.parse(found.driver, found.driver_settings).model_dump()


def test_two_stores_and_where_each_bucket_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, **TWO, MINIO_ACCESS_KEY="another", MINIO_SECRET_KEY="another-secret")
    assert set(settings.all_stores) == {
        "internal",
        "external",
    }  # the keys of a server beside us make no third one
    assert settings.all_stores["internal"].labels == {"internal", "hot"}
    assert settings.all_stores["external"].labels == {"external", "cold"}
    near, far = driver(settings, "internal"), driver(settings, "external")
    assert (near["endpoint"], near["region"], near["bucket"], near["access_key"]) == (
        "http://localhost:30900",
        "us-east-1",
        "model-weights",
        "near-key",
    )
    assert (far["endpoint"], far["region"], far["bucket"], far["access_key"]) == (
        "https://abc.r2.cloudflarestorage.com",
        "auto",
        "training-datasets",
        "far-key",
    )
    assert settings.buckets == (
        "model-weights",
        "training-checkpoints",
        "config-schemas",
        "training-datasets",
    )
    rules = {rule.name: rule for rule in settings.placement.rules}
    assert list(rules["external"].stores) == ["external"]
    assert list(rules["external"].match.buckets) == ["training-datasets"]
    assert list(rules["internal"].match.buckets) == [
        "model-weights",
        "training-checkpoints",
        "config-schemas",
    ]
    assert settings.placement_stores == ("internal",)


def test_the_provider_is_swapped_by_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    before = loaded(monkeypatch, **TWO)
    after = loaded(monkeypatch, EXTERNAL_STORAGE_ENDPOINT="https://s3.eu-west-1.amazonaws.com")
    assert driver(after, "external")["endpoint"] == "https://s3.eu-west-1.amazonaws.com"
    assert after.all_stores["internal"] == before.all_stores["internal"]
    assert after.placement == before.placement


@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [("AWS_S3_ENDPOINT_URL", "S3_BUCKET_DATASETS"), ("S3_ENDPOINT", "R2_BUCKET_NAME")],
)
def test_the_single_server_of_before_serves_for_both(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, bucket: str
) -> None:
    settings = loaded(
        monkeypatch,
        **{
            endpoint: "http://localhost:30900",
            bucket: "everything",
            "AWS_ACCESS_KEY_ID": "old-key",
            "AWS_SECRET_ACCESS_KEY": "old-secret",
        },
    )
    near, far = driver(settings, "internal"), driver(settings, "external")
    for name in ("endpoint", "bucket", "access_key", "secret_key"):
        assert near[name] == far[name]
    assert (near["bucket"], near["access_key"]) == ("everything", "old-key")
    assert near["prefix"] != far["prefix"]  # so that nothing of the one is taken for the other's
    assert origins(None, {}).of("stores.external.endpoint") == endpoint


def test_one_store_of_its_own_and_the_other_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    far = {name: value for name, value in TWO.items() if name.startswith("EXTERNAL_")}
    settings = loaded(monkeypatch, **far, **ONE)
    assert driver(settings, "external")["access_key"] == "far-key"
    assert driver(settings, "internal")["access_key"] == "old-key"


def test_a_stray_endpoint_makes_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, S3_ENDPOINT="http://localhost:9000", AWS_ACCESS_KEY_ID="x")
    assert tuple(settings.all_stores) == ("local",)
    assert settings.buckets == ()


def test_an_error_can_name_the_variable_of_the_bucket() -> None:
    assert legacy.bucket_variables(TWO, "internal") == "INTERNAL_STORAGE_BUCKET or INTERNAL_BUCKET_WEIGHTS"
    assert legacy.bucket_variables({}, "internal") == ""
    asked = {"STORAGE_TYPE": "minio"}
    assert legacy.bucket_variables(asked, "minio") == "MINIO_BUCKET or DEFAULT_BUCKET"
    assert legacy.bucket_variables({}, "minio") == "", "a store of the configuration may be called so too"


def test_what_is_configured_otherwise_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("holdfast.toml").write_text('[stores.mine]\ndriver = "memory"\n')
    assert tuple(loaded(monkeypatch, **TWO).all_stores) == ("mine",)
    Path("holdfast.toml").write_text('[placement]\nstores = ["external"]\n')
    settings = load()
    assert settings.placement_stores == ("external",)
    assert settings.placement.rules == ()


def test_secrets_come_from_files_and_are_warned_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "far"
    secret.write_text("from-a-file\n")
    secret.chmod(0o600)
    without = {name: value for name, value in TWO.items() if name != "EXTERNAL_STORAGE_SECRET_KEY"}
    settings = loaded(monkeypatch, **without, EXTERNAL_STORAGE_SECRET_KEY_FILE=str(secret))
    held = driver(settings, "external")["secret_key"]
    assert held.get_secret_value() == "from-a-file"  # type: ignore[attr-defined]
    assert origins(None, {}).of("stores.external.secret_key") == "EXTERNAL_STORAGE_SECRET_KEY_FILE"
    assert "EXTERNAL_STORAGE_SECRET_KEY" in legacy.warnings({"EXTERNAL_STORAGE_SECRET_KEY": "minioadmin"})[0]


@pytest.mark.parametrize(
    ("gone", "changed", "told"),
    [
        ("EXTERNAL_STORAGE_ENDPOINT", {}, "EXTERNAL_STORAGE_ENDPOINT must be set"),
        ("INTERNAL_STORAGE_SECRET_KEY", {}, "INTERNAL_STORAGE_SECRET_KEY must be set"),
        ("", {"INTERNAL_STORAGE_ENDPOINT": "localhost:9000"}, "INTERNAL_STORAGE_ENDPOINT must be a URL"),
        ("", {"EXTERNAL_BUCKET_DATASETS": "model-weights"}, "belong in one store only"),
    ],
)
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, gone: str, changed: dict[str, str], told: str
) -> None:
    given = {name: value for name, value in (TWO | changed).items() if name != gone}
    with pytest.raises(ConfigError, match=told) as error:
        loaded(monkeypatch, **given)
    assert "near-secret" not in str(error.value)


def test_every_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable changes what comes out where it is the one that is asked."""
    base: dict[str, dict[str, str]] = {
        name: TWO for name in VARIABLES if name.startswith(("INTERNAL_", "EXTERNAL_"))
    }
    first = {
        "S3_ENDPOINT": "http://localhost:1",
        "R2_BUCKET_NAME": "r2",
        "R2_ACCESS_KEY": "k",
        "R2_SECRET_KEY": "s",
    }
    base |= {name: first for name in VARIABLES if name not in base}
    for name, given in base.items():
        value = "http://localhost:2" if "ENDPOINT" in name else "another-one"
        assert legacy.translate(given).values != legacy.translate(given | {name: value}).values, name
