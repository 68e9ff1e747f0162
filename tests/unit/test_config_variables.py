"""Variables of older services, secrets from files, unknown variables, and where each setting came from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.backends import registry
from holdfast.config import legacy, load
from holdfast.config.settings import chosen_file, origins
from holdfast.core.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name in legacy.VARIABLES or name.startswith(("MINIO_", "HOLDFAST_")):
            monkeypatch.delenv(name)


def _set(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


KEYS = {"MINIO_ACCESS_KEY": "someone", "MINIO_SECRET_KEY": "something-long"}


def test_the_example_of_the_storage_service_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(
        monkeypatch,
        PORT="8090",
        MINIO_ENDPOINT="minio:9000",
        MINIO_ACCESS_KEY="tensorfleet-access",
        MINIO_SECRET_KEY="tensorfleet-secret-key",
        MINIO_SECURE="false",
        DEFAULT_BUCKET="tensorfleet-data",
        MAX_FILE_SIZE="1GB",
        RETENTION_DAYS="90",
    )
    settings = load()
    assert settings.port == 8090
    assert settings.limits.max_object_size == 1 << 30
    assert settings.default_retention_days == 90
    assert settings.default_bucket == "tensorfleet-data"
    assert settings.placement_stores == ("minio",)
    store = settings.all_stores["minio"]
    driver = registry.parse(store.driver, store.driver_settings)
    shown = driver.model_dump()
    assert shown["endpoint"] == "http://minio:9000"
    assert shown["bucket"] == "tensorfleet-data"
    assert shown["region"] == "us-east-1"
    assert shown["access_key"] == "tensorfleet-access"
    assert shown["secret_key"].get_secret_value() == "tensorfleet-secret-key"


def test_a_variable_that_is_not_set_is_no_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, MINIO_ENDPOINT="minio:9000", **KEYS)
    known = origins(None, {})
    assert known.of("stores.minio.endpoint") == "MINIO_ENDPOINT"
    for name in ("driver", "region", "bucket", "allow_http"):
        assert known.of(f"stores.minio.{name}") == "default", name
    _set(monkeypatch, MINIO_REGION="eu-west-1", DEFAULT_BUCKET="b", MINIO_ENDPOINT="http://minio:9000")
    known = origins(None, {})
    assert known.of("stores.minio.region") == "MINIO_REGION"
    assert known.of("stores.minio.bucket") == "DEFAULT_BUCKET"
    assert known.of("stores.minio.allow_http") == "MINIO_ENDPOINT"


def test_nothing_set_changes_nothing() -> None:
    settings = load()
    assert settings.port == 8083
    assert tuple(settings.all_stores) == ("local",)
    assert settings.limits.max_object_size is None
    assert settings.default_retention_days is None
    assert settings.default_bucket == "tensorfleet"
    assert "default_bucket" not in settings.model_fields_set


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"STORAGE_TYPE": "minio"}, "http://minio:9000"),
        ({"MINIO_ENDPOINT": "s3.example.org", "MINIO_SECURE": "true"}, "https://s3.example.org"),
        ({"MINIO_ENDPOINT": "http://minio:9000", "MINIO_SECURE": "false"}, "http://minio:9000"),
        ({"MINIO_ENDPOINT": "https://minio:9000"}, "https://minio:9000"),
        ({"STORAGE_TYPE": "aws_s3"}, ""),
    ],
)
def test_endpoints(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], endpoint: str) -> None:
    _set(monkeypatch, **variables, **KEYS)
    store = load().all_stores["minio"]
    assert store.driver_settings["endpoint"] == endpoint
    registry.parse(store.driver, store.driver_settings)


def test_the_keys_of_the_server_itself_serve_where_no_others_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(
        monkeypatch,
        MINIO_ENDPOINT="http://minio:9000",
        MINIO_ROOT_USER="root",
        MINIO_ROOT_PASSWORD="rooted-well",
        MINIO_REGION="eu-west-1",
        MINIO_BUCKET="bytes",
    )
    found = load().all_stores["minio"].driver_settings
    assert (found["access_key"], found["secret_key"]) == ("root", "rooted-well")
    assert (found["region"], found["bucket"]) == ("eu-west-1", "bytes")


def test_the_servers_own_variables_alone_mean_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, MINIO_ROOT_USER="root", MINIO_ROOT_PASSWORD="rooted-well")
    assert tuple(load().all_stores) == ("local",)


def test_aws_without_keys_takes_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, STORAGE_TYPE="s3")
    assert load().all_stores["minio"].driver_settings["credentials"] == "environment"


def test_local_needs_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, STORAGE_TYPE="local", MINIO_ENDPOINT="minio:9000")
    assert tuple(load().all_stores) == ("local",)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"STORAGE_TYPE": "gcs"}, "STORAGE_TYPE=gcs is not served yet"),
        ({"STORAGE_TYPE": "floppy"}, "STORAGE_TYPE is 'floppy'"),
        ({"STORAGE_TYPE": "minio"}, "MINIO_ACCESS_KEY and MINIO_SECRET_KEY must be set"),
        ({"MINIO_ACCESS_KEY": "x"}, "MINIO_SECRET_KEY must be set"),
        ({"MINIO_ENDPOINT": "m:1", "MINIO_SECURE": "maybe", **KEYS}, "MINIO_SECURE must be true or false"),
        ({"MINIO_ENDPOINT": "https://m", "MINIO_SECURE": "no", **KEYS}, "MINIO_SECURE=no contradicts"),
        ({"MINIO_ENDPOINT": "ftp://m", **KEYS}, "MINIO_ENDPOINT must be"),
        ({"PORT": "eighty"}, r"PORT \(port\)"),
        ({"MAX_FILE_SIZE": "big"}, r"MAX_FILE_SIZE \(limits.max_object_size\)"),
        ({"RETENTION_DAYS": "-3"}, r"RETENTION_DAYS \(default_retention_days\)"),
        ({"HOLDFAST_PORT": "x"}, r"HOLDFAST_PORT \(port\)"),
        ({"HOLDFAST_LIMITS__HEADER_TIMEOUT": "x"}, r"HOLDFAST_LIMITS__HEADER_TIMEOUT \(limits.header"),
        ({"HOLDFAST_LIMITS__MAX_REQUEST": "1"}, "did you mean limits.max_requests"),
        ({"HOLDFAST_PROT": "1"}, "HOLDFAST_PROT is unknown; did you mean HOLDFAST_PORT"),
        ({"HOLDFAST_SECRETFILE": "x"}, "did you mean HOLDFAST_SECRET_FILE"),
        ({"HOLDFAST_LOG_LEVEL": "loud"}, r"HOLDFAST_LOG_LEVEL \(log_level\): .*'warning' or 'error'"),
        ({"HOLDFAST_TENANT": "a/b"}, r"HOLDFAST_TENANT \(tenant\): 'a/b' is not a tenant name"),
        ({"DEFAULT_BUCKET": "../x"}, r"^DEFAULT_BUCKET \(default_bucket\): .* is not a bucket name"),
        ({"HOLDFAST_DEFAULT_BUCKET": "UPPER CASE"}, r"HOLDFAST_DEFAULT_BUCKET \(.* is not a bucket name"),
        ({"HOLDFAST_PLACEMENT__ACKNOWLEDGE": "5"}, r"HOLDFAST_PLACEMENT__ACKNOWLEDGE \(.*names 1 \(local\)"),
        (
            {"HOLDFAST_PLACEMENT__ACKNOWLEDGE": "2", "HOLDFAST_PLACEMENT__STORES": "a,a"},
            r"ACKNOWLEDGE .*names 1 \(a\)",
        ),
        ({"HOLDFAST_GRACE": "99999999999d"}, r"HOLDFAST_GRACE \(grace\): .* longer than 100 years"),
        ({"HOLDFAST_LEASE": "inf"}, r"HOLDFAST_LEASE \(lease\)"),
        ({"HOLDFAST_UPLOAD_LIFETIME": "99999999999"}, r"HOLDFAST_UPLOAD_LIFETIME .* longer than 100 years"),
        ({"RETENTION_DAYS": "99999999999999"}, r"RETENTION_DAYS \(default_retention_days\): .* 36500"),
        ({"HOLDFAST_TRUSTED_PROXIES": "10.0.0.0/99"}, r"HOLDFAST_TRUSTED_PROXIES .* is no network such as"),
        ({"HOLDFAST_TRUSTED_PROXIES": '["10.0.0.1/8"]'}, "HOLDFAST_TRUSTED_PROXIES .* has host bits set"),
        ({"HOLDFAST_TRUSTED_PROXIES": "[1"}, r"HOLDFAST_TRUSTED_PROXIES .* no list in JSON; write a, b or"),
        ({"HOLDFAST_PLACEMENT": "nope"}, "HOLDFAST_PLACEMENT: this is no JSON"),
        ({"HOLDFAST_PUBLIC_URL": "files"}, r"\): .* looks like https://files\.example\.com$"),
        ({"HOLDFAST_HOT": "big"}, r"HOLDFAST_HOT \(hot\): 'big' is not a size"),
        ({"HOLDFAST_TLS__KEY": "/x"}, r"HOLDFAST_TLS__KEY \(tls\): tls.certificate and tls.key go together"),
        ({"HOLDFAST_CORS__ORIGINS": "x"}, r"HOLDFAST_CORS__ORIGINS \(cors.origins\): 'x' is not an origin"),
    ],
)
def test_errors_name_the_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    _set(monkeypatch, **variables)
    with pytest.raises(ConfigError, match=named):
        load()


def test_lists_are_written_with_commas_or_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("a, b", '["a", "b"]'):
        _set(monkeypatch, HOLDFAST_PLACEMENT__STORES=given, HOLDFAST_STORES__A__LABELS=given)
        _set(monkeypatch, HOLDFAST_STORES__A__DRIVER="memory", HOLDFAST_STORES__B__DRIVER="memory")
        _set(monkeypatch, HOLDFAST_PLACEMENT__ACKNOWLEDGE="2", HOLDFAST_TRUSTED_PROXIES="10.0.0.1, ::1")
        settings = load()
        assert settings.placement_stores == ("a", "b")
        assert settings.stores["a"].labels == {"a", "b"}
        assert settings.trusted_proxies == ("10.0.0.1/32", "::1/128")


def test_variables_of_clients_and_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, HOLDFAST_TOKEN="t", HOLDFAST_SERVER="http://x", HOLDFAST_TEST_ANYTHING="1")
    assert load().port == 8083


def test_retention_of_zero_days_means_never(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, RETENTION_DAYS="0")
    assert load().default_retention_days is None


def test_ours_win_over_theirs_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "holdfast.toml").write_text('port = 1\ndefault_bucket = "filed"\ntenant = "filed"\n')
    _set(monkeypatch, PORT="2", DEFAULT_BUCKET="theirs", HOLDFAST_PORT="3")
    settings = load()
    assert (settings.port, settings.default_bucket, settings.tenant) == (3, "theirs", "filed")
    where = origins(chosen_file(None), {"data": "x"})
    assert where.of("port") == "HOLDFAST_PORT"
    assert where.of("default_bucket") == "DEFAULT_BUCKET"
    assert where.of("tenant") == "holdfast.toml"
    assert where.of("data") == "flag"
    assert where.of("workers") == "default"


def test_stores_of_ones_own_leave_no_place_for_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, MINIO_ENDPOINT="minio:9000")
    path = tmp_path / "c.toml"
    path.write_text('[stores.disk]\ndriver = "local"\npath = "x"\n')
    assert tuple(load(path).all_stores) == ("disk",)
    _set(monkeypatch, HOLDFAST_STORES__MEM__DRIVER="memory")
    assert tuple(load().all_stores) == ("mem",)


def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = _secret(tmp_path / "root", "s" * 40 + "\n")
    key = _secret(tmp_path / "key", "from-a-file")
    _set(monkeypatch, HOLDFAST_SECRET_FILE=str(secret), HOLDFAST_STORES__A__SECRET_KEY_FILE=str(key))
    _set(monkeypatch, HOLDFAST_STORES__A__DRIVER="s3", HOLDFAST_STORES__A__BUCKET="b")
    settings = load()
    assert settings.secret.get_secret_value() == "s" * 40
    assert settings.all_stores["a"].driver_settings == {"bucket": "b", "secret_key": "from-a-file"}
    where = origins(None, {})
    assert where.of("secret") == "HOLDFAST_SECRET_FILE"
    assert where.of("stores.a.secret_key") == "HOLDFAST_STORES__A__SECRET_KEY_FILE"


def test_secrets_of_older_variables_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = _secret(tmp_path / "key", "from-a-file")
    _set(monkeypatch, MINIO_ENDPOINT="m:1", MINIO_ACCESS_KEY="x", MINIO_SECRET_KEY_FILE=str(key))
    assert load().all_stores["minio"].driver_settings["secret_key"] == "from-a-file"
    _set(monkeypatch, MINIO_SECRET_KEY="too")
    with pytest.raises(ConfigError, match="MINIO_SECRET_KEY and MINIO_SECRET_KEY_FILE are both set"):
        load()


def test_secrets_in_the_configuration_come_from_files(tmp_path: Path) -> None:
    key = _secret(tmp_path / "key", "filed")
    path = tmp_path / "c.toml"
    path.write_text(
        f'catalog_file = "{_secret(tmp_path / "url", "sqlite:///x.db")}"\n'
        f'[stores.a]\ndriver = "s3"\nbucket = "b"\nsecret_key_file = "{key}"\n'
    )
    settings = load(path)
    assert settings.catalog == "sqlite:///x.db"
    assert settings.all_stores["a"].driver_settings["secret_key"] == "filed"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = _secret(tmp_path / "open", "canary-" + "s" * 40)
    path.chmod(mode)
    _set(monkeypatch, HOLDFAST_SECRET_FILE=str(path))
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load()
    assert "canary" not in str(caught.value)


def test_what_systemd_hands_over_may_be_readable_for_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _secret(tmp_path / "credentials" / "root", "s" * 40)
    path.chmod(0o440)
    _set(monkeypatch, HOLDFAST_SECRET_FILE=str(path), CREDENTIALS_DIRECTORY=str(path.parent))
    assert load().secret.get_secret_value() == "s" * 40


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_without_one_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = _secret(tmp_path / "bad", "")
    path.write_bytes(content)
    _set(monkeypatch, HOLDFAST_SECRET_FILE=str(path))
    with pytest.raises(ConfigError, match="secret_file"):
        load()
    _set(monkeypatch, HOLDFAST_SECRET_FILE=str(tmp_path))
    with pytest.raises(ConfigError, match="secret_file"):
        load()


def test_the_password_that_everybody_knows_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert legacy.warnings({"MINIO_SECRET_KEY": "good"}) == []
    assert "everybody knows" in legacy.warnings({"MINIO_SECRET_KEY": "minioadmin"})[0]
    assert "MINIO_ROOT_PASSWORD" in legacy.warnings({"MINIO_ROOT_PASSWORD": "minioadmin"})[0]


def _secret(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path
